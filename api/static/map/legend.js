// What the colours mean; a click on an entry filters.

import { css, mix } from "../core/palette.js";
import { coloured, ends, ramp } from "../core/inks.js";
import { countOf } from "../core/tree.js";
import { html, useSignal } from "../vendor/preact/preact.js";
import { offeredColours, titleOf, topicGroups } from "./colouring.js";
import { Values } from "./facets.js";

/** @typedef {import("./store.js").Store} Store */

/** @param {{store: Store}} props */
export function Legend({ store }) {
  const isOpen = useSignal(innerWidth > 760), offered = offeredColours(store), name = store.colour.value;
  const choices = offered.some((one) => one.name === name) ? offered : [...offered, { name, title: titleOf(name) }];
  return html`<section class="legend" aria-label="Colours">
    <div class="line"><label>Colour <select value=${name} onChange=${(/** @type {any} */ event) => (store.colour.value = event.target.value)}>${choices.map((one) => html`<option value=${one.name} key=${one.name}>${one.title}</option>`)}</select></label>
      <button type="button" class="flip" aria-expanded=${isOpen.value} aria-label=${isOpen.value ? "Hide the legend" : "Show the legend"} onClick=${() => (isOpen.value = !isOpen.value)}>${isOpen.value ? "▾" : "▸"}</button></div>
    ${isOpen.value && html`<${Meaning} store=${store} name=${name} />`}
  </section>`;
}

/** @param {{store: Store, name: string}} props */
function Meaning({ store, name }) {
  const column = store.columns.value.get(name), snapshot = store.snapshot.value;
  if (name === "time" && snapshot) {
    const { min, span } = snapshot.summary.time, day = (/** @type {number} */ at) => new Date((min + at * span) * 1000).toLocaleDateString(undefined, { dateStyle: "medium" });
    return html`<${Scale} colours=${[0, 0.25, 0.5, 0.75, 1].map(ramp)} from=${day(0)} to=${day(1)} />`;
  }
  if (name === "difference") return html`<${Scale} colours=${[ends[0], mix(ends[0], ends[1], 0.5), ends[1], mix(ends[1], ends[2], 0.5), ends[2]]} from="more in B" to="more in A" />`;
  if (name === "topic" && column && store.tree.value?.roots.length) return html`<${Groups} store=${store} column=${column} />`;
  if (!column) return html`<p class="quiet">${!snapshot || !store.isComplete.value ? "Loading …" : "This snapshot has no such column."}</p>`;
  return html`<${Values} store=${store} column=${column} wanted=${store.filters.value.values[name] ?? []} search="" most=${coloured} />
    ${column.values.length > coloured && html`<p class="quiet">${(column.values.length - coloured).toLocaleString("en")} more in grey</p>`}`;
}

/** @param {{store: Store, column: import("./snapshot.js").Column}} props */
function Groups({ store, column }) {
  const codes = store.counts("topic"), counts = new Map(column.values.map((value, code) => [Number(value), codes?.[code] ?? 0])), groups = topicGroups(store);
  const values = [...groups.map((node) => String(node.topic.id)), ...(counts.has(-1) ? ["-1"] : [])], live = [...groups.map((node) => countOf(node, counts)), counts.get(-1) ?? 0];
  return html`<${Values} store=${store} column=${{ ...column, values, counts: live, missing: 0 }} live=${live} wanted=${store.filters.value.values.topic ?? []} search="" most=${values.length} />`;
}

/** @param {{colours: readonly import("../core/palette.js").Rgb[], from: string, to: string}} props */
const Scale = ({ colours, from, to }) => html`<div class="ramp" style=${{ background: `linear-gradient(90deg, ${colours.map(css).join(",")})` }}></div><div class="line quiet"><span>${from}</span><span>${to}</span></div>`;
