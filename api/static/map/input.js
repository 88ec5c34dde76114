// Pointer, wheel and keys on the map.

import { simplified } from "../core/lasso.js";
import { openRow, closeRecord, recordAt, step } from "./records.js";

/** @typedef {import("./stage.js").Stage} Stage */
/** @typedef {import("./store.js").Store} Store */

const clickReach = 5, lassoStep = 3; // pixels
const mostAdded = 200;

/**
 * @param {Stage} stage
 * @param {Store} store
 */
export function listenToPointer(stage, store) {
  const { element, view } = stage;
  /** @type {Map<number, [number, number]>} */
  const fingers = new Map();
  let travelled = 0;
  const at = (/** @type {MouseEvent} */ event) => {
    const box = element.getBoundingClientRect();
    return /** @type {[number, number]} */ ([event.clientX - box.left, event.clientY - box.top]);
  };
  const isDrawing = () => store.tool.peek() === "lasso" && fingers.size === 1;

  element.addEventListener("wheel", (event) => {
    event.preventDefault();
    view.zoom(Math.exp(-event.deltaY * (event.deltaMode === 1 ? 16 : 1) * (event.ctrlKey ? 0.01 : 0.0016)), ...at(event));
    stage.moved();
  }, { passive: false });

  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    element.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, at(event));
    store.hovered.value = -1;
    if (fingers.size === 1) travelled = 0;
    if (isDrawing()) store.drawing.value = view.toMap(...at(event));
    else element.classList.add("dragging");
  });

  element.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId), here = at(event);
    if (!before) {
      store.hovered.value = stage.rowAt(...here);
      element.classList.toggle("over", store.hovered.peek() >= 0);
      return;
    }
    const [dx, dy] = [here[0] - before[0], here[1] - before[1]];
    if (isDrawing()) {
      if (Math.hypot(dx, dy) < lassoStep) return;
      store.drawing.value = [...store.drawing.peek(), ...view.toMap(...here)];
    } else moveView(here, before, [...fingers].filter(([id]) => id !== event.pointerId).map(([, other]) => other));
    travelled += Math.hypot(dx, dy);
    fingers.set(event.pointerId, here);
  });

  /** @param {[number, number]} here @param {[number, number]} before @param {[number, number][]} others */
  function moveView(here, before, others) {
    store.drawing.value = [];
    if (others.length) {
      const [there] = others, was = Math.hypot(before[0] - there[0], before[1] - there[1]), is = Math.hypot(here[0] - there[0], here[1] - there[1]);
      view.zoom(is / Math.max(was, 1), (here[0] + there[0]) / 2, (here[1] + there[1]) / 2);
    }
    const share = others.length ? 0.5 : 1;
    view.move((here[0] - before[0]) * share, (here[1] - before[1]) * share);
    stage.moved();
  }

  element.addEventListener("pointerup", (event) => {
    const wasDrawing = isDrawing();
    fingers.delete(event.pointerId);
    if (fingers.size) return;
    element.classList.remove("dragging");
    const drawn = store.drawing.peek();
    store.drawing.value = [];
    if (travelled < clickReach) click(at(event), event.shiftKey);
    else if (wasDrawing && drawn.length >= 6) {
      store.select(simplified(drawn, 1.5 / view.scale));
      store.tool.value = "move";
    }
  });
  element.addEventListener("pointercancel", (event) => {
    fingers.delete(event.pointerId);
    store.drawing.value = [];
    element.classList.remove("dragging");
  });
  element.addEventListener("pointerleave", () => (store.hovered.value = -1));
  element.addEventListener("dblclick", (event) => {
    view.zoom(2, ...at(event));
    stage.moved();
  });

  /** @param {[number, number]} place @param {boolean} isAdding */
  function click(place, isAdding) {
    const row = stage.rowAt(...place);
    store.hovered.value = -1;
    if (isAdding && row >= 0) void addToSelection(store, row);
    else if (row >= 0) void openRow(store, row);
    else if (!isAdding) closeRecord(store);
  }
}

/** Adds a record to the selection, or takes it out. @param {Store} store @param {number} row */
async function addToSelection(store, row) {
  try {
    const { id } = await recordAt(store, row), ids = store.added.peek(), rows = store.addedRows.peek(), known = ids.indexOf(id);
    if (known < 0 && ids.length >= mostAdded) return store.say(`At most ${mostAdded} records are selected one by one: draw around more.`, { isBad: true });
    store.addedRows.value = known < 0 ? [...rows, row] : rows.filter((_, i) => i !== known);
    store.added.value = known < 0 ? [...ids, id] : ids.filter((_, i) => i !== known);
    if (store.added.peek().length) store.panel.value = "selection";
  } catch (error) {
    store.fail(error);
  }
}

/**
 * @param {Stage} stage
 * @param {Store} store
 * @param {{openCommands: () => void, focusSearch: () => void}} act
 */
export function listenToKeys(stage, store, act) {
  const go = (/** @type {number} */ by) => stage.show(step(store, by));
  const pan = (/** @type {number} */ dx, /** @type {number} */ dy) => {
    stage.view.move(dx, dy);
    stage.moved();
  };
  /** @type {Record<string, () => void>} */
  const onMap = { ArrowLeft: () => pan(60, 0), ArrowRight: () => pan(-60, 0), ArrowUp: () => pan(0, 60), ArrowDown: () => pan(0, -60) };
  /** @type {Record<string, () => void>} */
  const keys = {
    "+": () => stage.zoom(1.5), "=": () => stage.zoom(1.5), "-": () => stage.zoom(1 / 1.5), 0: () => stage.fit(), n: () => go(1), p: () => go(-1),
    l: () => (store.tool.value = store.tool.peek() === "lasso" ? "move" : "lasso"),
    "/": act.openCommands, s: act.focusSearch,
    Escape: () => escape(store),
  };
  addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      act.openCommands();
      return;
    }
    const target = event.target instanceof HTMLElement ? event.target : document.body, isTyping = /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);
    if (event.metaKey || event.ctrlKey || event.altKey || (isTyping && event.key !== "Escape") || target.closest("dialog")) return;
    const run = keys[event.key] ?? (target === stage.element || target === document.body ? onMap[event.key] : undefined);
    if (!run) return;
    event.preventDefault();
    if (isTyping) target.blur();
    run();
  });
}

/** Leaves the innermost thing that is open. @param {Store} store */
function escape(store) {
  if (store.tool.peek() === "lasso") store.tool.value = "move";
  else if (["record", "run"].includes(store.panel.peek())) closeRecord(store);
  else if (store.panel.peek()) store.panel.value = "";
  else if (store.isSearching.peek()) store.search("");
  else if (store.area.peek().length || store.added.peek().length) store.select([]);
}
