// Ways to hand the view on: a link, a file, a picture; and Embedding Atlas.

import { spelled } from "../core/filters.js";
import { html, useRef } from "../vendor/preact/preact.js";
import { base, dataset, query, root } from "./requests.js";

/** @typedef {import("./store.js").Store} Store */

/** @param {Store} store */
export const fileAddress = (store) => {
  const filters = query(spelled(store.filters.value));
  return `${root}${base}/export.html${filters && `?${filters}`}`;
};
export const atlasAddress = `${root}atlas/${encodeURIComponent(dataset)}/`, pictureAddress = `${root}${base}.png`;

/** @param {Store} store */
export async function copyLink(store) {
  try {
    await navigator.clipboard.writeText(location.href);
    store.say("The link is copied: it opens this view");
  } catch {
    store.say(`Copy the address of this page: ${location.href.slice(0, 120)}`);
  }
}

/** @param {{store: Store}} props */
export function Share({ store }) {
  const menu = useRef(/** @type {HTMLElement | null} */ (null)), close = () => menu.current?.hidePopover();
  const hasPart = store.selection.value.mask !== null && store.filters.value.only;
  return html`<button type="button" popovertarget="share">Share</button>
    <div id="share" class="menu" popover ref=${menu} role="group" aria-label="Share">
      <button type="button" onClick=${() => (close(), copyLink(store))}>Copy link <small>to this view: filters, selection, record</small></button>
      <a href=${fileAddress(store)} download onClick=${close}>Map as one file <small>HTML, opens without a network${hasPart ? "; without the selection" : ""}</small></a>
      <a href=${pictureAddress} download=${`${dataset}.png`} onClick=${close}>Picture <small>PNG</small></a>
      <a href=${atlasAddress} onClick=${close}>Embedding Atlas <small>the same snapshot</small></a>
    </div>`;
}
