// Draws the ground from above with a 2-D canvas, where WebGL2 is missing.

import { projection } from "../core/camera.js";

/** @typedef {import("./ground.js").Look} Look */

export class PlainGround {
  kind = /** @type {const} */ ("canvas2d");
  isSlow = true;
  /** @type {(() => void) | undefined} */
  onRestored = undefined;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {number} n points along each side
   */
  constructor(canvas, n) {
    this.canvas = canvas;
    this.n = n;
    this.heights = new Float32Array(n * n);
    this.faces = new Int8Array(4 * n * n);
    /** @type {Uint8Array<ArrayBufferLike>} */
    this.colours = new Uint8Array(4 * n * n);
    this.picture = Object.assign(document.createElement("canvas"), { width: n, height: n });
    this.isStale = true;
  }

  setHeights() {
    this.isStale = true;
  }

  /** @param {Uint8Array} colours */
  setColours(colours) {
    this.colours = colours;
    this.isStale = true;
  }

  /**
   * @param {import("../core/camera.js").Camera} camera which looks straight down
   * @param {import("../core/camera.js").Size} size
   * @param {Look} look
   * @param {import("./ground.js").Ring | null} ring
   * @param {number} interval between contour lines
   */
  draw(camera, size, look, ring, interval) {
    const context = this.canvas.getContext("2d"), project = projection(camera, size);
    if (!context) return;
    if (this.isStale) this.paint(look, interval);
    const ratio = this.canvas.width / size.width, from = project(-1, 0, -1), to = project(1, 0, 1);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = `rgb(${look.sky.join(" ")})`;
    context.fillRect(0, 0, size.width, size.height);
    context.imageSmoothingQuality = "high";
    context.drawImage(this.picture, from.x, from.y, to.x - from.x, to.y - from.y);
    if (!ring) return;
    const centre = project(ring.x, 0, ring.z), edge = project(ring.x + 1.55 * ring.radius, 0, ring.z);
    context.strokeStyle = `rgb(${look.accent.join(" ")})`;
    context.lineWidth = 2;
    context.beginPath();
    context.arc(centre.x, centre.y, Math.hypot(edge.x - centre.x, edge.y - centre.y), 0, 2 * Math.PI);
    context.stroke();
  }

  /**
   * @param {Look} look
   * @param {number} interval
   */
  paint(look, interval) {
    const { n, heights, faces, colours } = this, image = new ImageData(n, n);
    for (let k = 0; k < n * n; k++) {
      const sun = Math.max(0, (-0.5 * faces[4 * k] + 0.75 * faces[4 * k + 1] - 0.42 * faces[4 * k + 2]) / 127);
      const isLine = Math.floor(heights[k] / interval) !== Math.floor(heights[Math.max(0, k - 1)] / interval);
      for (let c = 0; c < 3; c++) {
        const lit = colours[4 * k + c] * (look.ambient + (1 - look.ambient) * 1.3 * sun);
        image.data[4 * k + c] = isLine ? lit + (look.ink[c] - lit) * 0.5 * look.contour : lit;
      }
      image.data[4 * k + 3] = 255;
    }
    this.picture.getContext("2d")?.putImageData(image, 0, 0);
    this.isStale = false;
  }
}
