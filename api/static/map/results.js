// What a search found, as a list.

import { css } from "../core/palette.js";
import { excerpt, plural } from "../core/text.js";
import { Marked } from "../ui/text.js";
import { html, useEffect, useSignal } from "../vendor/preact/preact.js";
import { dotOf } from "./colouring.js";
import { openRow, recordsAt } from "./records.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./requests.js").RecordOf} RecordOf */

const page = 40;

/** @param {{store: Store, show: (row: number) => void}} props */
export function Results({ store, show }) {
  const found = store.found.value, passing = store.passing.value, failed = passing?.sieve.failed;
  const rows = failed ? found.rows.filter((row) => failed[row] === 0) : [];
  const title = store.like.value ? "More like this" : `“${store.query.value}”`;
  const outside = found.rows.length - rows.length;
  return html`<header class="head"><h2>${title}</h2>
      <p class="quiet" role="status">${found.problem ? html`<span class="bad">${found.problem}</span>` : found.isPending ? "Searching …" : `${rows.length.toLocaleString("en")}${found.isCut ? "+" : ""} found${outside > 0 ? `, ${outside.toLocaleString("en")} outside the filters` : ""}`}</p></header>
    ${!found.isPending && !found.problem && rows.length === 0 && html`<div class="empty"><h3>Nothing found</h3><p>${outside > 0 ? html`${plural(outside, "record")} outside the filters. <button type="button" class="link" onClick=${() => store.clearFilters()}>Clear all filters</button>` : "Try another word, or search by meaning."}</p></div>`}
    <${RecordList} store=${store} rows=${rows} words=${store.words.value} open=${(/** @type {number} */ row) => (openRow(store, row), show(row))} />`;
}

/**
 * Records by row, more of them on demand.
 * @param {{store: Store, rows: ArrayLike<number>, words: readonly string[], open: (row: number) => void}} props
 */
export function RecordList({ store, rows, words, open }) {
  const most = useSignal(page), loaded = useSignal(/** @type {readonly RecordOf[]} */ ([])), problem = useSignal("");
  const first = Array.from({ length: Math.min(most.value, rows.length) }, (_, i) => rows[i]), version = store.snapshot.value?.summary.version;
  useEffect(() => {
    let isOld = false;
    problem.value = "";
    recordsAt(store, first).then((records) => isOld || (loaded.value = records), (/** @type {Error} */ error) => isOld || (problem.value = error.message));
    return () => void (isOld = true);
  }, [version, first.join(",")]);
  const known = new Map(loaded.value.map((record) => [record.row, record])), opened = store.row.value;
  return html`<ol class="hits" aria-label="Records">
      ${first.map((row) => {
        const record = known.get(row);
        if (!record) return null;
        return html`<li key=${row}><button type="button" aria-current=${row === opened ? "true" : null} onClick=${() => open(row)} onMouseEnter=${() => (store.hovered.value = row)} onMouseLeave=${() => (store.hovered.value = -1)}>
          <span class="what"><${Type} store=${store} type=${record.type} /><bdi class="where">${record.filename}</bdi></span>
          <span class="text" dir="auto"><${Marked} text=${excerpt(record.text, words)} words=${words} /></span></button></li>`;
      })}
    </ol>
    ${problem.value && html`<p class="bad pad" role="alert">${problem.value}</p>`}
    ${rows.length > first.length && html`<p class="pad"><button type="button" onClick=${() => (most.value += 2 * page)}>Show more</button> <span class="quiet">${first.length} of ${rows.length.toLocaleString("en")}; all are marked on the map</span></p>`}`;
}

/** The type of a record with its colour. @param {{store: Store, type: string}} props */
export const Type = ({ store, type }) => html`<span class="type"><i style=${{ background: css(dotOf(store, "type", type)) }}></i>${type}</span>`;
