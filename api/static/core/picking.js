// What lies under the pointer.

import { rayThrough } from "./camera.js";
import { heightAt, hillAt } from "./hills.js";

/** @typedef {import("./camera.js").Camera} Camera */
/** @typedef {import("./camera.js").Size} Size */
/** @typedef {import("./camera.js").Vec3} Vec3 */

const step = 0.012, highest = 1.2;

/**
 * Where a ray first meets the ground, or null. Marches down from the highest possible point, then halves the last step.
 * @param {import("./camera.js").Ray} ray
 * @param {Float32Array} ground
 * @returns {Vec3 | null}
 */
export function meetsGround({ origin, direction }, ground) {
  const at = (/** @type {number} */ way) => /** @type {Vec3} */ ([origin[0] + direction[0] * way, origin[1] + direction[1] * way, origin[2] + direction[2] * way]);
  const isAbove = (/** @type {number} */ way) => at(way)[1] > heightAt(ground, at(way)[0], at(way)[2]);
  if (direction[1] >= -1e-6) return null;
  const end = -origin[1] / direction[1];
  let way = Math.max(0, (highest - origin[1]) / direction[1]);
  while (way < end && isAbove(way)) way += step;
  let low = Math.max(0, way - step), high = Math.min(way, end);
  for (let i = 0; i < 12; i++) {
    const middle = (low + high) / 2;
    if (isAbove(middle)) low = middle;
    else high = middle;
  }
  const found = at(high);
  return Math.abs(found[0]) <= 1 && Math.abs(found[2]) <= 1 ? found : null;
}

/**
 * The hill under a pixel: the one in whose territory the ground there lies; -1 for none.
 * @param {readonly import("./hills.js").Hill[]} hills
 * @param {Float32Array} ground
 * @param {Camera} camera
 * @param {Size} size
 * @param {number} x
 * @param {number} y
 */
export function hillUnder(hills, ground, camera, size, x, y) {
  const at = meetsGround(rayThrough(camera, size, x, y), ground);
  return at ? hillAt(hills, at[0], at[2]) : -1;
}

/**
 * By how many pixels a peak rises on the screen for each unit of height; from above, where it would hardly move, as if seen aslant.
 * @param {(x: number, y: number, z: number) => {y: number, depth: number}} project
 * @param {{x: number, z: number}} peak
 * @param {number} height
 * @param {Size} size
 */
export function pixelsPerHeight(project, peak, height, size) {
  const here = project(peak.x, height, peak.z), above = project(peak.x, height + 0.01, peak.z);
  return Math.max((here.y - above.y) / 0.01, (0.5 * size.height) / Math.max(0.2, here.depth));
}

/**
 * Is a point of the ground seen, or does the ground lie between it and the eye?
 * @param {readonly [number, number, number]} eye
 * @param {Float32Array} ground
 * @param {readonly [number, number, number]} point
 */
export function isSeen(eye, ground, [x, y, z]) {
  const [dx, dy, dz] = [eye[0] - x, eye[1] - y, eye[2] - z], long = Math.hypot(dx, dy, dz);
  for (let way = 0.03; way < long; way += 0.03) {
    const share = way / long, height = y + dy * share;
    if (height > highest) return true;
    if (height + 0.01 < heightAt(ground, x + dx * share, z + dz * share)) return false;
  }
  return true;
}
