// The command palette: everything that the page does, by name.

import { css } from "../core/palette.js";
import { effect, html, useLayoutEffect, useRef, useSignal } from "../vendor/preact/preact.js";
import { dotOf, nameOf, offeredColours, titleOf } from "./colouring.js";
import { openId } from "./records.js";
import { atlasAddress, copyLink, fileAddress, pictureAddress } from "./share.js";
import { root } from "./requests.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {{name: string, hint: string, run: () => void, dot?: readonly [number, number, number]}} Command */
/** @typedef {{store: Store, isOpen: import("../vendor/preact/preact.js").Signal<boolean>, stage: import("./stage.js").Stage, focusSearch: () => void}} Props */

const most = 12;

/** @param {Props} props */
export function Commands({ store, isOpen, stage, focusSearch }) {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null)), text = useSignal(""), at = useSignal(0);
  useLayoutEffect(() => effect(() => {  // at once, and not with the next drawing: the next key may be pressed before that
    if (!isOpen.value) return void dialog.current?.close();
    text.value = "";
    at.value = 0;
    dialog.current?.showModal();
  }), []);
  const find = () => fitting(text.value, commandsOf(store, stage, focusSearch), store);
  const found = isOpen.value ? find() : [];
  const run = (/** @type {Command | undefined} */ command) => {
    isOpen.value = false;
    command?.run();
  };
  const keys = (/** @type {KeyboardEvent} */ event) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (by) at.value = (at.value + by + found.length) % Math.max(1, found.length);
    else if (event.key === "Enter") run(find()[at.value]);
    else return;
    event.preventDefault();
  };
  return html`<dialog class="commands" ref=${dialog} aria-label="Commands" onCancel=${() => (isOpen.value = false)} onClick=${(/** @type {any} */ event) => event.target === dialog.current && (isOpen.value = false)}>
    <input type="text" role="combobox" aria-expanded="true" aria-controls="command-list" aria-activedescendant=${found.length ? `command-${at.value}` : null} aria-label="Search, filter, or command" placeholder="Search, filter by a value, or type a command" autocomplete="off" spellcheck="false" value=${text.value}
      onInput=${(/** @type {any} */ event) => ((text.value = event.target.value), (at.value = 0))} onKeyDown=${keys} />
    <ul id="command-list" role="listbox" aria-label="Commands">${found.map((command, i) => html`<li key=${`${command.hint} ${command.name}`} id=${`command-${i}`} role="option" aria-selected=${i === at.value} onClick=${() => run(command)} onMouseMove=${() => at.value !== i && (at.value = i)}>
      ${command.dot && html`<i style=${{ background: css(command.dot) }}></i>`}<bdi>${command.name}</bdi><small>${command.hint}</small></li>`)}</ul>
  </dialog>`;
}

/** @param {string} text @param {readonly Command[]} commands @param {Store} store @returns {Command[]} */
function fitting(text, commands, store) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (/** @type {Command} */ one) => words.every((word) => `${one.name} ${one.hint}`.toLowerCase().includes(word));
  const search = /** @type {Command[]} */ (text.trim() ? [["both", "by meaning and words"], ["words", "by words"], ["meaning", "by meaning"]].map(([mode, hint]) => ({ name: `“${text.trim()}”`, hint: `Search ${hint}`, run: () => store.search(text, /** @type {any} */ (mode)) })) : []);
  const id = /^[0-9a-f]{32}$/.test(text.trim()) ? [{ name: text.trim(), hint: "Open the record", run: () => void openId(store, text.trim()) }] : [];
  return [...id, ...search.slice(0, 1), ...commands.filter(fits).slice(0, most), ...(words.length ? [...valuesOf(words, store)] : []), ...search.slice(1)].slice(0, 3 * most);
}

/** Filters by a value. @param {readonly string[]} words @param {Store} store @returns {Command[]} */
function valuesOf(words, store) {
  const nodes = [...(store.tree.value?.nodes.values() ?? [])].map(({ topic }) => /** @type {const} */ (["topic", String(topic.id)]));
  const values = [...store.columns.value.values()].filter((column) => column.name !== "topic").flatMap((column) => column.values.map((value) => /** @type {const} */ ([column.name, value])));
  const tags = store.tags.value.map(({ tag }) => /** @type {const} */ (["tag", tag]));
  /** @type {Command[]} */
  const commands = [];
  for (const [column, value] of [...nodes, ...tags, ...values]) {
    const name = nameOf(store, column, value), text = `${column} ${name}`.toLowerCase();
    if (!words.every((word) => text.includes(word))) continue;
    const isOn = store.filters.value.values[column]?.includes(value);
    commands.push({ name, hint: `${isOn ? "End the filter on" : "Filter by"} ${column}`, run: () => store.toggle(column, value), ...(store.colour.value === column ? { dot: dotOf(store, column, value) } : {}) });
    if (commands.length >= most) break;
  }
  return commands;
}

/** @param {Store} store @param {import("./stage.js").Stage} stage @param {() => void} focusSearch @returns {Command[]} */
function commandsOf(store, stage, focusSearch) {
  const goto = (/** @type {string} */ address) => () => location.assign(address);
  const all = /** @type {(Command | false | null)[]} */ ([
    { name: "Search the records", hint: "S", run: focusSearch },
    { name: "List of runs", hint: "Read", run: () => (store.panel.value = "runs") },
    store.id.value !== "" && { name: "Whole run of this record", hint: "Read", run: () => (store.panel.value = "run") },
    { name: "Draw a selection", hint: "L", run: () => (store.tool.value = "lasso") },
    { name: "Save or tag what is shown", hint: "Keep", run: () => (store.panel.value = "selection") },
    store.isFiltered.value && { name: "Clear all filters", hint: "Filter", run: () => store.clearFilters() },
    (store.area.value.length > 0 || store.added.value.length > 0) && { name: "Clear the selection", hint: "Keep", run: () => store.select([]) },
    ...store.snapshots.value.slice(0, -1).map((one) => ({ name: `New since snapshot ${one.snapshot}`, hint: "Filter", run: () => store.wantNew(one.snapshot) })),
    { name: "Compare two sets of runs", hint: "Compare", run: () => (store.tab.value = "compare") },
    { name: "Topics", hint: "Outline", run: () => (store.tab.value = "topics") },
    { name: "All filters", hint: "Outline", run: () => (store.tab.value = "filters") },
    { name: "Tags", hint: "Outline", run: () => (store.tab.value = "tags") },
    ...offeredColours(store).map(({ name }) => ({ name: `Colour by ${titleOf(name).toLowerCase()}`, hint: "Map", run: () => (store.colour.value = name) })),
    { name: "Show the whole map", hint: "0", run: () => stage.fit() },
    { name: "Table of what is shown", hint: "Read", run: () => (store.panel.value = "table") },
    { name: "Copy a link to this view", hint: "Share", run: () => void copyLink(store) },
    { name: "Save the map as one file", hint: "Share", run: goto(fileAddress(store)) },
    { name: "Picture of the map", hint: "Share", run: goto(pictureAddress) },
    { name: "Embedding Atlas", hint: "Share", run: goto(atlasAddress) },
    { name: "All datasets", hint: "Go", run: goto(root) },
  ]);
  return /** @type {Command[]} */ (all.filter(Boolean));
}
