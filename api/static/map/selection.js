// What was drawn around or clicked with Shift, or else all that is shown: as a list, a filter, a file; and tags on it.

import { isFiltered, spelled } from "../core/filters.js";
import { plural } from "../core/text.js";
import { save } from "../ui/ask.js";
import { html, useSignal } from "../vendor/preact/preact.js";
import { openRow } from "./records.js";
import { data, dataset } from "./requests.js";
import { RecordList } from "./results.js";
import { TagForm } from "./tagging.js";

/** @typedef {import("./store.js").Store} Store */

const formats = [["csv", "CSV"], ["jsonl", "JSONL"], ["parquet", "Parquet"], ["ids", "Ids"]];

/** @param {{store: Store, show: (row: number) => void, renewTags: () => Promise<void>}} props */
export function Selection({ store, show, renewTags }) {
  const isChosen = store.selection.value.mask !== null, passing = store.passing.value;
  if (!passing) return null;
  const { failed } = passing.sieve, rows = isChosen ? store.selection.value.rows.filter((row) => failed[row] === 0) : passing.rows, hidden = isChosen ? store.selection.value.rows.length - rows.length : 0;
  return html`<header class="head"><h2>${isChosen ? "Selection" : "Shown records"}</h2><p class="quiet" role="status">${plural(rows.length, "record")}${hidden > 0 && `, and ${hidden.toLocaleString("en")} that the filters hide`}</p>
      ${isChosen && html`<div class="bar"><button type="button" aria-pressed=${store.filters.value.only} onClick=${() => store.wantSelection(!store.filters.value.only)}>Show only these</button><button type="button" onClick=${() => store.select([])}>Clear the selection</button></div>`}
      <${Export} store=${store} rows=${rows} />
      ${rows.length > 0 && html`<${TagForm} store=${store} rows=${rows} changed=${renewTags} />`}</header>
    <${RecordList} store=${store} rows=${rows} words=${store.words.value} open=${(/** @type {number} */ row) => (openRow(store, row), show(row))} />`;
}

/** @param {{store: Store, rows: Uint32Array}} props */
function Export({ store, rows }) {
  const isBusy = useSignal("");
  const start = async (/** @type {string} */ format) => {
    isBusy.value = format;
    const filters = store.filters.value, isAll = !store.selection.value.mask && !isFiltered(filters);
    const which = isAll ? { filters: Object.fromEntries(spelled(filters)) } : { rows: Array.from(rows), snapshot: store.snapshot.value?.summary.snapshot };
    await save(`${data}/export`, { format, ...which }, `${dataset}.${format === "ids" ? "txt" : format}`).then(() => store.say(`${plural(rows.length, "record")} saved`), (error) => store.fail(error));
    isBusy.value = "";
  };
  return html`<div class="bar" role="group" aria-label="Save as a file"><span class="quiet">Save as</span>${formats.map(([format, title]) => html`<button type="button" key=${format} disabled=${rows.length === 0 || isBusy.value !== ""} onClick=${() => start(format)}>${isBusy.value === format ? "Saving …" : title}</button>`)}</div>`;
}
