// The visible part of the map: a centre in map units, and a scale in CSS pixels per unit.

/** @typedef {readonly [left: number, bottom: number, right: number, top: number]} Bounds */

const margin = 36; // pixels left free around everything

export class View {
  constructor() {
    this.x = 0;
    this.y = 0;
    this.scale = 1;
    this.home = 1; // the scale that shows everything
    this.width = 1;
    this.height = 1;
  }

  get magnification() { return this.scale / this.home; }

  /**
   * The size of the window on the map. What it shows stays where it is on the screen, seen from its upper left corner.
   * @param {number} width
   * @param {number} height
   */
  resize(width, height) {
    this.x += (width - this.width) / 2 / this.scale;
    this.y -= (height - this.height) / 2 / this.scale;
    this.width = width;
    this.height = height;
  }

  /**
   * Shows all of `bounds`, beside what covers the left and the lower edge.
   * @param {Bounds} bounds
   * @param {{beside?: number, below?: number}} [covered] pixels
   */
  fit([left, bottom, right, top], { beside = 0, below = 0 } = {}) {
    const w = Math.max(80, this.width - 2 * margin - beside), h = Math.max(80, this.height - 2 * margin - below);
    this.scale = this.home = Math.min(w / Math.max(right - left, 1e-6), h / Math.max(top - bottom, 1e-6), 1e6);
    this.x = (left + right) / 2 - beside / 2 / this.scale;
    this.y = (bottom + top) / 2 - below / 2 / this.scale;
  }

  /** @param {number} x @param {number} y @returns {[number, number]} */
  toScreen(x, y) { return [(x - this.x) * this.scale + this.width / 2, this.height / 2 - (y - this.y) * this.scale]; }

  /** @param {number} px @param {number} py @returns {[number, number]} */
  toMap(px, py) { return [this.x + (px - this.width / 2) / this.scale, this.y - (py - this.height / 2) / this.scale]; }

  /** @param {number} dx pixels @param {number} dy */
  move(dx, dy) {
    this.x -= dx / this.scale;
    this.y += dy / this.scale;
  }

  /**
   * Zooms around a pixel: the position under it stays the same.
   * @param {number} factor
   * @param {number} px
   * @param {number} py
   */
  zoom(factor, px, py) {
    const [x, y] = this.toMap(px, py);
    this.scale = Math.max(this.home / 4, Math.min(this.home * 4000, this.scale * factor));
    this.x = x - (px - this.width / 2) / this.scale;
    this.y = y + (py - this.height / 2) / this.scale;
  }

  /**
   * Centres a position, unless it is visible already.
   * @param {number} x
   * @param {number} y
   */
  show(x, y) {
    const [px, py] = this.toScreen(x, y);
    if (px > margin && px < this.width - margin && py > margin && py < this.height - 2 * margin) return;
    this.x = x;
    this.y = y;
  }

  /**
   * Shows a part of the map: all of it, not larger than it was.
   * @param {Bounds} bounds
   */
  showPart([left, bottom, right, top]) {
    const fitting = Math.min((0.7 * this.width) / Math.max(right - left, 1e-6), (0.6 * this.height) / Math.max(top - bottom, 1e-6));
    this.scale = Math.max(this.home, Math.min(fitting, this.home * 40));
    this.x = (left + right) / 2;
    this.y = (bottom + top) / 2;
  }
}
