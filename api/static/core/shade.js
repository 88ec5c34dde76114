// What the drawing needs of the ground at each point of the mesh: which way it faces, how open it lies, and its colour.

/** @typedef {import("./palette.js").Rgb} Rgb */

/**
 * Writes x, y, z of the normal and the openness (127 = open, less in hollows) of each point into `faces`, four signed bytes a point.
 * @param {Int8Array} faces
 * @param {Float32Array} ground
 */
export function face(faces, ground) {
  const n = Math.sqrt(ground.length), spacing = 2 / (n - 1), wide = Math.max(2, Math.round(n / 32));
  for (let j = 0; j < n; j++) {
    const up = Math.max(0, j - 1), down = Math.min(n - 1, j + 1), above = Math.max(0, j - wide), below = Math.min(n - 1, j + wide);
    for (let i = 0; i < n; i++) {
      const k = j * n + i, left = Math.max(0, i - 1), right = Math.min(n - 1, i + 1);
      const dx = (ground[j * n + right] - ground[j * n + left]) / ((right - left) * spacing), dz = (ground[down * n + i] - ground[up * n + i]) / ((down - up) * spacing);
      const long = 127 / Math.sqrt(dx * dx + dz * dz + 1);
      const around = (ground[j * n + Math.max(0, i - wide)] + ground[j * n + Math.min(n - 1, i + wide)] + ground[above * n + i] + ground[below * n + i]) / 4;
      faces[4 * k] = -dx * long;
      faces[4 * k + 1] = long;
      faces[4 * k + 2] = -dz * long;
      faces[4 * k + 3] = 127 - Math.min(90, Math.max(0, 420 * (around - ground[k])));
    }
  }
}

/**
 * The colours of the points, four bytes a point: each hill's own around its peak, and `plain` between the hills.
 * @param {readonly import("./hills.js").Footprint[]} footprints
 * @param {readonly Rgb[]} colours of the hills
 * @param {Rgb} plain
 * @param {number} n
 */
export function tint(footprints, colours, plain, n) {
  const sums = new Float32Array(4 * n * n), most = new Float32Array(n * n);
  footprints.forEach(({ column, row, columns, rows, values }, hill) => {
    const [red, green, blue] = colours[hill];
    for (let j = 0; j < rows; j++) {
      let at = (row + j) * n + column, from = j * columns;
      for (let i = 0; i < columns; i++, at++) {
        const value = values[from++], share = value * value * value;
        sums[4 * at] += share * red;
        sums[4 * at + 1] += share * green;
        sums[4 * at + 2] += share * blue;
        sums[4 * at + 3] += share;
        if (value > most[at]) most[at] = value;
      }
    }
  });
  const tinted = new Uint8Array(4 * n * n);
  for (let k = 0; k < n * n; k++) {
    const amount = smooth(most[k], 0.16, 0.72), total = sums[4 * k + 3] || 1;
    plain.forEach((part, c) => (tinted[4 * k + c] = part + (sums[4 * k + c] / total - part) * amount));
    tinted[4 * k + 3] = 255 * amount;
  }
  return tinted;
}

/** @param {number} value @param {number} low @param {number} high */
function smooth(value, low, high) {
  const t = Math.min(1, Math.max(0, (value - low) / (high - low)));
  return t * t * (3 - 2 * t);
}
