// A camera that circles a point above the ground, as plain values. The ground spans -1 … 1 in x and z; y is up.

/** @typedef {[number, number, number]} Vec3 */
/**
 * `yaw` and `pitch` in radians, `distance` to the target, in units of the ground.
 * @typedef {{readonly yaw: number, readonly pitch: number, readonly distance: number, readonly target: Vec3}} Camera
 */
/** @typedef {{readonly width: number, readonly height: number}} Size */
/** @typedef {{readonly x: number, readonly y: number, readonly depth: number}} OnScreen */
/** @typedef {{readonly origin: Vec3, readonly direction: Vec3}} Ray */

const fieldOfView = 0.52; // radians, vertical
export const pitchRange = /** @type {const} */ ([0.1, Math.PI / 2 - 0.001]);
export const distanceRange = /** @type {const} */ ([0.7, 14]);
const near = 0.05, far = 40;

/**
 * The view of the whole ground in a window of this size.
 * @param {Size} size
 * @param {{yaw?: number, pitch?: number}} [angles]
 * @returns {Camera}
 */
export function wholeGround(size, { yaw = 0.4, pitch = 0.64 } = {}) {
  const camera = { yaw, pitch, distance: distanceRange[0], target: /** @type {Vec3} */ ([0, 0.08, 0]) };
  const corners = [-1, 1].flatMap((x) => [-1, 1].flatMap((z) => [[x, -0.05, z], [x * 0.6, 0.6, z * 0.6]]));
  const isInside = (/** @type {number} */ distance) => {
    const project = projection({ ...camera, distance }, size);
    return corners.every(([x, y, z]) => {
      const at = project(x, y, z);
      return at.depth > 0 && at.x > 0.03 * size.width && at.x < 0.97 * size.width && at.y > 0.04 * size.height && at.y < 0.96 * size.height;
    });
  };
  let distance = distanceRange[0];
  while (distance < distanceRange[1] && !isInside(distance)) distance *= 1.02;
  return { ...camera, distance: Math.min(distance, distanceRange[1]) };
}

/**
 * Turned by `dYaw` and tilted by `dPitch`, within the limits.
 * @param {Camera} camera
 * @param {number} dYaw
 * @param {number} dPitch
 * @returns {Camera}
 */
export const turned = (camera, dYaw, dPitch) => ({ ...camera, yaw: camera.yaw + dYaw, pitch: clamp(camera.pitch + dPitch, ...pitchRange) });

/**
 * Nearer by `factor` (2 = half the distance), towards the point `at` of the ground, which stays where it is on the screen.
 * @param {Camera} camera
 * @param {number} factor
 * @param {Vec3 | null} [at]
 * @returns {Camera}
 */
export function zoomed(camera, factor, at = null) {
  const distance = clamp(camera.distance / factor, ...distanceRange);
  if (!at) return { ...camera, distance };
  const share = 1 - distance / camera.distance;
  const [x, y, z] = camera.target;
  return { ...camera, distance, target: inside([x + (at[0] - x) * share, y + (at[1] - y) * share, z + (at[2] - z) * share]) };
}

/**
 * Moved over the ground by a way in pixels of the screen, so that the ground follows the pointer.
 * @param {Camera} camera
 * @param {Size} size
 * @param {number} dx
 * @param {number} dy
 * @returns {Camera}
 */
export function panned(camera, size, dx, dy) {
  const perPixel = (2 * camera.distance * Math.tan(fieldOfView / 2)) / size.height;
  const right = [Math.cos(camera.yaw), -Math.sin(camera.yaw)], ahead = [-Math.sin(camera.yaw), -Math.cos(camera.yaw)];
  const aside = -dx * perPixel, forth = (dy * perPixel) / Math.max(0.35, Math.sin(camera.pitch));
  const [x, y, z] = camera.target;
  return { ...camera, target: inside([x + right[0] * aside + ahead[0] * forth, y, z + right[1] * aside + ahead[1] * forth]) };
}

/**
 * On the way from one camera to another; `share` 1 is there.
 * @param {Camera} from
 * @param {Camera} to
 * @param {number} share
 * @returns {Camera}
 */
export function between(from, to, share) {
  const mix = (/** @type {number} */ a, /** @type {number} */ b) => a + (b - a) * share;
  return {
    yaw: mix(from.yaw, to.yaw), pitch: mix(from.pitch, to.pitch), distance: mix(from.distance, to.distance),
    target: [mix(from.target[0], to.target[0]), mix(from.target[1], to.target[1]), mix(from.target[2], to.target[2])],
  };
}

/**
 * @param {Camera} a
 * @param {Camera} b
 */
export const isNear = (a, b) =>
  Math.abs(a.yaw - b.yaw) + Math.abs(a.pitch - b.pitch) + Math.abs(a.distance - b.distance) / 4 + length(minus(a.target, b.target)) < 0.002;

/** @param {Camera} camera @returns {Vec3} */
export function eyeOf({ yaw, pitch, distance, target }) {
  const flat = Math.cos(pitch) * distance;
  return [target[0] + Math.sin(yaw) * flat, target[1] + Math.sin(pitch) * distance, target[2] + Math.cos(yaw) * flat];
}

/** @param {Camera} camera @returns {{right: Vec3, up: Vec3, back: Vec3}} */
function axesOf({ yaw, pitch }) {
  const [sy, cy, sp, cp] = [Math.sin(yaw), Math.cos(yaw), Math.sin(pitch), Math.cos(pitch)];
  return { right: [cy, 0, -sy], up: [-sy * sp, cp, -cy * sp], back: [sy * cp, sp, cy * cp] };
}

/**
 * Projection times view, column by column as WebGL takes it.
 * @param {Camera} camera
 * @param {Size} size
 */
export function matrixOf(camera, size) {
  const eye = eyeOf(camera), { right, up, back } = axesOf(camera);
  const fy = 1 / Math.tan(fieldOfView / 2), fx = (fy * size.height) / Math.max(1, size.width);
  const a = (far + near) / (near - far), b = (2 * far * near) / (near - far);
  const [tx, ty, tz] = [-dot(right, eye), -dot(up, eye), -dot(back, eye)];
  return new Float32Array([
    fx * right[0], fy * up[0], a * back[0], -back[0],
    fx * right[1], fy * up[1], a * back[1], -back[1],
    fx * right[2], fy * up[2], a * back[2], -back[2],
    fx * tx, fy * ty, a * tz + b, -tz,
  ]);
}

/**
 * A function that says where on the screen a point lies; `depth` <= 0 is behind the camera.
 * @param {Camera} camera
 * @param {Size} size
 * @returns {(x: number, y: number, z: number) => OnScreen}
 */
export function projection(camera, size) {
  const m = matrixOf(camera, size);
  const row = (/** @type {number} */ i, /** @type {number} */ x, /** @type {number} */ y, /** @type {number} */ z) =>
    m[i] * x + m[4 + i] * y + m[8 + i] * z + m[12 + i];
  return (x, y, z) => {
    const w = row(3, x, y, z);
    return { x: (0.5 + row(0, x, y, z) / w / 2) * size.width, y: (0.5 - row(1, x, y, z) / w / 2) * size.height, depth: w };
  };
}

/**
 * The ray from the eye through a pixel.
 * @param {Camera} camera
 * @param {Size} size
 * @param {number} x
 * @param {number} y
 * @returns {Ray}
 */
export function rayThrough(camera, size, x, y) {
  const { right, up, back } = axesOf(camera);
  const half = Math.tan(fieldOfView / 2);
  const u = ((2 * x) / size.width - 1) * half * (size.width / size.height), v = (1 - (2 * y) / size.height) * half;
  const direction = /** @type {Vec3} */ ([0, 1, 2].map((i) => right[i] * u + up[i] * v - back[i]));
  const long = length(direction);
  return { origin: eyeOf(camera), direction: [direction[0] / long, direction[1] / long, direction[2] / long] };
}

/** @param {number} value @param {number} low @param {number} high */
export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/** @param {Vec3} at @returns {Vec3} */
const inside = ([x, y, z]) => [clamp(x, -1, 1), clamp(y, 0, 0.6), clamp(z, -1, 1)];
/** @param {Vec3} a @param {Vec3} b */
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
/** @param {Vec3} a @param {Vec3} b @returns {Vec3} */
const minus = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
/** @param {Vec3} a */
const length = (a) => Math.hypot(a[0], a[1], a[2]);
