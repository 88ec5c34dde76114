// Draws the points of a map with WebGL2.

import { compile, fill } from "./program.js";

/** @typedef {import("../core/palette.js").Rgb} Rgb */
/**
 * `emphasis`: extra diameter of ringed points, pixels. `isDimmed`: points without the first bit of their mark are faint.
 * @typedef {{readonly ground: Rgb, readonly accent: Rgb, readonly ratio: number, readonly isDimmed: boolean, readonly emphasis: number}} PointLook
 */

const vertex = `
in float x, y;
in uint code, mark;
uniform vec2 centre, scale;
uniform float size, emphasis, alpha;
uniform int isDimmed, isRinged;
uniform sampler2D palette;
out vec4 colour;
void main() {
  vec4 ink = texelFetch(palette, ivec2(int(code), 0), 0);
  float faint = isDimmed == 1 && (mark & 1u) == 0u ? 0.13 : 1.0;
  colour = vec4(ink.rgb, isRinged == 1 ? 1.0 : alpha * faint * ink.a);
  gl_PointSize = size + (isRinged == 1 ? emphasis : 0.0);
  gl_Position = vec4((vec2(x, y) - centre) * scale, 0.0, 1.0);
}`;
const fragment = `
in vec4 colour;
uniform float size, emphasis;
uniform highp int isRinged;
uniform vec3 accent;
out vec4 result;
void main() {
  vec2 p = gl_PointCoord * 2.0 - 1.0;
  float full = isRinged == 1 ? size + emphasis : size;
  float d = length(p) * full * 0.5, edge = full * 0.5;
  float cover = clamp(edge - d + 0.5, 0.0, 1.0);
  if (cover <= 0.0) discard;
  float line = 0.3 * emphasis + 0.2;
  vec3 rgb = isRinged == 1 ? mix(colour.rgb, accent, clamp(d - (edge - line) + 0.5, 0.0, 1.0)) : colour.rgb;
  result = vec4(rgb, colour.a * cover);
}`;
const attributes = ["x", "y", "code", "mark"];

/**
 * Diameter in device pixels, and opacity: smaller and fainter the more points there are, larger when zoomed in.
 * @param {number} n
 * @param {number} magnification
 * @param {number} ratio
 */
export function dotOf(n, magnification, ratio) {
  const base = Math.max(1.3, Math.min(6.5, 34 / Math.max(n, 1) ** 0.215));
  const size = Math.min(15, base * Math.max(magnification, 0.3) ** 0.3);
  const alpha = Math.max(0.12, Math.min(0.9, (14 / Math.max(n, 1) ** 0.33) * Math.max(magnification, 1) ** 0.4));
  return { size: size * ratio, alpha };
}

export class Points {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {WebGL2RenderingContext} gl
   */
  constructor(canvas, gl) {
    this.kind = "webgl2";
    this.canvas = canvas;
    this.gl = gl;
    this.n = 0;
    this.shown = this.ringed = 0; // points of each kind
    this.program = compile(gl, vertex, fragment, attributes);
    this.palette = gl.createTexture();
    /** @type {Map<string, WebGLBuffer>} */
    this.buffers = new Map();
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
  }

  /** @param {string} name */
  buffer(name) {
    const made = this.buffers.get(name) ?? this.gl.createBuffer();
    this.buffers.set(name, made);
    return made;
  }

  /** @param {Float32Array} x @param {Float32Array} y */
  setPlaces(x, y) {
    this.n = x.length;
    for (const [name, values] of /** @type {const} */ ([["x", x], ["y", y]])) {
      const place = attributes.indexOf(name);
      fill(this.gl, this.buffer(name), values);
      this.gl.enableVertexAttribArray(place);
      this.gl.vertexAttribPointer(place, 1, this.gl.FLOAT, false, 0, 0);
    }
    this.shown = this.ringed = 0;
  }

  /** @param {Uint8Array} codes of colours */
  setCodes(codes) { this.bytes("code", codes); }

  /** @param {Uint8Array} mark */
  setMarks(mark) { this.bytes("mark", mark); }

  /** @param {string} name @param {Uint8Array} values */
  bytes(name, values) {
    const place = attributes.indexOf(name);
    fill(this.gl, this.buffer(name), values);
    this.gl.enableVertexAttribArray(place);
    this.gl.vertexAttribIPointer(place, 1, this.gl.UNSIGNED_BYTE, 0, 0);
  }

  /** @param {Uint32Array} rows those drawn, in this order */
  setShown(rows) {
    this.shown = rows.length;
    fill(this.gl, this.buffer("shown"), rows, this.gl.ELEMENT_ARRAY_BUFFER);
  }

  /** @param {Uint32Array} rows those drawn once more, larger and with a ring */
  setRinged(rows) {
    this.ringed = rows.length;
    fill(this.gl, this.buffer("ringed"), rows, this.gl.ELEMENT_ARRAY_BUFFER);
  }

  /** @param {Uint8Array} pixels red, green, blue and opacity of each code */
  setPalette(pixels) {
    const { gl } = this;
    gl.bindTexture(gl.TEXTURE_2D, this.palette);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
  }

  /**
   * Draws `count` of the shown points from `first` on, then the ringed ones. `first` 0 clears the canvas.
   * @param {import("../core/view.js").View} view
   * @param {PointLook} look
   * @param {number} first
   * @param {number} count
   */
  draw(view, look, first, count) {
    const { gl, canvas } = this, { at } = this.program, dot = dotOf(this.n, view.magnification, look.ratio);
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(look.ground[0] / 255, look.ground[1] / 255, look.ground[2] / 255, 1);
    if (first === 0) gl.clear(gl.COLOR_BUFFER_BIT);
    if (!this.n) return;
    gl.useProgram(this.program.program);
    gl.uniform2f(at("centre"), view.x, view.y);
    gl.uniform2f(at("scale"), (2 * view.scale) / view.width, (2 * view.scale) / view.height);
    gl.uniform1f(at("size"), dot.size);
    gl.uniform1f(at("emphasis"), look.emphasis * look.ratio);
    gl.uniform1f(at("alpha"), dot.alpha);
    gl.uniform1i(at("isDimmed"), look.isDimmed ? 1 : 0);
    gl.uniform3f(at("accent"), look.accent[0] / 255, look.accent[1] / 255, look.accent[2] / 255);
    this.elements("shown", 0, first, Math.max(0, Math.min(this.shown - first, count)));
    if (this.ringed) this.elements("ringed", 1, 0, this.ringed);
  }

  /** @param {string} name @param {number} isRinged @param {number} first @param {number} count */
  elements(name, isRinged, first, count) {
    if (count <= 0) return;
    this.gl.uniform1i(this.program.at("isRinged"), isRinged);
    this.gl.bindBuffer(this.gl.ELEMENT_ARRAY_BUFFER, this.buffer(name));
    this.gl.drawElements(this.gl.POINTS, count, this.gl.UNSIGNED_INT, first * 4);
  }

  /**
   * How many points this machine draws in 30 ms.
   * @param {import("../core/view.js").View} view
   * @param {PointLook} look
   */
  pace(view, look) {
    const { gl } = this, trial = Math.min(this.shown, 50000), pixel = new Uint8Array(4);
    let began = 0;
    for (let again = 0; again < 2; again++) { // the first pass also compiles the shaders
      began = performance.now();
      this.draw(view, look, 0, trial);
      gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel);
    }
    return (trial * 30) / Math.max(performance.now() - began, 0.5);
  }
}
