// Tags with a note, on records or on a selection.

import { plural } from "../core/text.js";
import { send } from "../ui/ask.js";
import { html, useSignal } from "../vendor/preact/preact.js";
import { data } from "./requests.js";

/** @typedef {import("./store.js").Store} Store */

/**
 * @param {{store: Store, ids?: readonly string[], rows?: Uint32Array, tags?: readonly import("./requests.js").Tagged[], changed: () => Promise<void>}} props
 */
export function TagForm({ store, ids, rows, tags = [], changed }) {
  const tag = useSignal(""), note = useSignal(""), problem = useSignal(""), isBusy = useSignal(false);
  const records = ids ? { ids } : { rows: Array.from(rows ?? []), snapshot: store.snapshot.value?.summary.snapshot };
  const change = async (/** @type {string} */ method, /** @type {object} */ body, /** @type {string} */ said) => {
    isBusy.value = true;
    problem.value = "";
    try {
      await send(`${data}/tags`, { ...body, ...records }, method);
      await changed();
      store.say(said);
      tag.value = note.value = "";
    } catch (error) {
      problem.value = String(/** @type {Error} */ (error).message);
    }
    isBusy.value = false;
  };
  const n = ids ? ids.length : (rows?.length ?? 0);
  const add = (/** @type {Event} */ event) => {
    event.preventDefault();
    void change("POST", { tag: tag.value.trim(), ...(note.value.trim() ? { note: note.value.trim() } : {}) }, `${plural(n, "record")} tagged “${tag.value.trim()}”`);
  };
  return html`<section class="tagging" aria-label="Tags">
    ${tags.length > 0 && html`<ul class="tags">${tags.map((one) => html`<li key=${one.tag} class="chip tag"><bdi>${one.tag}</bdi>${one.note && html`<span class="quiet">${one.note}</span>`}<button type="button" aria-label=${`Remove tag ${one.tag}`} onClick=${() => change("DELETE", { tag: one.tag }, `Tag “${one.tag}” removed`)}>✕</button></li>`)}</ul>`}
    <form onSubmit=${add}>
      <input aria-label="Tag" placeholder="Add a tag" list="known-tags" maxlength="100" value=${tag.value} onInput=${(/** @type {any} */ event) => (tag.value = event.target.value)} />
      <input aria-label="Note" placeholder="Note (optional)" maxlength="2000" value=${note.value} onInput=${(/** @type {any} */ event) => (note.value = event.target.value)} />
      <button disabled=${isBusy.value || !tag.value.trim() || n === 0}>Tag</button>
      <datalist id="known-tags">${store.tags.value.map((one) => html`<option value=${one.tag} key=${one.tag}></option>`)}</datalist>
    </form>
    ${problem.value && html`<p class="bad" role="alert">${problem.value}</p>`}
  </section>`;
}

/** All tags of the dataset. @param {{store: Store}} props */
export function Tags({ store }) {
  const tags = store.tags.value, wanted = store.filters.value.values.tag ?? [];
  if (!tags.length) return html`<div class="empty"><h2>No tags yet</h2><p>Open a record, or draw around some (L), and give them a tag. Tags stay when logs are read again and the map is fitted anew.</p></div>`;
  return html`<ul class="values pad">${tags.map(({ tag, count, note }) => html`<li key=${tag}><button type="button" class="value" aria-pressed=${wanted.includes(tag)} onClick=${() => store.toggle("tag", tag)}><bdi>${tag}</bdi><em>${count.toLocaleString("en")}</em></button>${note && html`<p class="quiet note" dir="auto">${note}</p>`}</li>`)}</ul>`;
}
