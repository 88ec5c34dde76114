// Hills as plain values, and the ground that they add up to. The ground spans -1 … 1 in x and z.

import { clamp } from "./camera.js";
import { roundedWeight } from "./balance.js";
import { spread } from "./spread.js";

/**
 * A hill as the server describes it: `x`, `z` and `radius` in cells of its grid, `height` as it is now, on the scale of `heightScale`.
 * @typedef {{id: number, label: string, description: string, label_source: string, size: number, weight: number,
 *   x: number, z: number, height: number, originalHeight: number, radius: number, color: string, samples: string[]}} ServedHill
 */
/** @typedef {{hills: ServedHill[], gridSize: number, heightScale: number, noise: {size: number}, file_name: string}} ServedTerrain */
/**
 * A hill on the ground; `height` is the original one, in units of the ground.
 * @typedef {{readonly id: number, readonly label: string, readonly description: string, readonly labelSource: string, readonly size: number,
 *   readonly x: number, readonly z: number, readonly radius: number, readonly height: number, readonly samples: readonly string[]}} Hill
 */
/**
 * `noise` are rows in no hill; `weights` as they are stored.
 * @typedef {{readonly hills: readonly Hill[], readonly weights: readonly number[], readonly noise: number, readonly name: string}} Terrain
 */
/**
 * What a hill of height 1 adds to the points of the mesh: a rectangle of points with the values, row by row.
 * @typedef {{readonly column: number, readonly row: number, readonly columns: number, readonly rows: number, readonly values: Float32Array}} Footprint
 */

export const tallest = 0.52; // of an original hill, in units of the ground
export const raisable = 1.25; // of the tallest: so high can any hill be dragged
const reach = 3.6; // radii; beyond, a hill adds less than 0.2 % of its height
const largestWeight = 1000; // as the server has it

/**
 * @param {ServedTerrain} served
 * @returns {Terrain}
 */
export function terrainOf({ hills, gridSize, heightScale, noise, file_name }) {
  const last = gridSize - 1, unit = tallest / heightScale;
  const places = spread(hills.map(({ x, z, radius }) => ({ x: (2 * x) / last - 1, z: (2 * z) / last - 1, radius: (2 * radius) / last })));
  return {
    hills: hills.map((hill, i) => ({
      id: hill.id, label: hill.label, description: hill.description, labelSource: hill.label_source, size: hill.size, samples: hill.samples,
      ...places[i], height: hill.originalHeight * unit,
    })),
    weights: hills.map((hill) => hill.weight),
    noise: noise.size,
    name: file_name,
  };
}

/** @param {readonly Hill[]} hills */
export const largestSize = (hills) => Math.max(1, ...hills.map((hill) => hill.size));

/**
 * The weight that makes a hill as high as `height`.
 * @param {Hill} hill
 * @param {number} height
 */
export const weightAt = (hill, height) =>
  hill.height > 0 ? roundedWeight(clamp(height / hill.height, 0, Math.min(largestWeight, (tallest * raisable) / hill.height))) : 1;

/**
 * @param {readonly Hill[]} hills
 * @param {readonly number[]} weights
 */
export const heightsOf = (hills, weights) => hills.map((hill, i) => hill.height * (weights[i] ?? 1));

/**
 * What each hill adds to a mesh of `n` times `n` points.
 * @param {readonly Hill[]} hills
 * @param {number} n
 * @returns {Footprint[]}
 */
export function footprintsOf(hills, n) {
  const toPoint = (/** @type {number} */ at) => ((at + 1) / 2) * (n - 1);
  return hills.map(({ x, z, radius }) => {
    const far = reach * radius;
    const column = Math.max(0, Math.floor(toPoint(x - far))), row = Math.max(0, Math.floor(toPoint(z - far)));
    const columns = Math.min(n - 1, Math.ceil(toPoint(x + far))) - column + 1, rows = Math.min(n - 1, Math.ceil(toPoint(z + far))) - row + 1;
    const alongX = gaussians(column, columns, x, radius, n), alongZ = gaussians(row, rows, z, radius, n);
    const values = new Float32Array(columns * rows);
    for (let j = 0; j < rows; j++) for (let i = 0; i < columns; i++) values[j * columns + i] = alongX[i] * alongZ[j];
    return { column, row, columns, rows, values };
  });
}

/**
 * @param {number} from
 * @param {number} count
 * @param {number} centre
 * @param {number} radius
 * @param {number} n
 */
const gaussians = (from, count, centre, radius, n) =>
  Float64Array.from({ length: count }, (_, i) => Math.exp(-(((2 * (from + i)) / (n - 1) - 1 - centre) ** 2) / (2 * radius * radius)));

/**
 * Writes the ground's height at each point of the mesh into `ground`.
 * @param {Float32Array} ground
 * @param {readonly Footprint[]} footprints
 * @param {ArrayLike<number>} heights of the hills
 */
export function raise(ground, footprints, heights) {
  const n = Math.sqrt(ground.length);
  ground.fill(0);
  footprints.forEach(({ column, row, columns, rows, values }, hill) => {
    const height = heights[hill];
    if (!height) return;
    for (let j = 0; j < rows; j++) {
      let at = (row + j) * n + column, from = j * columns;
      for (let i = 0; i < columns; i++) ground[at++] += height * values[from++];
    }
  });
}

/**
 * Height of the ground between the points of the mesh; 0 outside.
 * @param {Float32Array} ground
 * @param {number} x
 * @param {number} z
 */
export function heightAt(ground, x, z) {
  const n = Math.sqrt(ground.length);
  const u = ((x + 1) / 2) * (n - 1), v = ((z + 1) / 2) * (n - 1);
  if (!(u >= 0 && v >= 0 && u <= n - 1 && v <= n - 1)) return 0;
  const i = Math.min(n - 2, Math.floor(u)), j = Math.min(n - 2, Math.floor(v)), a = u - i, b = v - j;
  const k = j * n + i;
  return (ground[k] * (1 - a) + ground[k + 1] * a) * (1 - b) + (ground[k + n] * (1 - a) + ground[k + n + 1] * a) * b;
}

/**
 * The hill in whose territory a place lies: the one that reaches there most, measured in its own radii; -1 if none does.
 * @param {readonly Hill[]} hills
 * @param {number} x
 * @param {number} z
 */
export function hillAt(hills, x, z) {
  let nearest = -1, least = 2.2;
  hills.forEach((hill, i) => {
    const away = Math.hypot(x - hill.x, z - hill.z) / hill.radius;
    if (away < least) [nearest, least] = [i, away];
  });
  return nearest;
}
