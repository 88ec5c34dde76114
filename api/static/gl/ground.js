// Draws the ground with WebGL2: a mesh of n times n points, its cut sides, and a shadow.

import { matrixOf } from "../core/camera.js";
import { compile, fill, read } from "./program.js";
import * as shaders from "./shaders.js";

/** @typedef {import("../core/palette.js").Rgb} Rgb */
/**
 * The colours that a theme gives to the ground: `paper` between hills, `ink` of contour lines.
 * @typedef {{readonly sky: Rgb, readonly paper: Rgb, readonly ink: Rgb, readonly accent: Rgb, readonly side: Rgb, readonly shadow: readonly [number, number, number, number],
 *   readonly ambient: number, readonly contour: number, readonly glow: number}} Look
 */
/** @typedef {{readonly x: number, readonly z: number, readonly radius: number}} Ring */

const depth = 0.075; // of the block

export class Ground {
  kind = /** @type {const} */ ("webgl2");

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {WebGL2RenderingContext} gl
   * @param {number} n points along each side
   * @param {boolean} isSlow does the processor do the drawing?
   */
  constructor(canvas, gl, n, isSlow) {
    this.canvas = canvas;
    this.gl = gl;
    this.n = n;
    this.isSlow = isSlow;
    /** @type {(() => void) | undefined} */
    this.onRestored = undefined;
    this.heights = new Float32Array(n * n);
    this.faces = new Int8Array(4 * n * n);
    /** @type {Uint8Array<ArrayBufferLike>} */
    this.colours = new Uint8Array(4 * n * n);
    this.places = placesOf(n);
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      this.build();
      this.onRestored?.();
    });
    this.build();
  }

  /** Everything that a new or restored context needs. */
  build() {
    const { gl, n } = this;
    this.programs = {
      ground: compile(gl, shaders.ground.vertex, shaders.ground.fragment, ["place", "height", "face", "colour"]),
      side: compile(gl, shaders.side.vertex, shaders.side.fragment, ["place", "normal"]),
      shadow: compile(gl, shaders.shadow.vertex, shaders.shadow.fragment, ["place"]),
    };
    this.buffers = {
      places: gl.createBuffer(), heights: gl.createBuffer(), faces: gl.createBuffer(), colours: gl.createBuffer(),
      corners: gl.createBuffer(), sides: gl.createBuffer(), normals: gl.createBuffer(), triangles: gl.createBuffer(), coarse: gl.createBuffer(),
    };
    this.arrays = { ground: gl.createVertexArray(), side: gl.createVertexArray(), shadow: gl.createVertexArray() };
    fill(gl, this.buffers.places, this.places);
    fill(gl, this.buffers.corners, new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]));
    fill(gl, this.buffers.normals, normalsOfSides(n));
    gl.bindVertexArray(this.arrays.ground);
    read(gl, 0, this.buffers.places, 2, gl.FLOAT);
    read(gl, 1, this.buffers.heights, 1, gl.FLOAT);
    read(gl, 2, this.buffers.faces, 4, gl.BYTE);
    read(gl, 3, this.buffers.colours, 4, gl.UNSIGNED_BYTE);
    gl.bindVertexArray(this.arrays.side);
    read(gl, 0, this.buffers.sides, 3, gl.FLOAT);
    read(gl, 1, this.buffers.normals, 3, gl.FLOAT);
    gl.bindVertexArray(this.arrays.shadow);
    read(gl, 0, this.buffers.corners, 2, gl.FLOAT);
    gl.bindVertexArray(null);
    fill(gl, this.buffers.triangles, trianglesOf(n, 1), gl.ELEMENT_ARRAY_BUFFER);
    fill(gl, this.buffers.coarse, trianglesOf(n, 2), gl.ELEMENT_ARRAY_BUFFER);
    this.setHeights();
    this.setColours(this.colours);
  }

  /** Sends `heights` and `faces`, which the caller has written. */
  setHeights() {
    const { gl, buffers } = this;
    if (!buffers) return;
    fill(gl, buffers.heights, this.heights);
    fill(gl, buffers.faces, this.faces);
    fill(gl, buffers.sides, sidesOf(this.heights, this.n));
  }

  /** @param {Uint8Array} colours */
  setColours(colours) {
    this.colours = colours;
    if (this.buffers) fill(this.gl, this.buffers.colours, colours);
  }

  /**
   * @param {import("../core/camera.js").Camera} camera
   * @param {import("../core/camera.js").Size} size
   * @param {Look} look
   * @param {Ring | null} ring
   * @param {number} interval between contour lines
   * @param {boolean} isCoarse with every other point of the mesh: for frames that are soon replaced
   */
  draw(camera, size, look, ring, interval, isCoarse) {
    const { gl, programs, arrays, buffers } = this;
    if (gl.isContextLost() || !programs || !arrays || !buffers) return;
    const view = matrixOf(camera, size), light = lightOf(camera);
    gl.viewport(0, 0, this.canvas.width, this.canvas.height);
    gl.clearColor(...unit(look.sky), 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    this.drawShadow(view, look);
    gl.enable(gl.DEPTH_TEST);
    gl.useProgram(programs.ground.program);
    const { at } = programs.ground;
    gl.uniformMatrix4fv(at("view"), false, view);
    gl.uniform3fv(at("light"), light);
    gl.uniform4f(at("ring"), ring?.x ?? 9, ring?.z ?? 9, ring?.radius ?? 1, ring ? 1 : 0);
    gl.uniform3fv(at("ink"), unit(look.ink));
    gl.uniform3fv(at("accent"), unit(look.accent));
    const { ambient, contour, glow } = look, pixel = this.canvas.width / size.width;
    for (const [name, value] of Object.entries({ interval, ambient, contour, glow, pixel })) gl.uniform1f(at(name), value);
    gl.bindVertexArray(arrays.ground);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, isCoarse ? buffers.coarse : buffers.triangles);
    gl.drawElements(gl.TRIANGLES, 6 * ((this.n - 1) / (isCoarse ? 2 : 1)) ** 2, gl.UNSIGNED_INT, 0);
    gl.useProgram(programs.side.program);
    gl.uniformMatrix4fv(programs.side.at("view"), false, view);
    gl.uniform3fv(programs.side.at("light"), light);
    gl.uniform3fv(programs.side.at("colour"), unit(look.side));
    gl.bindVertexArray(arrays.side);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 8 * this.n);
    gl.bindVertexArray(null);
  }

  /**
   * @param {Float32Array} view
   * @param {Look} look
   */
  drawShadow(view, look) {
    const { gl, programs, arrays } = this;
    if (!programs || !arrays) return;
    gl.disable(gl.DEPTH_TEST);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
    gl.useProgram(programs.shadow.program);
    gl.uniformMatrix4fv(programs.shadow.at("view"), false, view);
    gl.uniform1f(programs.shadow.at("below"), -depth);
    gl.uniform4f(programs.shadow.at("colour"), look.shadow[0] / 255, look.shadow[1] / 255, look.shadow[2] / 255, look.shadow[3]);
    gl.bindVertexArray(arrays.shadow);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    gl.disable(gl.BLEND);
  }
}

/** The light comes over the viewer's left shoulder wherever the viewer stands. @param {{yaw: number}} camera */
function lightOf({ yaw }) {
  const turn = yaw - 0.95, flat = 0.66;
  return [Math.sin(turn) * flat, 0.75, Math.cos(turn) * flat];
}

/** @param {Rgb} rgb @returns {[number, number, number]} */
const unit = ([r, g, b]) => [r / 255, g / 255, b / 255];

/** @param {number} n */
function placesOf(n) {
  const places = new Float32Array(2 * n * n);
  for (let k = 0; k < n * n; k++) {
    places[2 * k] = (2 * (k % n)) / (n - 1) - 1;
    places[2 * k + 1] = (2 * Math.floor(k / n)) / (n - 1) - 1;
  }
  return places;
}

/** Two triangles for each square of `step` points. @param {number} n @param {number} step */
function trianglesOf(n, step) {
  const triangles = new Uint32Array(6 * ((n - 1) / step) ** 2), below = n * step;
  let at = 0;
  for (let j = 0; j < n - 1; j += step) {
    for (let i = 0; i < n - 1; i += step, at += 6) {
      const k = j * n + i;
      triangles.set([k, k + below, k + step, k + step, k + below, k + below + step], at);
    }
  }
  return triangles;
}

/** The points along the edge, once around. @param {number} n @returns {[number, number][]} column and row */
function around(n) {
  const along = Array.from({ length: n }, (_, i) => i), last = n - 1;
  return [
    ...along.map((i) => /** @type {[number, number]} */ ([i, last])), ...along.map((i) => /** @type {[number, number]} */ ([last, last - i])),
    ...along.map((i) => /** @type {[number, number]} */ ([last - i, 0])), ...along.map((i) => /** @type {[number, number]} */ ([0, i])),
  ];
}

/** A strip: at each point of the edge one corner at the ground and one at the bottom. @param {Float32Array} heights @param {number} n */
function sidesOf(heights, n) {
  const strip = new Float32Array(24 * n);
  around(n).forEach(([i, j], k) => {
    const x = (2 * i) / (n - 1) - 1, z = (2 * j) / (n - 1) - 1;
    strip.set([x, heights[j * n + i], z, x, -depth, z], 6 * k);
  });
  return strip;
}

/** @param {number} n */
function normalsOfSides(n) {
  const normals = new Float32Array(24 * n), facing = [[0, 0, 1], [1, 0, 0], [0, 0, -1], [-1, 0, 0]];
  for (let k = 0; k < 4 * n; k++) for (const half of [0, 3]) normals.set(facing[Math.floor(k / n)], 6 * k + half);
  return normals;
}
