// The panel on the right: what is read.

import { html } from "../vendor/preact/preact.js";
import { Comparison } from "./comparing.js";
import { Record } from "./record.js";
import { closeRecord } from "./records.js";
import { Results } from "./results.js";
import { RunReader } from "./run.js";
import { Runs } from "./runs.js";
import { Selection } from "./selection.js";
import { Table } from "./table.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {{store: Store, show: (row: number) => void, renewTags: () => Promise<void>}} Props */

/** @param {Props} props */
export function Reader({ store, show, renewTags }) {
  const panel = store.panel.value;
  if (!panel) return null;
  const open = /** @type {const} */ ([
    ["results", "Results", store.isSearching.value], ["compare", "A against B", store.compared.value !== null], ["selection", store.selection.value.mask ? "Selection" : "Shown", panel === "selection" || store.selection.value.mask !== null],
    ["runs", "Runs", true], ["run", "Run", store.run.value !== ""], ["record", "Record", store.id.value !== ""], ["table", "Table", panel === "table"],
  ]);
  const close = () => (["record", "run"].includes(panel) && store.isSearching.value ? closeRecord(store) : ((store.panel.value = ""), closeRecord(store)));
  return html`<nav class="tabs" aria-label="Read">${open.filter(([name, , is]) => is || name === panel).map(([name, title]) => html`<button type="button" key=${name} aria-current=${name === panel ? "page" : null} onClick=${() => (store.panel.value = name)}>${title}</button>`)}
      <span class="gap"></span><button type="button" aria-label="Close the panel" title="Close (Esc)" onClick=${close}>✕</button></nav>
    <div class="pane" key=${panel}>${
      panel === "results" ? html`<${Results} store=${store} show=${show} />`
      : panel === "record" ? (store.id.value ? html`<${Record} store=${store} show=${show} renewTags=${renewTags} />` : html`<div class="empty"><h2>No record is open</h2><p>Click a point on the map.</p></div>`)
      : panel === "run" ? html`<${RunReader} store=${store} show=${show} />`
      : panel === "runs" ? html`<${Runs} store=${store} />`
      : panel === "selection" ? html`<${Selection} store=${store} show=${show} renewTags=${renewTags} />`
      : panel === "compare" ? html`<${Comparison} store=${store} show=${show} />`
      : html`<${Table} store=${store} />`
    }</div>`;
}
