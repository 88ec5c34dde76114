// The stage: draws the ground and moves it towards where the state and the camera want it, only while something moves.

import { between, isNear, wholeGround } from "../core/camera.js";
import { footprintsOf, heightAt, heightsOf, raise, tallest } from "../core/hills.js";
import { face, tint } from "../core/shade.js";
import { openGround } from "../gl/open.js";
import { effect } from "../vendor/preact/preact.js";
import { Peaks } from "./peaks.js";
import { changedColours, hillColours, looks } from "./theme.js";

/** @typedef {import("../core/camera.js").Camera} Camera */

const points = 161; // of the mesh along each side
const interval = tallest / 12; // between contour lines
const cameraMs = 70, hillsMs = 130; // after so long, 63 % of the way is done
const sharpenMs = 140; // after the last movement
const straightDown = { yaw: 0, pitch: Math.PI / 2 - 0.001 };

export class Stage {
  /**
   * @param {{stage: HTMLElement, canvas: HTMLCanvasElement, peaks: HTMLElement, lines: SVGSVGElement}} elements
   * @param {import("./store.js").Store} store
   * @param {boolean} wantsPlain
   */
  constructor({ stage, canvas, peaks, lines }, store, wantsPlain) {
    this.element = stage;
    this.canvas = canvas;
    this.store = store;
    this.drawing = openGround(canvas, points, wantsPlain);
    this.isFlat = this.drawing.kind === "canvas2d"; // seen from above alone
    this.footprints = footprintsOf(store.hills, points);
    this.heights = new Float64Array(store.hills.length); // as drawn; they rise from nothing
    this.wanted = heightsOf(store.hills, store.seen.peek());
    this.before = this.groundBefore();
    this.peaks = new Peaks(peaks, lines, store.hills);
    this.size = { width: 1, height: 1 };
    this.camera = this.goal = wholeGround(this.size);
    this.scheme = /** @type {import("./theme.js").Scheme} */ ("light");
    this.dragged = -1;
    this.quality = this.drawing.isSlow ? 0.6 : 1; // of the resolution, while something moves
    this.frames = 0;
    this.last = 0;
    this.request = 0;
    this.sharpening = 0;
    this.drawing.onRestored = () => this.invalidate();
    this.reshape();
    this.watch();
  }

  /** The heights of the original ground at the peaks. */
  groundBefore() {
    const ground = new Float32Array(points * points);
    raise(ground, this.footprints, this.store.hills.map((hill) => hill.height));
    return this.store.hills.map(({ x, z }) => heightAt(ground, x, z));
  }

  watch() {
    const { store } = this, darkly = matchMedia("(prefers-color-scheme: dark)");
    this.isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const setScheme = () => {
      this.scheme = darkly.matches ? "dark" : "light";
      this.colour();
    };
    darkly.addEventListener("change", setScheme);
    new ResizeObserver(() => this.resize()).observe(this.element);
    setScheme();
    effect(() => {
      this.wanted = heightsOf(store.hills, store.seen.value);
      this.peaks.say(store.seen.value);
      if (store.shown.value === "change") this.colour();
      this.invalidate();
    });
    effect(() => void [store.shown.value, this.colour()]);
    effect(() => void [store.hovered.value, store.selected.value, this.invalidate()]);
  }

  colour() {
    const { store, scheme } = this;
    const own = hillColours(store.hills, scheme);
    this.peaks.colour(own);
    const shown = store.shown.peek() === "change" ? changedColours(store.weights.peek(), scheme) : own;
    this.drawing.setColours(tint(this.footprints, shown, looks[scheme].paper, points));
    this.invalidate();
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.element;
    if (!width || !height) return;
    const isFirst = this.size.width <= 1;
    const share = this.goal.distance / wholeGround(this.size).distance;
    this.size = { width, height };
    const whole = this.whole();
    this.goal = isFirst ? whole : { ...this.goal, distance: Math.min(14, whole.distance * share) };
    this.camera = isFirst && !this.isCalm && !this.isFlat ? { ...whole, yaw: whole.yaw - 0.5, distance: whole.distance * 1.12 } : this.goal;
    this.peaks.measure();
    this.draw(1);
    this.invalidate();
  }

  /** The view of everything; kept by the angles that it is seen from, if wanted. */
  whole(angles = this.isFlat ? straightDown : {}) {
    return wholeGround(this.size, angles);
  }

  /** @param {Camera} goal */
  look(goal) {
    this.goal = this.isFlat ? { ...goal, ...straightDown } : goal;
    this.invalidate();
  }

  invalidate() {
    this.request ||= requestAnimationFrame((now) => this.frame(now));
  }

  /** @param {number} now */
  frame(now) {
    this.request = 0;
    const passed = Math.min(100, this.last ? now - this.last : 16);
    if (this.last) this.adapt(now - this.last);
    const moves = this.step(this.isCalm ? 1e9 : passed);
    this.draw(moves ? this.quality : 0);
    this.last = moves ? now : 0;
    if (moves) this.invalidate();
  }

  /**
   * Everything a step nearer to where it is wanted; false once it is there.
   * @param {number} passedMs
   */
  step(passedMs) {
    const isThere = isNear(this.camera, this.goal);
    this.camera = isThere ? this.goal : between(this.camera, this.goal, 1 - Math.exp(-passedMs / cameraMs));
    const share = 1 - Math.exp(-passedMs / hillsMs);
    let rose = false;
    this.wanted.forEach((height, i) => {
      if (height === this.heights[i]) return;
      const left = height - this.heights[i];
      this.heights[i] = i === this.dragged || Math.abs(left) < 5e-4 ? height : this.heights[i] + left * share;
      rose = true;
    });
    if (rose) this.reshape();
    return rose || !isThere;
  }

  reshape() {
    const { drawing } = this;
    raise(drawing.heights, this.footprints, this.heights);
    face(drawing.faces, drawing.heights);
    drawing.setHeights();
  }

  /**
   * Lowers the resolution while frames come slowly, and raises it while they come fast.
   * @param {number} ms since the last frame
   */
  adapt(ms) {
    if (ms > 38) this.quality = Math.max(0.45, this.quality * 0.9);
    else if (ms < 24) this.quality = Math.min(1, this.quality * 1.05);
  }

  /** @param {number} quality 0: the last frame drawn so far, which is drawn again in full resolution a little later */
  draw(quality) {
    const { store, size, camera } = this, ratio = Math.min(2, devicePixelRatio || 1);
    const isSlow = this.drawing.isSlow;
    clearTimeout(this.sharpening);
    if (quality === 0 && isSlow) this.sharpening = window.setTimeout(() => this.request || this.paint(ratio * (ratio < 1.5 ? 1.5 : 1)), sharpenMs);
    this.paint(ratio * (quality || (isSlow ? this.quality : 1)), isSlow);
    const before = store.shown.peek() === "change" ? this.before : null;
    this.peaks.place(camera, size, this.drawing.heights, { hovered: store.hovered.peek(), selected: store.selected.peek(), before, isFlat: this.isFlat });
    this.frames++;
  }

  /**
   * @param {number} ratio pixels of the canvas for each of the page
   * @param {boolean} isCoarse
   */
  paint(ratio, isCoarse = false) {
    const { canvas, size, store } = this;
    const width = Math.max(1, Math.round(size.width * ratio)), height = Math.max(1, Math.round(size.height * ratio));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const marked = store.hovered.peek() >= 0 ? store.hovered.peek() : store.selected.peek();
    this.drawing.draw(this.camera, size, looks[this.scheme], store.hills[marked] ?? null, interval, isCoarse);
  }
}
