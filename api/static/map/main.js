// The map page: finds its parts, and lets the state flow: address -> store -> what is seen, and back to the address.

import { parsed, written } from "../core/place.js";
import { effect, html, render, signal } from "../vendor/preact/preact.js";
import { Commands } from "./commands.js";
import { listenToKeys, listenToPointer } from "./input.js";
import { Legend } from "./legend.js";
import { startLoading } from "./loading.js";
import { Reader } from "./reader.js";
import { dataset } from "./requests.js";
import { Share } from "./share.js";
import { Side } from "./side.js";
import { Stage } from "./stage.js";
import { createStore } from "./store.js";
import { Timeline } from "./timeline.js";
import { showTips } from "./tip.js";
import { Message, Notice } from "./message.js";

const writeMs = 250;
const search = new URLSearchParams(location.search);

/** @param {string} selector @returns {HTMLElement} */
function find(selector) {
  const found = document.querySelector(selector);
  if (!(found instanceof HTMLElement)) throw new Error(selector);
  return found;
}

/** The view that the address describes; the result of a comparison may stand before the `#` too, as the server's links have it. */
function fromAddress() {
  const place = parsed(location.hash.slice(1)), compare = search.get("compare");
  return compare && !place.compare ? { ...place, compare, panel: place.panel || /** @type {const} */ ("compare"), colour: "difference" } : place;
}

/** Writes the address: a new step back for what a person would undo, none for moves of the view. @param {import("./store.js").Store} store */
function keepAddress(store) {
  let timer = 0, last = steps(store.place.peek());
  effect(() => {
    const place = store.place.value;
    clearTimeout(timer);
    timer = setTimeout(() => {
      const address = `#${written(place)}`, now = steps(place), query = new URLSearchParams(location.search);
      query.delete("compare");
      const whole = `${location.pathname}${query.size ? `?${query}` : ""}${address}`;
      if (now !== last) history.pushState(null, "", whole);
      else if (address !== location.hash) history.replaceState(null, "", whole);
      last = now;
    }, writeMs);
  });
  addEventListener("popstate", () => {
    const place = parsed(location.hash.slice(1));
    last = steps(place);
    store.go(place);
  });
}

/** @param {import("../core/place.js").Place} place */
const steps = ({ filters, query, panel, id, run, compare }) => JSON.stringify([filters, query, panel, id, run, compare]);

const store = createStore(fromAddress());
const stage = new Stage({ element: find("#stage"), points: /** @type {HTMLCanvasElement} */ (find("#points")), overlay: /** @type {HTMLCanvasElement} */ (find("#overlay")) }, store, search.has("plain"));
const loading = startLoading(store);
const areCommandsOpen = signal(false);
const openCommands = () => (areCommandsOpen.value = true), focusSearch = () => find("#query").focus();
const show = (/** @type {number} */ row) => stage.show(row);

document.title = `${dataset} · runatlas`;
render(html`<${Side} store=${store} ensure=${loading.ensure} openCommands=${openCommands} />`, find("#side"));
render(html`<${Reader} store=${store} show=${show} renewTags=${loading.renewTags} />`, find("#reader"));
render(html`<${Legend} store=${store} />`, find("#colours"));
render(html`<${Timeline} store=${store} />`, find("#times"));
render(html`<${Tools} />`, find("#tools"));
render(html`<${Message} store=${store} />`, find("#message"));
render(html`<${Notice} store=${store} />`, find("#notice"));
render(html`<${Commands} store=${store} isOpen=${areCommandsOpen} stage=${stage} focusSearch=${focusSearch} />`, find("#commands"));
effect(() => {
  const isReading = store.panel.value !== "";
  find("#reader").hidden = !isReading;
  document.body.classList.toggle("reading", isReading);
});
effect(() => void find("#stage").classList.toggle("drawing", store.tool.value === "lasso"));
listenToPointer(stage, store);
listenToKeys(stage, store, { openCommands, focusSearch });
showTips(find("#tip"), find("#stage"), store);
keepAddress(store);
addEventListener("popstate", () => store.at.peek() && stage.lookAt(/** @type {any} */ (store.at.peek())));
Object.assign(window, { runatlas: { store, stage } }); // for tests and debugging
await loading.poll();
if (!store.at.peek() && store.row.peek() >= 0) show(store.row.peek());

function Tools() {
  const isDrawing = store.tool.value === "lasso";
  return html`<button type="button" aria-pressed=${isDrawing} title="Draw around records to select them (L); Shift-click selects one" onClick=${() => (store.tool.value = isDrawing ? "move" : "lasso")}>Select</button>
    <button type="button" aria-pressed=${store.panel.value === "runs"} onClick=${() => (store.panel.value = store.panel.value === "runs" ? "" : "runs")}>Runs</button>
    <${Share} store=${store} />
    <span class="zoom" role="group" aria-label="Zoom"><button type="button" aria-label="Zoom in" onClick=${() => stage.zoom(1.5)}>+</button><button type="button" aria-label="Zoom out" onClick=${() => stage.zoom(1 / 1.5)}>−</button><button type="button" aria-label="Show all" title="Show all (0)" onClick=${() => stage.fit()}>⤢</button></span>`;
}
