// Downloads of the balanced table.

import { count, rows } from "../core/format.js";
import { html, useSignal } from "../vendor/preact/preact.js";

/** @param {{store: import("./store.js").Store, download: (query: string) => Promise<void>}} props */
export function Downloads({ store, download }) {
  const wanted = useSignal(""), kind = useSignal("csv"), problem = useSignal("");
  const all = Math.round(store.rows);
  const start = async (/** @type {Record<string, string>} */ query) => {
    problem.value = "";
    try {
      await download(new URLSearchParams({ ...query, ...(kind.value === "csv" ? {} : { file: kind.value }) }).toString());
    } catch (error) {
      problem.value = String(/** @type {Error} */ (error).message);
    }
  };
  const n = wanted.value ? Math.max(1, Math.round(Number(wanted.value) || 1)) : all, isEmpty = store.noise === 0 && store.effective.value.every((size) => size === 0);
  return html`<footer class="downloads" aria-label="Download">
    <div class="line"><h2>Download</h2>
      <label>as <select value=${kind.value} onChange=${(/** @type {any} */ event) => (kind.value = event.target.value)}><option value="csv">CSV</option><option value="parquet">Parquet</option></select></label>
    </div>
    <div class="choices">
      <button type="button" title=${`${rows(all)} with a column of weights`} onClick=${() => start({ format: "weighted" })}>All rows, weighted</button>
      <button type="button" disabled=${isEmpty} title=${isEmpty ? "All hills are level with the ground: raise one first" : `${rows(n)}, from each hill as many as it is high`} onClick=${() => start({ format: "resampled", ...(wanted.value ? { rows: String(n) } : {}) })}>Balanced sample</button>
    </div>
    <label class="wanted">Rows in the sample <input type="number" min="1" max="10000000" placeholder=${count(all)} value=${wanted.value} onInput=${(/** @type {any} */ event) => (wanted.value = event.target.value)} /></label>
    ${problem.value && html`<p class="failed" role="alert">${problem.value}</p>`}
  </footer>`;
}
