// The filters that are active: always visible, each with a way to end it.

import { plural } from "../core/text.js";
import { html } from "../vendor/preact/preact.js";
import { nameOf, titleOf } from "./colouring.js";

/** @typedef {import("./store.js").Store} Store */

const mostChips = 5; // of one column

/** @param {{store: Store}} props */
export function Chips({ store }) {
  const { values, time, since, only } = store.filters.value, passing = store.passing.value, n = store.snapshot.value?.n ?? 0;
  if (!store.isFiltered.value) return null;
  return html`<section class="chips" aria-label="Active filters">
    <p class="shown" role="status"><b>${(passing?.rows.length ?? 0).toLocaleString("en")}</b> of ${n.toLocaleString("en")} shown <button type="button" class="link" onClick=${() => store.clearFilters()}>Clear all</button></p>
    <ul>
      ${Object.entries(values).flatMap(([column, wanted]) => (wanted.length > mostChips
        ? [html`<${Chip} key=${column} name=${titleOf(column)} value=${`${wanted.length} values`} end=${() => store.want(column, [])} />`]
        : wanted.map((value) => html`<${Chip} key=${`${column} ${value}`} name=${titleOf(column)} value=${nameOf(store, column, value)} end=${() => store.toggle(column, value)} />`)))}
      ${time && html`<${Chip} key="time" name="Time" value=${`${day(time[0])} – ${day(time[1])}`} end=${() => store.wantTime(null)} />`}
      ${since !== null && html`<${Chip} key="since" name="New since" value=${`snapshot ${since}`} end=${() => store.wantNew(null)} />`}
      ${only && html`<${Chip} key="only" name="Selection" value=${plural(store.selection.value.rows.length, "record")} end=${() => store.wantSelection(false)} />`}
    </ul>
  </section>`;
}

/** @param {number} seconds */
const day = (seconds) => new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });

/** @param {{name: string, value: string, end: () => void}} props */
const Chip = ({ name, value, end }) => html`<li class="chip"><span class="quiet">${name}</span> <bdi title=${value}>${value}</bdi><button type="button" aria-label=${`Remove filter ${name}: ${value}`} onClick=${end}>✕</button></li>`;
