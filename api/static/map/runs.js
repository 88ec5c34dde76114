// The runs of the dataset: sorted, and filtered as the map is.

import { duration, plural } from "../core/text.js";
import { spelled } from "../core/filters.js";
import { html, useEffect, useSignal } from "../vendor/preact/preact.js";
import * as server from "./requests.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./requests.js").Run} Run */

const page = 100;
/** @type {readonly (readonly [string, string])[]} */
const sorts = [["start", "Start"], ["records", "Records"], ["duration", "Duration"], ["errors", "Errors"], ["cost", "Cost"]];

/** @param {{store: Store}} props */
export function Runs({ store }) {
  const list = useSignal(/** @type {readonly Run[]} */ ([])), total = useSignal(0), next = useSignal(/** @type {number | null} */ (null)), problem = useSignal(""), text = useSignal(""), isBusy = useSignal(true);
  const [sort, order] = store.order.value.split("."), filters = spelled(store.filters.value), key = JSON.stringify([sort, order, filters, text.value, store.snapshot.value?.summary.version]);
  const load = (/** @type {number} */ offset, /** @type {() => boolean} */ isOld) => {
    isBusy.value = true;
    /** @type {[string, string][]} */
    const wanted = [["sort", sort], ["order", order], ["limit", String(page)], ["offset", String(offset)], ...filters];
    if (text.value.trim()) wanted.push(["q", text.value.trim()]);
    return server.runs(wanted).then((found) => {
      if (isOld()) return;
      list.value = offset ? [...list.value, ...found.runs] : found.runs;
      total.value = found.total;
      next.value = found.next_offset;
      problem.value = "";
      isBusy.value = false;
    }, (/** @type {Error} */ error) => {
      if (isOld()) return;
      problem.value = error.message;
      isBusy.value = false;
    });
  };
  useEffect(() => {
    let isOld = false;
    const timer = setTimeout(() => load(0, () => isOld), 150);
    return () => ((isOld = true), clearTimeout(timer));
  }, [key]);
  const by = (/** @type {string} */ name) => (store.order.value = `${name}.${sort === name && order === "desc" ? "asc" : "desc"}`);
  return html`<header class="head"><h2>Runs</h2><p class="quiet" role="status">${problem.value ? html`<span class="bad">${problem.value}</span>` : `${plural(total.value, "run")}${filters.length ? " with records that pass the filters" : ""}`}</p>
      <input type="search" placeholder="Find a run by name" aria-label="Find a run by name" value=${text.value} onInput=${(/** @type {any} */ event) => (text.value = event.target.value)} /></header>
    <div class="scroll"><table class="runs"><caption class="unseen">Runs, sorted by ${sort}</caption>
      <thead><tr><th scope="col">Run</th>${sorts.map(([name, title]) => html`<th scope="col" key=${name} class="number" aria-sort=${sort === name ? (order === "asc" ? "ascending" : "descending") : "none"}><button type="button" class="plain" onClick=${() => by(name)}>${title}${sort === name ? (order === "asc" ? " ↑" : " ↓") : ""}</button></th>`)}<th scope="col">Outcome</th></tr></thead>
      <tbody>${list.value.map((one) => html`<tr key=${one.run} aria-current=${one.run === store.run.value ? "true" : null}>
        <th scope="row"><button type="button" class="plain" title=${one.run} onClick=${() => openRun(store, one)}><bdi>${one.run}</bdi></button></th>
        <td class="number" title=${one.start ?? ""}>${one.start ? new Date(one.start).toLocaleDateString(undefined, { dateStyle: "medium" }) : ""}</td><td class="number">${one.records.toLocaleString("en")}</td><td class="number">${duration(one.seconds)}</td>
        <td class="number">${one.errors ? html`<span class="bad">${one.errors.toLocaleString("en")}</span>` : ""}</td><td class="number">${one.cost ? `$${one.cost.toFixed(2)}` : ""}</td>
        <td>${one.outcome && html`<b class="outcome" data-outcome=${one.outcome}>${one.outcome}</b>`}</td></tr>`)}</tbody></table></div>
    ${!isBusy.value && !problem.value && !list.value.length && html`<div class="empty"><h3>No runs</h3><p>No run fits the name and the filters.</p></div>`}
    ${next.value !== null && html`<p class="pad"><button type="button" disabled=${isBusy.value} onClick=${() => load(next.value ?? 0, () => false)}>Show more</button> <span class="quiet">${list.value.length} of ${total.value.toLocaleString("en")}</span></p>`}`;
}

/** @param {Store} store @param {Run} run */
function openRun(store, run) {
  store.run.value = run.run;
  store.id.value = "";
  store.row.value = -1;
  store.panel.value = "run";
}
