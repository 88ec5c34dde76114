// What the page says: in place of the map where there is none, and in passing.

import { plural } from "../core/text.js";
import { html, useEffect } from "../vendor/preact/preact.js";
import { dataset, root } from "./requests.js";

/** @typedef {import("./store.js").Store} Store */

const noticeMs = 7000;

/** @param {{store: Store}} props */
export function Message({ store }) {
  const snapshot = store.snapshot.value, now = store.now.value, { text, status } = store.trouble.value, passing = store.passing.value;
  if (snapshot && snapshot.n === 0) return html`<div class="empty"><h2>This snapshot is empty</h2><p>It has no records. Load logs and index them; the map appears here by itself.</p></div>`;
  if (snapshot && passing && passing.rows.length === 0 && !passing.missing.length) return html`<div class="empty"><h2>No record passes the filters</h2><p><button type="button" onClick=${() => store.clearFilters()}>Clear all filters</button></p></div>`;
  if (snapshot) return null;
  if (status === 404) return html`<div class="empty" role="alert"><h2>There is no dataset “${dataset}”</h2><p>${text}</p><p><a href=${root}>All datasets</a></p></div>`;
  if (status === 401) return html`<div class="empty" role="alert"><h2>Please sign in</h2><p>${text}</p><p><button type="button" onClick=${() => location.reload()}>Sign in</button></p></div>`;
  if (status === 0) return html`<div class="empty" role="alert"><h2>The server does not answer</h2><p>Trying again every few seconds. <code>runatlas up</code> starts it.</p></div>`;
  if (text) return html`<div class="empty" role="alert"><h2>Something went wrong</h2><p>${text}</p></div>`;
  if (!now) return html`<div class="empty quiet"><p>Loading …</p></div>`;
  if (now.version) return html`<div class="empty quiet"><p>Loading ${plural(now.rows, "record")} …</p></div>`;
  return html`<div class="empty"><h2>No map yet</h2><p>${now.waiting ? html`${plural(now.waiting, "record")} pending. Next: <code>runatlas index</code>` : html`Load logs, then index them: <code>runatlas load FOLDER && runatlas index</code>. The map appears here by itself.`}</p></div>`;
}

/** @param {{store: Store}} props */
export function Notice({ store }) {
  const notice = store.notice.value;
  useEffect(() => {
    const timer = setTimeout(() => (store.notice.value = null), notice?.isBad ? 2 * noticeMs : noticeMs);
    return () => clearTimeout(timer);
  }, [notice]);
  if (!notice) return null;
  const act = () => {
    notice.run?.();
    store.notice.value = null;
  };
  return html`<div class="toast" data-bad=${Boolean(notice.isBad)} role=${notice.isBad ? "alert" : "status"}><span>${notice.text}</span>${notice.action && html`<button type="button" onClick=${act}>${notice.action}</button>`}<button type="button" aria-label="Dismiss" onClick=${() => (store.notice.value = null)}>✕</button></div>`;
}
