// Draws the points of a map as plain pixels, where WebGL2 is missing.

import { dotOf } from "./points.js";

/** @typedef {import("../core/palette.js").Rgb} Rgb */

export class PlainPoints {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.kind = "canvas2d";
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    /** @type {Float32Array} */
    this.x = new Float32Array(0);
    this.y = this.x;
    /** @type {Uint8Array} */
    this.codes = new Uint8Array(0);
    this.mark = this.codes;
    /** @type {Uint32Array} */
    this.rows = new Uint32Array(0);
    this.rings = this.rows;
    this.inks = new Uint32Array(256);
    this.pixels = new Uint32Array(0);
    /** @type {ImageData | null} */
    this.image = null;
  }

  get n() { return this.x.length; }
  get shown() { return this.rows.length; }
  get ringed() { return this.rings.length; }

  /** @param {Float32Array} x @param {Float32Array} y */
  setPlaces(x, y) { Object.assign(this, { x, y, rows: new Uint32Array(0), rings: new Uint32Array(0) }); }

  /** @param {Uint8Array} codes */
  setCodes(codes) { this.codes = codes; }

  /** @param {Uint8Array} mark */
  setMarks(mark) { this.mark = mark; }

  /** @param {Uint32Array} rows */
  setShown(rows) { this.rows = rows; }

  /** @param {Uint32Array} rows */
  setRinged(rows) { this.rings = rows; }

  /** @param {Uint8Array} pixels */
  setPalette(pixels) { for (let i = 0; i < 256; i++) this.inks[i] = packed([pixels[4 * i], pixels[4 * i + 1], pixels[4 * i + 2]]); }

  pace() { return 60000; }

  /**
   * @param {import("../core/view.js").View} view
   * @param {import("./points.js").PointLook} look
   * @param {number} first
   * @param {number} count
   */
  draw(view, look, first, count) {
    const { canvas } = this, { width, height } = canvas;
    if (first === 0 || !this.image || this.image.width !== width || this.image.height !== height) {
      this.image = this.context.createImageData(width, height);
      this.pixels = new Uint32Array(this.image.data.buffer);
      this.pixels.fill(packed(look.ground));
    }
    const side = Math.max(1, Math.round(dotOf(this.n, view.magnification, look.ratio).size * 0.85));
    const faint = packed([look.ground[0] * 0.85 + 19, look.ground[1] * 0.85 + 19, look.ground[2] * 0.85 + 19]);
    const put = (/** @type {number} */ i, /** @type {number} */ size, /** @type {number} */ ink) => {
      const [px, py] = view.toScreen(this.x[i], this.y[i]);
      square(this.pixels, width, height, px * look.ratio, py * look.ratio, size, ink);
    };
    for (let k = first; k < Math.min(this.shown, first + count); k++) {
      const i = this.rows[k];
      put(i, side, look.isDimmed && !(this.mark[i] & 1) ? faint : this.inks[this.codes[i]]);
    }
    for (const i of this.rings) {
      put(i, side + 4, packed(look.accent));
      put(i, side + 1, this.inks[this.codes[i]]);
    }
    this.context.putImageData(this.image, 0, 0);
  }
}

/** @param {Rgb} rgb */
const packed = ([r, g, b]) => ((255 << 24) | (Math.round(b) << 16) | (Math.round(g) << 8) | Math.round(r)) >>> 0;

/** @param {Uint32Array} out @param {number} width @param {number} height @param {number} px @param {number} py @param {number} side @param {number} ink */
function square(out, width, height, px, py, side, ink) {
  const x0 = Math.round(px - side / 2), y0 = Math.round(py - side / 2);
  for (let y = Math.max(0, y0); y < Math.min(height, y0 + side); y++) {
    for (let x = Math.max(0, x0); x < Math.min(width, x0 + side); x++) out[y * width + x] = ink;
  }
}
