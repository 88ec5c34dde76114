// The page that takes a table: dropped on it, or chosen.

import { count, percent, rows, size } from "../core/format.js";
import { root, upload } from "../ui/ask.js";
import { html, render, signal } from "../vendor/preact/preact.js";

/** @typedef {{kind: "idle"} | {kind: "sending", name: string, share: number, cancel: () => void} | {kind: "failed", detail: string}} State */

const state = signal(/** @type {State} */ ({ kind: "idle" }));
const isOver = signal(false);
const column = signal("");

/** @param {File | null | undefined} file */
async function take(file) {
  if (!file || state.value.kind === "sending") return;
  const form = new FormData();
  if (column.value.trim()) form.set("text_column", column.value.trim());
  form.set("file", file);
  const say = (/** @type {number} */ share) => {
    if (state.value.kind === "sending") state.value = { ...state.value, share };
  };
  const { answer, cancel } = upload("api/upload", form, say);
  state.value = { kind: "sending", name: `${file.name}, ${size(file.size)}`, share: 0, cancel };
  try {
    const { dataset_id: id, rows: n, text_column: text, warnings } = await answer;
    const facts = `${rows(n)}, by the text of the column “${text}”`;
    sessionStorage.setItem(`terrain ${id}`, JSON.stringify({ name: file.name, facts, warnings: warnings ?? [] }));
    location.assign(`${root}terrain/${encodeURIComponent(id)}`);
  } catch (error) {
    state.value = { kind: "failed", detail: String(/** @type {Error} */ (error).message) };
  }
}

const chosen = (/** @type {Event} */ event) => {
  const input = /** @type {HTMLInputElement} */ (event.target);
  take(input.files?.[0]);
  input.value = "";
};

const Hills = () =>
  html`<svg class="hills" viewBox="0 0 240 92" aria-hidden="true">
    <path class="a" d="M0 88 C34 88 40 58 62 58 S92 88 120 88 Z" /><path class="b" d="M52 88 C92 88 96 10 126 10 S164 88 204 88 Z" /><path class="c" d="M138 88 C168 88 172 46 192 46 S214 88 240 88 Z" />
    <clipPath id="hill"><path d="M52 88 C92 88 96 10 126 10 S164 88 204 88 Z" /></clipPath><path class="line" clip-path="url(#hill)" d="M76 62 C92 56 100 52 126 52 S160 56 178 62 M92 40 C104 35 112 33 126 33 S148 35 160 40 M106 22 C114 19 118 18 126 18 S138 19 146 22" />
  </svg>`;

const Sending = (/** @type {{name: string, share: number, cancel: () => void}} */ { name, share, cancel }) =>
  html`<p><b>${name}</b></p>
    <div class="progress" role="progressbar" aria-label="Upload" aria-valuemin="0" aria-valuemax="100" aria-valuenow=${Math.round(100 * share)}><i style=${{ width: `${100 * share}%` }}></i></div>
    <p class="quiet" role="status">${share < 1 ? `Uploading, ${percent(share)}` : "Reading the table …"}</p>
    <button type="button" onClick=${cancel}>Cancel</button>`;

const Choosing = () =>
  html`<p class="big">Drop a CSV here</p>
    <label class="button main">Choose a file<input type="file" accept=".csv,.tsv,.txt,text/csv" onChange=${chosen} /></label>
    <p class="quiet">One row per text, at least ${count(50)} rows. The text column is found by itself.</p>
    <details><summary>Name the text column</summary><label>Column <input value=${column.value} placeholder="text" onInput=${(/** @type {any} */ event) => (column.value = event.target.value)} /></label></details>`;

const Page = () => {
  const now = state.value;
  return html`<div class=${`drop ${isOver.value ? "over" : ""}`}>
      <${Hills} />
      ${now.kind === "sending" ? html`<${Sending} ...${now} />` : html`<${Choosing} />`}
      ${now.kind === "failed" && html`<p class="failed" role="alert">${now.detail}</p>`}
    </div>`;
};

const main = /** @type {HTMLElement} */ (document.querySelector("#upload"));
render(html`<${Page} />`, main);
document.body.dataset.ready = "yes";

let depth = 0; // elements that the file was dragged into and not out of
addEventListener("dragenter", (event) => {
  event.preventDefault();
  isOver.value = ++depth > 0;
});
addEventListener("dragleave", () => (isOver.value = (depth = Math.max(0, depth - 1)) > 0));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  [depth, isOver.value] = [0, false];
  take(event.dataTransfer?.files[0]);
});
