// The page of one terrain: waits until it is built, then shows it.

import { terrainOf } from "../core/hills.js";
import { zoomed } from "../core/camera.js";
import { ask, Refused, root, send } from "../ui/ask.js";
import { Segments } from "../ui/controls.js";
import { placeTip } from "../ui/tip.js";
import { computed, effect, html, render, signal } from "../vendor/preact/preact.js";
import { Panel } from "./panel.js";
import { listen, listenToKeys } from "./pointer.js";
import { createSaver } from "./saver.js";
import { Stage } from "./stage.js";
import { createStore } from "./store.js";
import { hillColours } from "./theme.js";
import { Tip } from "./tip.js";
import { Failure, Progress } from "./waiting.js";

const pollMs = 700;
const id = decodeURIComponent(location.pathname.replace(/\/$/, "").split("/").at(-1) ?? "");
const at = encodeURIComponent(id);
const waiting = find("#waiting");

/** @param {string} selector @returns {HTMLElement} */
function find(selector) {
  const found = document.querySelector(selector);
  if (!(found instanceof HTMLElement)) throw new Error(selector);
  return found;
}

/** What the upload page learned; this page may also be opened without it. */
function aboutUpload() {
  try {
    const { name, facts, warnings } = JSON.parse(sessionStorage.getItem(`terrain ${id}`) ?? "{}");
    return { name: String(name ?? "Terrain"), facts: String(facts ?? ""), warnings: Array.isArray(warnings) ? warnings.map(String) : [] };
  } catch {
    return { name: "Terrain", facts: "", warnings: [] };
  }
}

async function untilBuilt() {
  const about = aboutUpload();
  for (;;) {
    /** @type {import("./waiting.js").Status} */
    const status = await ask(`api/status/${at}`);
    if (status.status === "completed") return;
    if (status.status === "failed") throw new Refused(status.error ?? "The reason is unknown.", 500);
    render(html`<${Progress} status=${status} about=${about} />`, waiting);
    await new Promise((resolve) => setTimeout(resolve, document.hidden ? 5 * pollMs : pollMs));
  }
}

/** @param {unknown} error */
function fail(error) {
  const status = error instanceof Refused ? error.status : 0, detail = String(/** @type {Error} */ (error).message);
  const title = { 404: "There is no such terrain", 500: "The terrain could not be built", 0: "Something went wrong" }[status] ?? "This did not work";
  waiting.hidden = false;
  find("#page").hidden = true;
  render(html`<${Failure} title=${title} detail=${detail} />`, waiting);
}

/** @param {import("../core/hills.js").ServedTerrain} served */
function show(served) {
  const store = createStore(terrainOf(served));
  document.title = `${store.name} · runatlas`;
  waiting.hidden = true;
  find("#page").hidden = false;
  const darkly = matchMedia("(prefers-color-scheme: dark)"), isDark = signal(darkly.matches);
  darkly.addEventListener("change", () => (isDark.value = darkly.matches));
  const colours = computed(() => hillColours(store.hills, isDark.value ? "dark" : "light"));
  const lines = /** @type {SVGSVGElement} */ (/** @type {unknown} */ (document.querySelector("#lines")));
  const canvas = /** @type {HTMLCanvasElement} */ (find("#ground"));
  const stage = new Stage({ stage: find("#stage"), canvas, peaks: find("#peaks"), lines }, store, new URLSearchParams(location.search).has("plain"));
  const saver = createSaver(store, (adjustments) => send(`api/adjust/${at}`, { adjustments }));
  const download = async (/** @type {string} */ query) => {
    await saver.flush();
    await ask(`api/status/${at}`); // a link can't say why there is no file
    const link = Object.assign(document.createElement("a"), { href: `${root}api/export/${at}?${query}`, download: "" });
    link.click();
  };
  render(html`<${Panel} store=${store} colours=${colours} download=${download} />`, find("#panel"));
  showControls(store, stage);
  showTip(store, stage, colours);
  listenToKeys(stage, store);
  Object.assign(window, { runatlas: { store, stage } }); // for tests and debugging
  document.body.dataset.ready = "yes";
}

/** @param {import("./store.js").Store} store @param {Stage} stage */
function showControls(store, stage) {
  const choices = /** @type {const} */ ([["now", "Now"], ["before", "Before"], ["change", "Change"]]);
  const choose = (/** @type {string} */ value) => (store.shown.value = /** @type {import("./store.js").Shown} */ (value));
  const Shown = () => html`<${Segments} label="Show" choices=${choices} value=${store.shown.value} onChoose=${choose} />
    ${store.shown.value === "change" && html`<div class="scale"><span>lowered</span><i></i><span>raised</span></div>`}`;
  render(html`<${Shown} />`, find("#shown"));
  const act = {
    in: () => stage.look(zoomed(stage.goal, 1.35)), out: () => stage.look(zoomed(stage.goal, 1 / 1.35)),
    whole: () => stage.look(stage.whole()), above: () => stage.look(stage.whole({ yaw: 0, pitch: Math.PI / 2 - 0.001 })),
  };
  for (const [name, run] of Object.entries(act)) find(`#zoom [data-by=${name}]`).addEventListener("click", run);
}

/** @param {import("./store.js").Store} store @param {Stage} stage @param {{value: readonly import("../core/palette.js").Rgb[]}} colours */
function showTip(store, stage, colours) {
  const tip = find("#tip"), pointer = { x: 0, y: 0 };
  render(html`<${Tip} store=${store} colours=${colours} />`, tip);
  listen(stage, store, (where) => {
    tip.hidden = !where;
    if (!where) return;
    const box = stage.element.getBoundingClientRect();
    Object.assign(pointer, { x: where.x + box.left, y: where.y + box.top });
    placeTip(tip, pointer.x, pointer.y);
  });
  effect(() => void [store.hovered.value, requestAnimationFrame(() => tip.hidden || placeTip(tip, pointer.x, pointer.y))]);
}

untilBuilt()
  .then(() => ask(`api/terrain/${at}`))
  .then(show)
  .catch(fail);
