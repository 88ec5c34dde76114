// The panel on the left: the dataset, the search, the filters, and four ways to look around.

import { ago, plural } from "../core/text.js";
import { Segments } from "../ui/controls.js";
import { html, useEffect, useRef, useSignal } from "../vendor/preact/preact.js";
import { Chips } from "./chips.js";
import { Comparing } from "./comparing.js";
import { Facets } from "./facets.js";
import { dataset, root } from "./requests.js";
import { Tags } from "./tagging.js";
import { Topics } from "./topics.js";

/** @typedef {import("./store.js").Store} Store */

const typingMs = 220;
const tabs = /** @type {const} */ ([["topics", "Topics"], ["filters", "Filters"], ["compare", "Compare"], ["tags", "Tags"]]);

/** @param {{store: Store, ensure: (name: string) => void, openCommands: () => void}} props */
export const Side = ({ store, ensure, openCommands }) =>
  html`<${Heading} store=${store} />
    <${Search} store=${store} openCommands=${openCommands} />
    <${Chips} store=${store} />
    <${Segments} label="Look around" choices=${tabs} value=${store.tab.value} onChoose=${(/** @type {any} */ tab) => (store.tab.value = tab)} />
    <div class="content">${store.tab.value === "topics" ? html`<${Topics} store=${store} />` : store.tab.value === "filters" ? html`<${Facets} store=${store} ensure=${ensure} />` : store.tab.value === "compare" ? html`<${Comparing} store=${store} />` : html`<${Tags} store=${store} />`}</div>`;

/** @param {{store: Store}} props */
function Heading({ store }) {
  const now = store.now.value, summary = store.snapshot.value?.summary, trouble = store.trouble.value;
  const waiting = now && now.waiting > 0 && !now.indexing ? ` · ${now.waiting.toLocaleString("en")} pending` : "";
  return html`<header class="head"><nav aria-label="Datasets"><a href=${root}>Datasets</a></nav><h1><bdi>${dataset}</bdi></h1>
    <p id="count">${plural(summary?.rows ?? now?.rows ?? 0, "record")}${waiting}</p>
    <p class="quiet" role="status">${trouble.text && summary ? html`<span class="bad">${trouble.status === 0 ? "The server does not answer. Trying again …" : trouble.text}</span>` : summary ? `Snapshot ${summary.snapshot} · ${ago(summary.created, Date.now())}` : trouble.text ? "" : now ? "No snapshot yet" : "Loading …"}</p>
    ${now?.indexing && html`<div class="work"><span class="quiet">Indexing${now.step && `: ${now.step}`}</span><progress aria-label="Progress of the index" max="100" value=${now.progress ?? null}></progress></div>`}
    ${summary && summary.fresh > 0 && summary.since !== null && store.filters.value.since === null && html`<button type="button" class="fresh" onClick=${() => store.wantNew(summary.since)}><i></i>${summary.fresh.toLocaleString("en")} new since snapshot ${summary.since}</button>`}
  </header>`;
}

/** @param {{store: Store, openCommands: () => void}} props */
function Search({ store, openCommands }) {
  const text = useSignal(store.query.value), timer = useRef(0);
  useEffect(() => void (text.value.trim() !== store.query.value && (text.value = store.query.value)), [store.query.value]);
  const typed = (/** @type {string} */ value, /** @type {number} */ wait) => {
    text.value = value;
    clearTimeout(timer.current);
    timer.current = setTimeout(() => store.search(value), wait);
  };
  const found = store.found.value;
  return html`<form class="search" role="search" onSubmit=${(/** @type {Event} */ event) => (event.preventDefault(), typed(text.value, 0))}>
    <div class="box"><input id="query" type="search" placeholder="Search" aria-label="Search" autocomplete="off" spellcheck="false" value=${text.value} onInput=${(/** @type {any} */ event) => typed(event.target.value, typingMs)} />
      <button type="button" title="Commands (/ or Ctrl K)" aria-label="Commands" onClick=${openCommands}><kbd>/</kbd></button></div>
    <${Segments} label="Search by" choices=${[["both", "Both"], ["words", "Words"], ["meaning", "Meaning"]]} value=${store.mode.value} onChoose=${(/** @type {any} */ mode) => (text.value.trim() ? store.search(text.value, mode) : (store.mode.value = mode))} />
    ${store.isSearching.value && html`<p class="line"><button type="button" class="link found" onClick=${() => (store.panel.value = "results")}>${found.problem || (found.isPending ? "Searching …" : `${found.total.toLocaleString("en")}${found.isCut ? "+" : ""} found`)}</button><button type="button" class="link" onClick=${() => ((text.value = ""), store.search(""), (store.like.value = ""))}>Clear search</button></p>`}
  </form>`;
}
