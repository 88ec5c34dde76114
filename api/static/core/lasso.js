// Which points lie inside a drawn line.

/** @typedef {readonly number[]} Outline x and y of each corner in turn */

const side = 1024; // cells of the raster, each way
const inside = 1, edge = 2;

/**
 * The rows inside the outline (even-odd). A raster answers for nearly all points; those near the line are tested exactly.
 * @param {Outline} outline
 * @param {Float32Array} x
 * @param {Float32Array} y
 * @returns {Uint32Array} ascending
 */
export function rowsInside(outline, x, y) {
  if (outline.length < 6) return new Uint32Array(0);
  const [left, bottom, right, top] = boundsOf(outline);
  const w = Math.max((right - left) / (side - 2), 1e-12), h = Math.max((top - bottom) / (side - 2), 1e-12);
  const corners = outline.map((value, i) => (i % 2 ? (value - bottom) / h + 1 : (value - left) / w + 1));
  const raster = filled(corners), rows = new Uint32Array(x.length);
  let m = 0;
  for (let i = 0; i < x.length; i++) {
    if (x[i] < left || x[i] > right || y[i] < bottom || y[i] > top) continue;
    const px = (x[i] - left) / w + 1, py = (y[i] - bottom) / h + 1, cell = raster[(py | 0) * side + (px | 0)];
    if (cell === inside || (cell === edge && isInside(corners, px, py))) rows[m++] = i;
  }
  return rows.slice(0, m);
}

/** @param {Outline} outline @returns {[number, number, number, number]} */
export function boundsOf(outline) {
  let left = Infinity, bottom = Infinity, right = -Infinity, top = -Infinity;
  for (let i = 0; i < outline.length; i += 2) {
    left = Math.min(left, outline[i]);
    right = Math.max(right, outline[i]);
    bottom = Math.min(bottom, outline[i + 1]);
    top = Math.max(top, outline[i + 1]);
  }
  return [left, bottom, right, top];
}

/** The cells inside, and those that the line may touch. @param {Outline} corners in cells */
function filled(corners) {
  const raster = new Uint8Array(side * side);
  for (let r = 0; r < side; r++) {
    const cuts = crossings(corners, r + 0.5);
    for (let k = 0; k + 1 < cuts.length; k += 2) raster.fill(inside, r * side + Math.ceil(cuts[k] - 0.5), r * side + Math.ceil(cuts[k + 1] - 0.5));
  }
  for (let i = 0; i < corners.length; i += 2) {
    const x0 = corners[i], y0 = corners[i + 1], x1 = corners[(i + 2) % corners.length], y1 = corners[(i + 3) % corners.length];
    const steps = Math.max(1, Math.ceil(2 * Math.max(Math.abs(x1 - x0), Math.abs(y1 - y0))));
    for (let k = 0; k <= steps; k++) mark(raster, (x0 + ((x1 - x0) * k) / steps) | 0, (y0 + ((y1 - y0) * k) / steps) | 0);
  }
  return raster;
}

/** @param {Uint8Array} raster @param {number} column @param {number} row */
function mark(raster, column, row) {
  for (let r = Math.max(0, row - 1); r <= Math.min(side - 1, row + 1); r++) raster.fill(edge, r * side + Math.max(0, column - 1), r * side + Math.min(side, column + 2));
}

/** Where the outline crosses a horizontal, ascending. @param {Outline} corners @param {number} y */
function crossings(corners, y) {
  const cuts = [];
  for (let i = 0; i < corners.length; i += 2) {
    const x0 = corners[i], y0 = corners[i + 1], x1 = corners[(i + 2) % corners.length], y1 = corners[(i + 3) % corners.length];
    if (y0 <= y !== y1 <= y) cuts.push(x0 + ((y - y0) / (y1 - y0)) * (x1 - x0));
  }
  return cuts.sort((a, b) => a - b);
}

/** @param {Outline} corners @param {number} x @param {number} y */
export function isInside(corners, x, y) {
  let is = false;
  for (let i = 0; i < corners.length; i += 2) {
    const x0 = corners[i], y0 = corners[i + 1], x1 = corners[(i + 2) % corners.length], y1 = corners[(i + 3) % corners.length];
    if (y0 <= y !== y1 <= y && x < x0 + ((y - y0) / (y1 - y0)) * (x1 - x0)) is = !is;
  }
  return is;
}

/**
 * A line with fewer corners, none of the old ones farther from it than `tolerance` (Douglas and Peucker 1973).
 * @param {Outline} outline
 * @param {number} tolerance
 * @returns {number[]}
 */
export function simplified(outline, tolerance) {
  const n = outline.length / 2;
  if (n < 4) return [...outline];
  const kept = new Uint8Array(n);
  kept[0] = kept[n - 1] = 1;
  const parts = [[0, n - 1]];
  for (let part = parts.pop(); part; part = parts.pop()) {
    const [from, to] = part;
    let far = -1, most = tolerance;
    for (let k = from + 1; k < to; k++) {
      const away = distance(outline, k, from, to);
      if (away > most) [far, most] = [k, away];
    }
    if (far < 0) continue;
    kept[far] = 1;
    parts.push([from, far], [far, to]);
  }
  return [...outline].filter((_, i) => kept[i >> 1]);
}

/** @param {Outline} outline @param {number} k @param {number} from @param {number} to */
function distance(outline, k, from, to) {
  const ax = outline[2 * from], ay = outline[2 * from + 1], dx = outline[2 * to] - ax, dy = outline[2 * to + 1] - ay;
  const px = outline[2 * k] - ax, py = outline[2 * k + 1] - ay, length = Math.hypot(dx, dy);
  return length < 1e-12 ? Math.hypot(px, py) : Math.abs(dx * py - dy * px) / length;
}
