// Finds the point under the pointer: rows sorted into the cells of a grid.

export class Grid {
  /**
   * @param {Float32Array} x
   * @param {Float32Array} y
   * @param {import("./view.js").Bounds} bounds
   */
  constructor(x, y, [left, bottom, right, top]) {
    const n = x.length;
    this.x = x;
    this.y = y;
    this.side = Math.max(1, Math.min(1024, Math.ceil(Math.sqrt(n / 3))));
    this.left = left;
    this.bottom = bottom;
    this.width = Math.max((right - left) / this.side, 1e-9);
    this.height = Math.max((top - bottom) / this.side, 1e-9);
    const cell = new Uint32Array(n);
    this.starts = new Uint32Array(this.side * this.side + 1);
    for (let i = 0; i < n; i++) this.starts[(cell[i] = this.row(y[i]) * this.side + this.column(x[i])) + 1]++;
    for (let c = 0; c < this.side * this.side; c++) this.starts[c + 1] += this.starts[c];
    const next = this.starts.slice();
    this.order = new Uint32Array(n);
    for (let i = 0; i < n; i++) this.order[next[cell[i]]++] = i;
  }

  /** @param {number} x */
  column(x) { return Math.max(0, Math.min(this.side - 1, Math.floor((x - this.left) / this.width))); }

  /** @param {number} y */
  row(y) { return Math.max(0, Math.min(this.side - 1, Math.floor((y - this.bottom) / this.height))); }

  /**
   * The row nearest to (x, y) within `reach` map units for which `accepts` is true, or -1.
   * @param {number} x
   * @param {number} y
   * @param {number} reach
   * @param {(row: number) => boolean} accepts
   */
  nearest(x, y, reach, accepts) {
    let best = -1, least = reach * reach;
    for (let r = this.row(y - reach); r <= this.row(y + reach); r++) {
      for (let c = this.column(x - reach); c <= this.column(x + reach); c++) {
        const cell = r * this.side + c;
        for (let k = this.starts[cell]; k < this.starts[cell + 1]; k++) {
          const i = this.order[k], dx = this.x[i] - x, dy = this.y[i] - y, d = dx * dx + dy * dy;
          if (d <= least && accepts(i)) {
            least = d;
            best = i;
          }
        }
      }
    }
    return best;
  }
}
