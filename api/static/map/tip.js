// What the tooltip says of the point under the pointer.

import { moment } from "../core/text.js";
import { placeTip } from "../ui/tip.js";
import { effect, html, render, signal } from "../vendor/preact/preact.js";
import { recordAt } from "./records.js";
import { Type } from "./results.js";

/** @typedef {import("./store.js").Store} Store */

const waitMs = 35, longest = 700; // characters

/** @param {HTMLElement} tip @param {HTMLElement} stage @param {Store} store */
export function showTips(tip, stage, store) {
  const record = signal(/** @type {import("./requests.js").RecordOf | null} */ (null)), pointer = { x: 0, y: 0, isOver: false };
  render(html`<${Tip} store=${store} record=${record} />`, tip);
  stage.addEventListener("pointermove", (event) => {
    Object.assign(pointer, { x: event.clientX, y: event.clientY, isOver: true });
    if (!tip.hidden) placeTip(tip, pointer.x, pointer.y);
  });
  stage.addEventListener("pointerleave", () => (pointer.isOver = false));
  let timer = 0;
  effect(() => {
    const row = store.hovered.value;
    clearTimeout(timer);
    tip.hidden = true;
    if (row < 0) return;
    timer = setTimeout(async () => {
      const found = await recordAt(store, row).catch(() => null);
      if (!found || store.hovered.peek() !== row || !pointer.isOver) return;
      record.value = found;
      tip.hidden = false;
      requestAnimationFrame(() => placeTip(tip, pointer.x, pointer.y));
    }, waitMs);
  });
}

/** @param {{store: Store, record: {value: import("./requests.js").RecordOf | null}}} props */
function Tip({ store, record }) {
  const found = record.value;
  if (!found) return null;
  return html`<div class="what"><${Type} store=${store} type=${found.type} /><span>${found.timestamp && moment(found.timestamp)}</span><bdi class="where">${found.filename}</bdi></div>
    <div class="text" dir="auto">${found.text.length > longest ? `${found.text.slice(0, longest)} …` : found.text}</div>`;
}
