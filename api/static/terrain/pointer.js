// Mouse, touch and keys on the stage.

import { panned, projection, rayThrough, turned, zoomed } from "../core/camera.js";
import { weightAt } from "../core/hills.js";
import { hillUnder, meetsGround, pixelsPerHeight } from "../core/picking.js";

/** @typedef {import("./stage.js").Stage} Stage */
/** @typedef {import("./store.js").Store} Store */
/** @typedef {{x: number, y: number}} Point */

const perPixel = 0.0065; // radians
const clickPx = 4; // a shorter way is a click

/**
 * @param {Stage} stage
 * @param {Store} store
 * @param {(at: Point | null) => void} onHover where the pointer is over a hill
 */
export function listen(stage, store, onHover) {
  const { element } = stage;
  /** @type {Map<number, Point>} */
  const down = new Map();
  /** @type {{hill: number, height: number} | null} */
  let peak = null;
  let way = 0;

  const at = (/** @type {PointerEvent | WheelEvent} */ event) => {
    const box = element.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  const under = (/** @type {Point} */ { x, y }) => hillUnder(store.hills, stage.drawing.heights, stage.camera, stage.size, x, y);
  const peakOf = (/** @type {EventTarget | null} */ target) => {
    const found = target instanceof Element ? target.closest(".peak") : null;
    return found instanceof HTMLElement ? Number(found.dataset.hill) : -1;
  };

  element.addEventListener("pointerdown", (event) => {
    if (event.button === 1) return;
    const hill = peakOf(event.target);
    element.setPointerCapture(event.pointerId);
    down.set(event.pointerId, at(event));
    way = 0;
    if (down.size > 1) stopPeak(false);
    else if (hill >= 0 && event.button === 0) startPeak(hill);
    element.classList.toggle("turning", !peak);
    stage.peaks.peaks[hill]?.element.focus({ preventScroll: true });
    if (hill < 0) element.focus({ preventScroll: true });
    event.preventDefault();
  });
  element.addEventListener("pointermove", (event) => {
    const now = at(event), before = down.get(event.pointerId);
    if (!before) return hover(event, now);
    way += Math.hypot(now.x - before.x, now.y - before.y);
    if (peak) movePeak(before.y - now.y);
    else if (down.size === 2) pinch(event.pointerId, before, now);
    else if (event.shiftKey || event.buttons & 2) stage.look(panned(stage.goal, stage.size, now.x - before.x, now.y - before.y));
    else if (stage.isFlat) stage.look(panned(stage.goal, stage.size, now.x - before.x, now.y - before.y));
    else stage.look(turned(stage.goal, -(now.x - before.x) * perPixel, (now.y - before.y) * perPixel));
    down.set(event.pointerId, now);
  });
  const up = (/** @type {PointerEvent} */ event) => {
    if (!down.delete(event.pointerId)) return;
    element.classList.remove("turning");
    if (way < clickPx && event.type === "pointerup") store.selected.value = peak ? peak.hill : under(at(event));
    stopPeak(event.type === "pointerup" && way >= clickPx);
  };
  element.addEventListener("pointerup", up);
  element.addEventListener("pointercancel", up);
  element.addEventListener("pointerleave", () => {
    if (!down.size) [store.hovered.value] = [-1, onHover(null)];
  });
  element.addEventListener("contextmenu", (event) => event.preventDefault());
  element.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const lines = event.deltaMode === 1 ? 18 : 1, { x, y } = at(event);
      stage.look(zoomed(stage.goal, Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.008 : 0.0014)), groundUnder(x, y)));
    },
    { passive: false },
  );

  /** @param {number} x @param {number} y */
  const groundUnder = (x, y) => meetsGround(rayThrough(stage.camera, stage.size, x, y), stage.drawing.heights);

  /** @param {PointerEvent} event @param {Point} now */
  function hover(event, now) {
    if (event.pointerType === "touch") return;
    const onPeak = peakOf(event.target), hill = onPeak >= 0 ? onPeak : under(now);
    store.hovered.value = hill;
    element.classList.toggle("over", hill >= 0);
    onHover(hill >= 0 ? now : null);
  }

  /** @param {number} hill */
  function startPeak(hill) {
    peak = { hill, height: stage.heights[hill] };
    stage.dragged = store.hovered.value = hill;
    element.classList.add("lifting");
    onHover(null);
  }

  /** @param {number} dy pixels upwards */
  function movePeak(dy) {
    if (!peak || way < clickPx) return;
    const hill = store.hills[peak.hill];
    peak.height += dy / pixelsPerHeight(projection(stage.camera, stage.size), hill, stage.heights[peak.hill], stage.size);
    store.drag(peak.hill, weightAt(hill, peak.height));
  }

  /** @param {boolean} isMeant */
  function stopPeak(isMeant) {
    if (!peak) return;
    if (isMeant) store.settle();
    else store.cancel();
    peak = null;
    stage.dragged = -1;
    element.classList.remove("lifting");
  }

  /**
   * Two fingers: nearer or farther, turned, and moved.
   * @param {number} id
   * @param {Point} before
   * @param {Point} now
   */
  function pinch(id, before, now) {
    const other = [...down].find(([one]) => one !== id)?.[1];
    if (!other) return;
    const angle = (/** @type {Point} */ p) => Math.atan2(p.y - other.y, p.x - other.x);
    const far = (/** @type {Point} */ p) => Math.max(10, Math.hypot(p.x - other.x, p.y - other.y));
    const turn = Math.atan2(Math.sin(angle(now) - angle(before)), Math.cos(angle(now) - angle(before)));
    const middle = groundUnder((now.x + other.x) / 2, (now.y + other.y) / 2);
    const nearer = zoomed(stage.goal, far(now) / far(before), middle);
    stage.look(turned(panned(nearer, stage.size, (now.x - before.x) / 2, (now.y - before.y) / 2), turn, 0));
  }
}

/**
 * Keys on the stage: the camera; on a peak: its height, and the way to other peaks. On the page: undo and redo.
 * @param {Stage} stage
 * @param {Store} store
 */
export function listenToKeys(stage, store) {
  const { element } = stage;
  /** @type {Record<string, () => void>} */
  const camera = {
    ArrowLeft: () => stage.look(turned(stage.goal, -0.15, 0)),
    ArrowRight: () => stage.look(turned(stage.goal, 0.15, 0)),
    ArrowUp: () => stage.look(turned(stage.goal, 0, 0.1)),
    ArrowDown: () => stage.look(turned(stage.goal, 0, -0.1)),
    "Shift+ArrowLeft": () => stage.look(panned(stage.goal, stage.size, 60, 0)),
    "Shift+ArrowRight": () => stage.look(panned(stage.goal, stage.size, -60, 0)),
    "Shift+ArrowUp": () => stage.look(panned(stage.goal, stage.size, 0, 60)),
    "Shift+ArrowDown": () => stage.look(panned(stage.goal, stage.size, 0, -60)),
  };
  /** @type {Record<string, () => void>} */
  const anywhere = {
    "+": () => stage.look(zoomed(stage.goal, 1.25)),
    "=": () => stage.look(zoomed(stage.goal, 1.25)),
    "-": () => stage.look(zoomed(stage.goal, 0.8)),
    0: () => stage.look(stage.whole()),
    t: () => stage.look(stage.whole(straightDown)),
    Escape: () => (store.selected.value = -1),
  };

  element.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const onPeak = event.target instanceof HTMLElement && event.target.dataset.hill !== undefined;
    const own = onPeak ? peakKeys(Number(/** @type {HTMLElement} */ (event.target).dataset.hill)) : camera;
    const act = own[(event.shiftKey && event.key.startsWith("Arrow") ? "Shift+" : "") + event.key] ?? anywhere[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  addEventListener("keydown", (event) => {
    const isText = event.target instanceof HTMLInputElement && event.target.type !== "range";
    if (!(event.ctrlKey || event.metaKey) || isText) return;
    const key = event.key.toLowerCase();
    const act = key === "z" ? (event.shiftKey ? store.redo : store.undo) : key === "y" ? store.redo : null;
    if (!act) return;
    event.preventDefault();
    act();
  });

  /**
   * @param {number} i
   * @returns {Record<string, () => void>}
   */
  function peakKeys(i) {
    const hill = store.hills[i], height = hill.height * store.weights.peek()[i];
    const set = (/** @type {number} */ wanted) => {
      store.drag(i, weightAt(hill, wanted));
      store.settle();
    };
    const go = (/** @type {number} */ by) => {
      const next = stage.peaks.next(i, by);
      store.hovered.value = next;
      stage.peaks.focus(next);
    };
    return {
      ArrowUp: () => set(height + 0.012), ArrowDown: () => set(height - 0.012), PageUp: () => set(height + 0.06), PageDown: () => set(height - 0.06),
      Home: () => set(0), End: () => set(1e3), ArrowRight: () => go(1), ArrowLeft: () => go(-1),
      Enter: () => (store.selected.value = i), " ": () => (store.selected.value = i),
    };
  }
}

const straightDown = { yaw: 0, pitch: Math.PI / 2 - 0.001 };
