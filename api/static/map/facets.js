// The values of each column with live counts: a click filters.

import { css } from "../core/palette.js";
import { moment, plural } from "../core/text.js";
import { html, useSignal } from "../vendor/preact/preact.js";
import { dotOf, nameOf, titleOf } from "./colouring.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {(name: string) => void} Ensure loads the codes of a column */

const few = 8, many = 200; // values shown
const opened = new Set(["type", "source", "outcome"]);

/** @param {{store: Store, ensure: Ensure}} props */
export function Facets({ store, ensure }) {
  const columns = [...store.columns.value.values()].filter((column) => column.values.length > 0 && column.name !== "topic");
  return html`<div class="facets">
    ${columns.map((column) => html`<${Facet} key=${column.name} store=${store} column=${column} ensure=${ensure} />`)}
    <${NewSince} store=${store} />
    <${Tagged} store=${store} />
  </div>`;
}

/** @param {{store: Store, column: import("./snapshot.js").Column, ensure: Ensure}} props */
function Facet({ store, column, ensure }) {
  const { name, values } = column, wanted = store.filters.value.values[name] ?? [];
  const isOpen = useSignal(opened.has(name) || wanted.length > 0), isLong = useSignal(false), search = useSignal("");
  if (isOpen.value && !column.codes) ensure(name);
  return html`<details class="facet" open=${isOpen.value} onToggle=${(/** @type {any} */ event) => (isOpen.value = event.currentTarget.open)}>
    <summary><h2>${titleOf(name)}</h2><span class="quiet">${wanted.length > 0 && `${wanted.length} of `}${values.length.toLocaleString("en")}</span></summary>
    ${isOpen.value && html`${wanted.length > 0 && html`<button type="button" class="link more" onClick=${() => store.want(name, [])}>All values</button>`}${values.length > 2 * few && html`<input type="search" placeholder=${`Find in ${values.length.toLocaleString("en")}`} aria-label=${`Find a value of ${name}`} value=${search.value} onInput=${(/** @type {any} */ event) => (search.value = event.target.value)} />`}
      <${Values} store=${store} column=${column} wanted=${wanted} search=${search.value} most=${isLong.value || search.value ? many : few} />
      ${!search.value && values.length > few && html`<button type="button" class="link more" onClick=${() => (isLong.value = !isLong.value)}>${isLong.value ? "Fewer" : `All ${Math.min(many, values.length).toLocaleString("en")}`}</button>`}`}
  </details>`;
}

/** @param {{store: Store, column: import("./snapshot.js").Column, wanted: readonly string[], search: string, most: number, live?: ArrayLike<number>}} props */
export function Values({ store, column, wanted, search, most, live: given }) {
  const { name, values, missing } = column, live = given ?? store.counts(name), words = search.toLowerCase(), hasDots = store.colour.value === name;
  const all = [...values.keys(), ...(missing ? [-1] : [])];
  const count = (/** @type {number} */ i) => (i < 0 ? (live ? live[65535] : (missing ?? 0)) : live ? live[i] : column.counts[i]);
  const value = (/** @type {number} */ i) => (i < 0 ? "" : values[i]);
  const fitting = words ? all.filter((i) => nameOf(store, name, value(i)).toLowerCase().includes(words)) : all;
  const first = [...fitting.filter((i) => wanted.includes(value(i))), ...fitting.filter((i) => !wanted.includes(value(i)))].slice(0, most);
  const largest = Math.max(1, ...first.map(count));
  const names = missing ? [...values, ""] : values;
  return html`<ul class="values">
    ${(wanted.length ? first.sort((a, b) => all.indexOf(a) - all.indexOf(b)) : first).map((i) => {
      const one = value(i), shown = nameOf(store, name, one), isOn = wanted.includes(one), n = count(i);
      const click = (/** @type {MouseEvent} */ event) => (event.shiftKey || event.altKey ? store.hide(name, one, names) : store.toggle(name, one));
      return html`<li key=${one}><button type="button" class="value" aria-pressed=${isOn} data-off=${wanted.length > 0 && !isOn} title=${`${shown}: ${plural(n, "record")}. Click: only this; with Shift: all but this`} onClick=${click}>
        ${hasDots && html`<i style=${{ background: css(dotOf(store, name, one)) }}></i>`}<bdi>${shown}</bdi><em>${n.toLocaleString("en")}</em>
        <u style=${{ width: `${(100 * n) / largest}%` }}></u></button></li>`;
    })}
    ${first.length === 0 && html`<li class="quiet">No value fits.</li>`}
    ${fitting.length > first.length && search && html`<li class="quiet">${plural(fitting.length - first.length, "more value")}: type more of the name.</li>`}
  </ul>`;
}

/** @param {{store: Store}} props */
function NewSince({ store }) {
  const list = store.snapshots.value, number = store.snapshot.value?.summary.snapshot ?? 0, since = store.filters.value.since;
  const earlier = list.filter((one) => one.snapshot < number);
  if (!earlier.length) return null;
  const choose = (/** @type {any} */ event) => store.wantNew(event.target.value ? Number(event.target.value) : null);
  return html`<div class="facet new"><label><h2>New since</h2>
    <select value=${since ?? ""} onChange=${choose}><option value="">any snapshot</option>
      ${earlier.map((one) => html`<option value=${one.snapshot} key=${one.snapshot}>snapshot ${one.snapshot} (${moment(one.created)})</option>`)}</select></label></div>`;
}

/** @param {{store: Store}} props */
function Tagged({ store }) {
  const tags = store.tags.value, wanted = store.filters.value.values.tag ?? [];
  if (!tags.length) return null;
  return html`<details class="facet" open><summary><h2>Tag</h2><span class="quiet">${tags.length}</span></summary>
    <ul class="values">${tags.map(({ tag, count, note }) => html`<li key=${tag}><button type="button" class="value" aria-pressed=${wanted.includes(tag)} data-off=${wanted.length > 0 && !wanted.includes(tag)} title=${note ?? tag} onClick=${() => store.toggle("tag", tag)}><bdi>${tag}</bdi><em>${count.toLocaleString("en")}</em></button></li>`)}</ul>
  </details>`;
}
