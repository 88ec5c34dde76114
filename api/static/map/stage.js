// The map itself: points, what lies on them, and what the view does.

import { View } from "../core/view.js";
import { labelsOf } from "../core/tree.js";
import { PlainPoints } from "../gl/plainpoints.js";
import { Points } from "../gl/points.js";
import { computed, effect, untracked } from "../vendor/preact/preact.js";
import { colouring } from "./colouring.js";
import { drawOverlay } from "./overlay.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("../core/palette.js").Rgb} Rgb */

const settleMs = 120, firstPortion = 20_000, mostRinged = 20_000;
const timelineHeight = 70, legendWidth = 180, wide = 860; // pixels

/** @param {HTMLCanvasElement} canvas @param {boolean} wantsPlain */
function openPoints(canvas, wantsPlain) {
  const gl = wantsPlain ? null : /** @type {WebGL2RenderingContext | null} */ (canvas.getContext("webgl2", { antialias: false, alpha: false, preserveDrawingBuffer: true, powerPreference: "high-performance" }));
  if (!gl) return new PlainPoints(canvas);
  canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
  canvas.addEventListener("webglcontextrestored", () => location.reload());
  return new Points(canvas, gl);
}

export class Stage {
  /**
   * @param {{element: HTMLElement, points: HTMLCanvasElement, overlay: HTMLCanvasElement}} parts
   * @param {Store} store
   * @param {boolean} wantsPlain
   */
  constructor({ element, points, overlay }, store, wantsPlain) {
    this.element = element;
    this.canvases = [points, overlay];
    this.context = /** @type {CanvasRenderingContext2D} */ (overlay.getContext("2d"));
    this.store = store;
    this.view = new View();
    this.drawer = openPoints(points, wantsPlain);
    this.request = this.settling = this.drawn = this.perFrame = 0;
    this.isStale = true;
    this.isFitted = this.isWhole = false; // is there a view; does it show everything, untouched
    this.paint = { ground: /** @type {Rgb} */ ([0, 0, 0]), ink: /** @type {Rgb} */ ([0, 0, 0]), accent: /** @type {Rgb} */ ([0, 0, 0]) };
    this.look = { isDimmed: false, emphasis: 3 };
    this.labels = computed(() => {
      const { snapshot, tree, passing, columns } = store, column = columns.value.get("topic"), now = snapshot.value;
      if (!now || !tree.value || !column?.codes || !passing.value) return fallbackLabels(now);
      return labelsOf(tree.value, column.values.map(Number), column.codes, now.x, now.y, passing.value.rows);
    });
    this.readPaint();
    this.listen();
  }

  listen() {
    const { store } = this;
    new ResizeObserver(() => this.resize()).observe(this.element);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.readPaint();
      this.redraw();
    });
    effect(() => void [store.snapshot.value, untracked(() => this.showSnapshot())]);
    effect(() => void [store.passing.value, untracked(() => this.showPassing())]);
    effect(() => {
      const found = colouring(store);
      if (!found) return;
      this.drawer.setCodes(found.codes);
      this.drawer.setPalette(found.pixels);
      this.redraw();
    });
    effect(() => this.emphasise());
    effect(() => void [store.hovered.value, store.row.value, store.path.value, store.area.value, store.drawing.value, this.labels.value, this.schedule()]);
  }

  showSnapshot() {
    const { store } = this, snapshot = store.snapshot.peek();
    if (!snapshot) return;
    this.drawer.setPlaces(snapshot.x, snapshot.y);
    for (const set of ["setCodes", "setMarks"]) this.drawer[/** @type {"setCodes"} */ (set)](new Uint8Array(snapshot.n)); // until its colours have come
    const { layout } = snapshot.summary, isNewLayout = this.layout !== undefined && this.layout !== layout;
    this.layout = layout;
    if (!this.isFitted || isNewLayout) {
      this.fitView();
      const at = store.at.peek();
      if (at && !this.isFitted) this.lookAt(at);
      this.isFitted = true;
    }
    this.showPassing();
    this.redraw();
  }

  /** What lies over the edges of the map. */
  covered() { return { beside: this.view.width > wide ? legendWidth : 0, below: timelineHeight }; }

  /** @param {readonly [number, number, number]} at */
  lookAt([x, y, magnification]) {
    Object.assign(this.view, { x, y, scale: this.view.home * magnification });
    this.isWhole = false;
    this.redraw();
  }

  showPassing() {
    const passing = this.store.passing.peek();
    if (!passing) return;
    this.drawer.setShown(passing.rows);
    this.redraw();
  }

  /** What stands out: a topic under the pointer, the selection, what was found, what is new. */
  emphasise() {
    const { store, drawer } = this, snapshot = store.snapshot.value, passing = store.passing.value;
    if (!snapshot || !passing) return;
    const { failed } = passing.sieve, mark = new Uint8Array(snapshot.n), topic = store.hoveredTopic.value, column = store.columns.value.get("topic");
    let ringed = /** @type {ArrayLike<number>} */ (snapshot.fresh.length > 0 && store.snapshot.value?.summary.fresh ? rowsOf(snapshot.fresh, mostRinged) : []), isDimmed = true;
    if (topic >= 0 && column?.codes) {
      const ids = new Set(store.leavesOf.value(String(topic))), codes = column.codes, table = column.values.map((value) => (ids.has(value) ? 1 : 0));
      for (let i = 0; i < snapshot.n; i++) mark[i] = table[codes[i]] ?? 0;
      ringed = [];
    } else if (store.selection.value.mask) {
      mark.set(store.selection.value.mask);
      ringed = store.selection.value.rows;
    } else if (store.isSearching.value && !store.found.value.problem) {
      for (const row of store.found.value.rows) mark[row] = 1;
      ringed = store.found.value.rows;
    } else isDimmed = false;
    const shown = ringed.length > mostRinged || (!isDimmed && ringed.length > snapshot.n / 3) ? [] : Array.from(ringed).filter((row) => failed[row] === 0);
    const share = shown.length / Math.max(1, snapshot.n);
    this.look = { isDimmed, emphasis: share < 0.02 ? 5 : share < 0.1 ? 3.5 : 2.2 };
    drawer.setMarks(mark);
    drawer.setRinged(Uint32Array.from(shown));
    this.redraw();
  }

  readPaint() {
    const probe = document.body.appendChild(document.createElement("span"));
    const read = (/** @type {string} */ name) => {
      probe.style.color = `var(${name})`;
      return /** @type {Rgb} */ (/** @type {unknown} */ ((getComputedStyle(probe).color.match(/[\d.]+/g) ?? []).slice(0, 3).map(Number)));
    };
    this.paint = { ground: read("--ground"), ink: read("--ink"), accent: read("--accent") };
    probe.remove();
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.element, ratio = Math.min(devicePixelRatio || 1, 2);
    if (!width || !height) return;
    for (const canvas of this.canvases) Object.assign(canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
    if (this.isFitted) this.view.resize(width, height);
    if (this.isFitted && this.isWhole) this.fitView();
    else Object.assign(this.view, { width, height });
    this.redraw();
    this.frame(); // in the same frame: a cleared canvas would flash
  }

  fitView() {
    const snapshot = this.store.snapshot.peek();
    if (!snapshot || !this.view.width) return;
    this.view.fit(snapshot.summary.bounds, this.covered());
    this.isWhole = true;
  }

  /** The view has moved: a part of the points at once, the rest when it rests. */
  moved() {
    this.isWhole = false;
    clearTimeout(this.settling);
    this.settling = setTimeout(() => {
      this.settling = 0;
      const { x, y, magnification } = this.view;
      this.store.at.value = [x, y, magnification];
      this.schedule();
    }, settleMs);
    this.redraw();
  }

  redraw() {
    this.isStale = true;
    this.schedule();
  }

  schedule() {
    if (this.request) return;
    this.request = requestAnimationFrame(() => {
      this.request = 0;
      this.frame();
    });
  }

  // Points are drawn in portions that take one frame on this machine. While the view moves, only the first portion (a random
  // sample) is drawn; then one more per frame, so that the page stays responsive.
  frame() {
    const { store, drawer, view } = this, ratio = Math.min(devicePixelRatio || 1, 2), look = { ...this.paint, ...this.look, ratio };
    const snapshot = store.snapshot.peek();
    if (!snapshot || !view.width) return;
    if (this.isStale) this.drawn = 0;
    if (this.isStale || (!this.settling && this.drawn < drawer.shown)) {
      if (!this.perFrame && drawer.shown) this.perFrame = Math.max(firstPortion, Math.round(drawer.pace(view, look)));
      drawer.draw(view, look, this.drawn, this.perFrame || 1);
      this.drawn += this.perFrame || 1;
      this.isStale = false;
    }
    drawOverlay(this.context, view, {
      ...this.paint, ratio, x: snapshot.x, y: snapshot.y, path: store.path.peek(), labels: this.labels.peek(), hovered: store.hovered.peek(), opened: store.row.peek(),
      topic: store.hoveredTopic.peek(), area: store.area.peek(), drawing: store.drawing.peek(),
    });
    if (!this.settling && this.drawn < drawer.shown) this.schedule();
  }

  /** The shown row under a pixel, or -1. @param {number} px @param {number} py */
  rowAt(px, py) {
    const snapshot = this.store.snapshot.peek(), passing = this.store.passing.peek();
    if (!snapshot || !passing) return -1;
    const { failed } = passing.sieve, found = this.store.isSearching.peek() ? this.store.foundRows.peek() : null;
    return snapshot.grid.nearest(...this.view.toMap(px, py), 9 / this.view.scale, (i) => failed[i] === 0 && (!found || found.has(i)));
  }

  /** @param {number} row */
  show(row) {
    const snapshot = this.store.snapshot.peek();
    if (!snapshot || row < 0) return;
    this.view.show(snapshot.x[row], snapshot.y[row]);
    this.moved();
  }

  fit() {
    this.moved();
    this.fitView();
  }

  /** @param {number} factor */
  zoom(factor) {
    this.view.zoom(factor, this.view.width / 2, this.view.height / 2);
    this.moved();
  }
}

/** @param {Uint8Array} flags @param {number} most @returns {number[]} */
function rowsOf(flags, most) {
  const rows = [];
  for (let i = 0; i < flags.length && rows.length <= most; i++) if (flags[i]) rows.push(i);
  return rows;
}

/** Names from the snapshot, until the tree of topics has come. @param {import("./snapshot.js").Snapshot | null} snapshot @returns {import("../core/tree.js").Label[]} */
const fallbackLabels = (snapshot) => (snapshot?.summary.labels ?? []).map(({ text, x, y, level }, i) => ({ id: -2 - i, name: text, depth: level, x, y, reach: 0, count: 0 }));
