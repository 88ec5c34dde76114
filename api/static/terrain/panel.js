// The panel: figures, steps, the table of hills, downloads.

import { count, hundredths, percent, rows, times } from "../core/format.js";
import { largestSize, raisable, weightAt } from "../core/hills.js";
import { css } from "../core/palette.js";
import { Meter } from "../ui/controls.js";
import { html, useComputed, useEffect, useRef } from "../vendor/preact/preact.js";
import { Downloads } from "./downloads.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {{store: Store, colours: {value: readonly import("../core/palette.js").Rgb[]}, download: (query: string) => Promise<void>}} Props */

/** @param {Props} props */
export const Panel = ({ store, colours, download }) =>
  html`<${Heading} store=${store} />
    <${Figures} store=${store} />
    <${Ranking} store=${store} colours=${colours} />
    <${Steps} store=${store} />
    <${Table} store=${store} colours=${colours} />
    <${Downloads} store=${store} download=${download} />`;

/** @param {{store: Store}} props */
const Heading = ({ store }) =>
  html`<header>
    <h1 title=${store.name}>${store.name}</h1>
    <p class="quiet">${rows(store.rows)} in ${count(store.hills.length)} ${store.hills.length === 1 ? "hill" : "hills"}${store.noise > 0 && ` · ${count(store.noise)} in none`}</p>
  </header>`;

/** @param {{store: Store}} props */
function Figures({ store }) {
  const { flatness, gini } = store.balance.value, before = store.balanceBefore, isChanged = store.isChanged.value;
  return html`<section class="figures" aria-label="Balance">
    <${Meter} label="Flatness" hint="100% is level ground" value=${flatness} before=${before.flatness} text=${percent(flatness)} textBefore=${percent(before.flatness)} isChanged=${isChanged} />
    <${Meter} label="Gini" hint="0 is equal, 1 is one hill alone" value=${gini} before=${before.gini} text=${hundredths(gini)} textBefore=${hundredths(before.gini)} isChanged=${isChanged} />
  </section>`;
}

/** The sizes side by side, largest first: as they are, and as they were. @param {{store: Store, colours: Props["colours"]}} props */
function Ranking({ store, colours }) {
  const order = bySize(store), largest = Math.max(...store.sizes, ...store.effective.value), wide = 100 / order.length;
  const high = (/** @type {number} */ size) => (60 * size) / largest;
  return html`<svg class="ranking" viewBox="0 0 100 60" preserveAspectRatio="none" aria-hidden="true">
    ${order.map((i, k) => {
      const now = high(store.effective.value[i]), before = high(store.sizes[i]);
      return html`<g key=${i}>
        <rect class="was" x=${k * wide} y=${60 - before} width=${wide * 0.82} height=${before} />
        <rect x=${k * wide} y=${60 - now} width=${wide * 0.82} height=${now} fill=${css(colours.value[i])} />
      </g>`;
    })}
  </svg>`;
}

/** @param {{store: Store}} props */
const Steps = ({ store }) =>
  html`<div class="steps" role="group" aria-label="Change all">
      <button type="button" class="main" onClick=${store.flatten}>Flatten all</button>
      <button type="button" disabled=${!store.canUndo.value} onClick=${store.undo} title="Undo (Ctrl Z)">Undo</button>
      <button type="button" disabled=${!store.canRedo.value} onClick=${store.redo} title="Redo (Ctrl Shift Z)">Redo</button>
      <button type="button" disabled=${!store.isChanged.value} onClick=${store.reset}>Reset</button>
    </div>
    <${Saved} store=${store} />`;

/** @param {{store: Store}} props */
function Saved({ store }) {
  const saving = store.saving.value;
  if (saving.kind === "failed")
    return html`<p class="saved failed" role="status">Not saved: ${saving.detail} <button type="button" onClick=${saving.retry}>Try again</button></p>`;
  const text = saving.kind === "saving" ? "Saving …" : store.isChanged.value ? "All changes are saved" : "No changes yet";
  return html`<p class="saved" role="status">${text}</p>`;
}

/** @param {Store} store */
const bySize = (store) => store.sizes.map((_, i) => i).sort((a, b) => store.sizes[b] - store.sizes[a]);

/** @param {{store: Store, colours: Props["colours"]}} props */
const Table = ({ store, colours }) =>
  store.hills.length === 0 ? html`<p class="list none">No topics were found: every row says something else. More rows, or another column, may help.</p>` : html`<div class="list"><table>
    <caption class="unseen">Hills, largest first</caption>
    <thead><tr><th scope="col">Hill</th><th scope="col">Height</th><th scope="col" class="number">Rows</th></tr></thead>
    <tbody>
      ${bySize(store).map((i) => [html`<${Row} key=${i} i=${i} store=${store} colours=${colours} />`, store.selected.value === i && html`<${Detail} key=${`d${i}`} i=${i} store=${store} />`])}
    </tbody>
  </table></div>`;

/** @param {{i: number, store: Store, colours: Props["colours"]}} props */
function Row({ i, store, colours }) {
  // computed one by one, so that a drag draws one row again and not all
  const hill = store.hills[i], weight = useComputed(() => store.weights.value[i]).value, size = hill.size * weight;
  const isOpen = useComputed(() => store.selected.value === i).value, isOn = useComputed(() => store.hovered.value === i).value;
  const most = largestSize(store.hills) * raisable;
  const drag = (/** @type {Event} */ event) => store.drag(i, weightAt(hill, (Number(/** @type {HTMLInputElement} */ (event.target).value) / hill.size) * hill.height));
  return html`<tr style=${{ "--hill": css(colours.value[i]) }} class=${isOn || isOpen ? "on" : ""} onPointerEnter=${() => (store.hovered.value = i)} onPointerLeave=${() => (store.hovered.value = -1)}>
    <th scope="row"><button type="button" aria-expanded=${isOpen} onClick=${() => (store.selected.value = isOpen ? -1 : i)}>
      <i style=${{ background: css(colours.value[i]) }}></i><span>${hill.label}</span></button></th>
    <td><input type="range" min="0" max=${most} step=${most / 100} value=${size} aria-label=${`Height of ${hill.label}`} disabled=${hill.size === 0}
      aria-valuetext=${`${rows(size)}, weight ${times(weight)}`} onInput=${drag} onChange=${store.settle} /></td>
    <td class="number">${weight !== 1 && html`<small>${count(hill.size)} →</small>`} <b>${count(size)}</b></td>
  </tr>`;
}

/** @param {{i: number, store: Store}} props */
function Detail({ i, store }) {
  const hill = store.hills[i], weight = store.weights.value[i];
  const at = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    if (at.current) reveal(at.current);
  }, []);
  const set = (/** @type {Event} */ event) => {
    const value = Number(/** @type {HTMLInputElement} */ (event.target).value);
    if (Number.isFinite(value) && value >= 0) store.drag(i, value);
    store.settle();
  };
  return html`<tr class="detail" ref=${at}><td colspan="3">
    ${hill.description && hill.description !== hill.label && html`<p>${hill.description}</p>`}
    <p class="quiet">${rows(hill.size)}, ${percent(hill.size / store.rows)} of all</p>
    <label>Weight <input type="number" min="0" max="1000" step="0.05" value=${String(weight)} disabled=${hill.size === 0} onChange=${set} /></label>
    ${hill.samples.length > 0 && html`<h2>Typical rows</h2><ul>${hill.samples.map((text) => html`<li>${text}</li>`)}</ul>`}
  </td></tr>`;
}

/** Scrolls to the row of a hill and what is said of it, unless both are seen. @param {HTMLElement} detail */
function reveal(detail) {
  const row = detail.previousElementSibling, list = detail.closest(".list"), panel = detail.closest("aside");
  if (!row || !list || !panel) return;
  const scrolls = getComputedStyle(list).overflowY === "auto" ? list : panel;
  const seen = scrolls.getBoundingClientRect(), top = row.getBoundingClientRect().top;
  if (top < seen.top + 30 || detail.getBoundingClientRect().bottom > seen.bottom) scrolls.scrollBy({ top: top - seen.top - 32 });
}
