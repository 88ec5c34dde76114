// One record: its whole text, what is known of it, its tags.

import { pathTo } from "../core/tree.js";
import { moment } from "../core/text.js";
import { Marked } from "../ui/text.js";
import { html, useEffect, useSignal } from "../vendor/preact/preact.js";
import { step } from "./records.js";
import { data, record as fetchRecord, root } from "./requests.js";
import { Type } from "./results.js";
import { TagForm } from "./tagging.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./requests.js").RecordOf} RecordOf */

const longText = 20_000; // characters shown at once

/** @param {{store: Store, show: (row: number) => void, renewTags: () => Promise<void>}} props */
export function Record({ store, show, renewTags }) {
  const id = store.id.value, record = useSignal(/** @type {RecordOf | null} */ (null)), problem = useSignal(""), renewed = useSignal(0);
  useEffect(() => {
    let isOld = false;
    problem.value = "";
    fetchRecord(id).then((found) => isOld || (record.value = found), (/** @type {any} */ error) => isOld || ((problem.value = error.status === 404 ? `This record is gone: ${error.message}` : error.message), (record.value = null)));
    return () => void (isOld = true);
  }, [id, renewed.value]);
  const found = record.value?.id === id ? record.value : null;
  if (problem.value) return html`<div class="empty" role="alert"><h2>No record</h2><p>${problem.value}</p></div>`;
  if (!found) return html`<p class="quiet pad">Loading …</p>`;
  return html`<header class="head"><${Steps} store=${store} show=${show} />
      <div class="what"><${Type} store=${store} type=${found.type} /><span>Turn ${found.iteration}, item ${found.idx_in_iteration}</span><span>${moment(found.timestamp)}</span></div>
      <div class="bar">
        <button type="button" onClick=${() => ((store.run.value = found.filename), (store.panel.value = "run"))}>Read the run</button>
        <button type="button" title="Records that are closest in meaning" onClick=${() => store.moreLike(id)}>More like this</button>
        ${store.row.value >= 0 ? html`<button type="button" title="Move the map to this record" onClick=${() => show(store.row.value)}>Show on map</button>` : html`<span class="quiet">not on this map</span>`}
      </div></header>
    <div class="body"><${Text} text=${found.text} words=${store.words.value} key=${id} />
      <${TagForm} store=${store} ids=${[id]} tags=${found.tags ?? []} changed=${async () => ((renewed.value += 1), renewTags())} />
      <${Facts} store=${store} record=${found} /></div>`;
}

/** Previous and next in the run. @param {{store: Store, show: (row: number) => void}} props */
function Steps({ store, show }) {
  const path = store.path.value, at = path.indexOf(store.row.value);
  if (at < 0) return null;
  return html`<div class="bar steps">
    <button type="button" title="Previous in the run (p)" aria-label="Previous in the run" disabled=${at <= 0} onClick=${() => show(step(store, -1))}>←</button>
    <button type="button" title="Next in the run (n)" aria-label="Next in the run" disabled=${at >= path.length - 1} onClick=${() => show(step(store, 1))}>→</button>
    <span class="quiet">${(at + 1).toLocaleString("en")} of ${path.length.toLocaleString("en")} in its run</span></div>`;
}

/** A text that is cut where it is very long. @param {{text: string, words: readonly string[]}} props */
export function Text({ text, words }) {
  const most = useSignal(longText);
  return html`<pre dir="auto"><${Marked} text=${text.slice(0, most.value)} words=${words} /></pre>
    ${text.length > most.value && html`<p><button type="button" onClick=${() => (most.value *= 10)}>Show more</button> <span class="quiet">${most.value.toLocaleString("en")} of ${text.length.toLocaleString("en")} characters</span></p>`}`;
}

/** @param {{store: Store, record: RecordOf}} props */
function Facts({ store, record }) {
  const topics = store.columns.value.get("topic"), row = store.row.value, code = row >= 0 && topics?.codes ? topics.codes[row] : -1;
  const path = store.tree.value && topics && code >= 0 && code < topics.values.length ? pathTo(store.tree.value, Number(topics.values[code])) : [];
  const extra = Object.entries(record.extra ?? {});
  return html`<dl class="facts">
    <dt>Run</dt><dd><bdi>${record.filename}</bdi></dd>
    ${path.length > 0 && html`<dt>Topic</dt><dd>${path.map((topic, i) => html`${i > 0 && " › "}<button type="button" class="link" onClick=${() => store.want("topic", [String(topic.id)])}>${topic.name}</button>`)}</dd>`}
    <dt>Time</dt><dd>${record.timestamp ?? "not in the log"}</dd>
    <dt>ID</dt><dd><a href=${`${root}${data}/records/${record.id}`} target="_blank" rel="noopener">${record.id}</a></dd>
    ${extra.map(([name, value]) => html`<dt key=${name}>${name}</dt><dd dir="auto">${typeof value === "string" ? value : JSON.stringify(value, null, 1)}</dd>`)}
  </dl>`;
}
