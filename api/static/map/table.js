// What the map shows, as a table: for those who cannot see it.

import { countOf } from "../core/tree.js";
import { html } from "../vendor/preact/preact.js";
import { nameOf, titleOf } from "./colouring.js";

/** @typedef {import("./store.js").Store} Store */

const most = 30;

/** @param {{store: Store}} props */
export function Table({ store }) {
  const passing = store.passing.value, n = store.snapshot.value?.n ?? 0, name = store.columns.value.has(store.colour.value) ? store.colour.value : "type", column = store.columns.value.get(name);
  if (!passing || !column) return null;
  const live = store.counts(name) ?? column.counts, topics = store.counts("topic"), ids = store.columns.value.get("topic")?.values ?? [];
  const counts = new Map(ids.map((id, code) => [Number(id), topics?.[code] ?? 0]));
  const byTopic = (store.tree.value?.roots ?? []).map((node) => /** @type {const} */ ([node.topic.name, countOf(node, counts)])).filter(([, count]) => count > 0);
  const rows = [...column.values.keys()].filter((code) => live[code] > 0).slice(0, most).map((code) => /** @type {const} */ ([nameOf(store, name, column.values[code]), live[code]]));
  return html`<header class="head"><h2>What the map shows</h2><p class="quiet">${passing.rows.length.toLocaleString("en")} of ${n.toLocaleString("en")} records</p></header>
    <div class="body"><${Counts} title=${titleOf(name)} rows=${rows} />${byTopic.length > 0 && html`<${Counts} title="Topic" rows=${byTopic} />`}</div>`;
}

/** @param {{title: string, rows: readonly (readonly [string, number])[]}} props */
const Counts = ({ title, rows }) => html`<table class="counts"><caption>Records by ${title.toLowerCase()}</caption><thead><tr><th scope="col">${title}</th><th scope="col" class="number">Records</th></tr></thead>
  <tbody>${rows.map(([name, count]) => html`<tr key=${name}><th scope="row"><bdi>${name}</bdi></th><td class="number">${count.toLocaleString("en")}</td></tr>`)}</tbody></table>`;
