// A whole run from start to end: calls of tools folded, errors marked, long texts folded, words found.

import { duration, moment, plural } from "../core/text.js";
import { Marked } from "../ui/text.js";
import { html, useComputed, useEffect, useLayoutEffect, useRef, useSignal } from "../vendor/preact/preact.js";
import { openRow } from "./records.js";
import * as server from "./requests.js";
import { Type } from "./results.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./requests.js").Step} Step */

const firstPage = 200, nextPages = 1000, folded = 700, foldedTypes = new Set(["tool_call", "tool_result", "reasoning", "system"]);

/** @param {{store: Store, show: (row: number) => void}} props */
export function RunReader({ store, show }) {
  const name = store.run.value, steps = useSignal(/** @type {readonly Step[]} */ ([])), about = useSignal(/** @type {server.Run | null} */ (null)), problem = useSignal(""), rest = useSignal(0);
  const find = useSignal(""), hit = useSignal(-1), isOpen = useSignal(false), version = store.snapshot.value?.summary.version;
  useEffect(() => {
    let isOld = false;
    Object.assign(steps, { value: [] });
    about.value = null;
    problem.value = find.value = "";
    hit.value = -1;
    loadAll(name, (run, records, left) => {
      if (isOld) return false;
      about.value = run;
      steps.value = [...steps.value, ...records];
      rest.value = left;
      return true;
    }).catch((/** @type {any} */ error) => isOld || (problem.value = error.status === 404 ? `This run is gone: ${error.message}` : error.message));
    return () => void (isOld = true);
  }, [name, version]);
  const words = find.value.trim() ? [find.value.trim()] : store.words.value;
  const hits = useComputed(() => {
    const wanted = find.value.trim().toLowerCase();
    return wanted ? steps.value.flatMap((one, i) => (one.text.toLowerCase().includes(wanted) ? [i] : [])) : [];
  });
  const errors = useComputed(() => steps.value.flatMap((one, i) => (isError(one) ? [i] : [])));
  const list = useRef(/** @type {HTMLElement | null} */ (null));
  const goTo = (/** @type {number} */ i) => list.current?.children[i]?.scrollIntoView({ block: "center" });
  const next = (/** @type {readonly number[]} */ places, /** @type {number} */ by) => {
    if (!places.length) return;
    const at = places.findIndex((i) => i >= hit.value), now = places[at] === hit.value ? at : at - (by > 0 ? 1 : 0);
    hit.value = places[(now + by + places.length) % places.length];
    goTo(hit.value);
  };
  const at = useComputed(() => steps.value.findIndex((one) => one.id === store.id.value));
  useLayoutEffect(() => {
    if (at.value >= 0) requestAnimationFrame(() => goTo(at.value));
  }, [at.value]);
  if (!name) return html`<div class="empty"><h2>No run is open</h2><p>Open a record, or choose one in the list of runs.</p></div>`;
  return html`<header class="head"><h2><bdi title=${name}>${name}</bdi></h2><${About} run=${about.value} />
      <div class="bar find"><input type="search" placeholder="Find in run" aria-label="Find in run" value=${find.value} onInput=${(/** @type {any} */ event) => ((find.value = event.target.value), (hit.value = -1))} onKeyDown=${(/** @type {KeyboardEvent} */ event) => event.key === "Enter" && next(hits.value, event.shiftKey ? -1 : 1)} />
        ${find.value.trim() && html`<span class="quiet" role="status">${hits.value.length} found</span><button type="button" aria-label="Previous found" onClick=${() => next(hits.value, -1)}>↑</button><button type="button" aria-label="Next found" onClick=${() => next(hits.value, 1)}>↓</button>`}
        ${!find.value.trim() && errors.value.length > 0 && html`<button type="button" class="bad" onClick=${() => next(errors.value, 1)}>Next of ${plural(errors.value.length, "error")}</button>`}
        <button type="button" aria-pressed=${isOpen.value} onClick=${() => (isOpen.value = !isOpen.value)}>Unfold all</button></div></header>
    ${problem.value && html`<div class="empty" role="alert"><p>${problem.value}</p></div>`}
    <ol class="run" aria-label="Records of the run" ref=${list}>${steps.value.map((one, i) => html`<${StepItem} key=${one.id} step=${one} turn=${i === 0 || steps.value[i - 1].iteration !== one.iteration} store=${store} words=${words} found=${find.value.trim().toLowerCase()} isOpen=${isOpen.value} show=${show} />`)}</ol>
    ${rest.value > 0 && html`<p class="quiet pad" role="status">Loading ${rest.value.toLocaleString("en")} more …</p>`}`;
}

/** @param {string} name @param {(run: server.Run, records: readonly Step[], left: number) => boolean} add says whether to go on */
async function loadAll(name, add) {
  for (let offset = /** @type {number | null} */ (0); name && offset !== null; ) {
    const { run, records, next_offset } = await server.run(name, offset, offset === 0 ? firstPage : nextPages);
    if (!add(run, records, next_offset === null ? 0 : run.records - next_offset)) return;
    offset = next_offset;
  }
}

/** @param {Step} step */
const isError = (step) => step.failed || step.type === "error";

/** @param {{run: server.Run | null}} props */
function About({ run }) {
  if (!run) return html`<p class="quiet">Loading …</p>`;
  const parts = [run.outcome && html`<b class="outcome" data-outcome=${run.outcome}>${run.outcome}</b>`, plural(run.records, "record"), run.errors > 0 && html`<span class="bad">${plural(run.errors, "error")}</span>`,
    run.start && moment(run.start), run.seconds !== null && duration(run.seconds), run.model, run.tokens && `${run.tokens.toLocaleString("en")} tokens`, run.cost !== null && run.cost !== undefined && `$${run.cost.toFixed(2)}`];
  return html`<p class="about">${parts.filter(Boolean).map((part) => html`<span>${part}</span>`)}</p>`;
}

/** @param {{step: Step, turn: boolean, store: Store, words: readonly string[], found: string, isOpen: boolean, show: (row: number) => void}} props */
function StepItem({ step, turn, store, words, found, isOpen, show }) {
  const isCurrent = useComputed(() => store.id.value === step.id), unfolded = useSignal(false), whole = useSignal("");
  const isFound = found !== "" && step.text.toLowerCase().includes(found), isLong = step.cut || step.text.length > folded;
  const isOneLine = foldedTypes.has(step.type) && !unfolded.value && !isOpen && !isFound && !isCurrent.value;
  const text = whole.value || step.text, isCut = !unfolded.value && !isOpen && !isFound && text.length > folded;
  const unfold = async () => {
    unfolded.value = !unfolded.value;
    if (unfolded.value && step.cut && !whole.value) await server.record(step.id).then((record) => (whole.value = record.text), (error) => store.fail(error));
  };
  const open = () => {
    if (step.row === null) {
      store.row.value = -1;
      store.id.value = step.id;
    } else {
      void openRow(store, step.row);
      show(step.row);
    }
  };
  return html`<li class="step" data-type=${step.type} data-error=${isError(step)} aria-current=${isCurrent.value ? "true" : null} data-turn=${turn} onMouseEnter=${() => (store.hovered.value = step.row ?? -1)} onMouseLeave=${() => (store.hovered.value = -1)}>
    <div class="what"><button type="button" class="plain" title=${step.row === null ? "This record is not on the map" : "Show on the map"} onClick=${open}><${Type} store=${store} type=${step.type} />${step.tool && html` <b>${step.tool}</b>`}</button>
      ${isError(step) && html`<span class="bad">${step.failure || "error"}</span>`}<span class="gap"></span><span class="quiet">${turn ? `turn ${step.iteration}` : ""}</span>
      ${(foldedTypes.has(step.type) || isLong) && html`<button type="button" class="link" aria-expanded=${!isOneLine && !isCut} onClick=${unfold}>${isOneLine || isCut ? "Unfold" : "Fold"}</button>`}</div>
    ${isOneLine ? html`<p class="line" dir="auto" onClick=${unfold}>${step.text.slice(0, 240)}</p>` : html`<pre dir="auto"><${Marked} text=${isCut ? `${text.slice(0, folded)} …` : text} words=${words} /></pre>`}
    ${unfolded.value && step.cut && !whole.value && html`<p class="quiet">Loading the whole text …</p>`}
  </li>`;
}
