// The outline of topics: follows the view and the filters; hover shows a topic on the map, a click filters.

import { css } from "../core/palette.js";
import { countOf } from "../core/tree.js";
import { plural } from "../core/text.js";
import { send } from "../ui/ask.js";
import { html, useComputed, useSignal } from "../vendor/preact/preact.js";
import { dotOf } from "./colouring.js";
import { data } from "./requests.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("../core/tree.js").Node} Node */
/** @typedef {{store: Store, counts: {value: ReadonlyMap<number, number>}, failing: {value: ReadonlyMap<number, number> | null}, open: {value: ReadonlySet<number>}, editing: {value: number}, lifts: ReadonlyMap<number, import("./store.js").TopicLift>}} Shared */

/** @param {{store: Store}} props */
export function Topics({ store }) {
  const open = useSignal(/** @type {ReadonlySet<number>} */ (new Set())), editing = useSignal(-1), sort = useSignal("size");
  const counts = useComputed(() => byTopic(store)), failing = useComputed(() => failures(store));
  const tree = store.tree.value;
  if (!tree) return html`<p class="quiet pad">Loading topics …</p>`;
  if (!tree.roots.length) return html`<p class="quiet pad">This snapshot has no topics: too few records, or all of them are alike.</p>`;
  const compared = store.compared.value, lifts = new Map((compared?.topics ?? []).map((one) => [one.id, one]));
  const shared = { store, counts, failing, open, editing, lifts };
  const none = counts.value.get(-1) ?? 0, wanted = store.filters.value.values.topic ?? [];
  return html`<div class="outline" onMouseLeave=${() => (store.hoveredTopic.value = -1)}>
    <div class="line pad"><label class="quiet">Sort by <select value=${sort.value} onChange=${(/** @type {any} */ event) => (sort.value = event.target.value)}>
      <option value="size">size</option><option value="new">what is new</option>${failing.value && html`<option value="failed">share of failed</option>`}${lifts.size > 0 && html`<option value="lift">difference of A and B</option>`}</select></label>
      ${wanted.length > 0 && html`<button type="button" class="link" onClick=${() => store.want("topic", [])}>All topics</button>`}</div>
    <ul class="tree" aria-label="Topics">${sorted(tree.roots, sort.value, shared).map((node) => html`<${Branch} key=${node.topic.id} node=${node} depth=${0} sort=${sort.value} shared=${shared} />`)}
      ${none > 0 && html`<li><div class="topic" style=${{ paddingLeft: "26px" }}><button type="button" class="name quiet" aria-pressed=${wanted.includes("-1")} onClick=${() => store.toggle("topic", "-1")}>No topic</button><em>${none.toLocaleString("en")}</em><span class="edit" aria-hidden="true">⋯</span></div></li>`}</ul>
  </div>`;
}

/** Shown rows of each smallest topic. @param {Store} store @returns {ReadonlyMap<number, number>} */
function byTopic(store) {
  const column = store.columns.value.get("topic"), live = store.counts("topic");
  if (!column || !live) return new Map([...(store.tree.value?.nodes.values() ?? [])].filter((node) => !node.children.length).map((node) => [node.topic.id, node.topic.size]));
  return new Map(column.values.map((value, code) => [Number(value), live[code]]));
}

/** Shown rows of each smallest topic that belong to failed runs. @param {Store} store @returns {ReadonlyMap<number, number> | null} */
function failures(store) {
  const topics = store.columns.value.get("topic"), outcomes = store.columns.value.get("outcome"), passing = store.passing.value;
  const fail = outcomes?.values.indexOf("fail") ?? -1;
  if (!topics?.codes || !outcomes?.codes || fail < 0 || !passing) return null;
  const counts = new Uint32Array(65536), { rows } = passing;
  for (let k = 0; k < rows.length; k++) if (outcomes.codes[rows[k]] === fail) counts[topics.codes[rows[k]]]++;
  return new Map(topics.values.map((value, code) => [Number(value), counts[code]]));
}

/** @param {readonly Node[]} nodes @param {string} by @param {Shared} shared */
function sorted(nodes, by, { counts, failing, lifts }) {
  const n = (/** @type {Node} */ node) => countOf(node, counts.value);
  const state = ["new", "returned", "growing", "steady", "fading"];
  /** @type {Record<string, (node: Node) => number>} */
  const key = {
    size: n,
    new: (node) => -state.indexOf(node.topic.trend ?? "steady") * 1e9 + n(node),
    failed: (node) => (failing.value ? countOf(node, failing.value) / Math.max(1, n(node)) : 0),
    lift: (node) => Math.abs(Math.log(lifts.get(node.topic.id)?.lift || 1)),
  };
  return [...nodes].sort((a, b) => key[by](b) - key[by](a));
}

/** @param {{node: Node, depth: number, sort: string, shared: Shared}} props */
function Branch({ node, depth, sort, shared }) {
  const { store, counts, failing, open, editing, lifts } = shared, { topic, children } = node;
  const n = countOf(node, counts.value), isOpen = open.value.has(topic.id), lift = lifts.get(topic.id);
  const wanted = store.filters.value.values.topic ?? [], isOn = wanted.includes(String(topic.id));
  if (n === 0 && !isOn) return null;
  const failed = failing.value ? countOf(node, failing.value) / n : 0;
  const flip = () => (open.value = isOpen ? new Set([...open.value].filter((id) => id !== topic.id)) : new Set([...open.value, topic.id]));
  const keys = (/** @type {KeyboardEvent} */ event) => {
    const isFlip = (event.key === "ArrowRight" && !isOpen && children.length > 0) || (event.key === "ArrowLeft" && isOpen);
    if (isFlip) flip();
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") focusNext(/** @type {HTMLElement} */ (event.currentTarget), event.key === "ArrowDown" ? 1 : -1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return html`<li><div class="topic" data-off=${wanted.length > 0 && !isOn} style=${{ paddingLeft: `${8 + 14 * depth}px` }} onMouseEnter=${() => (store.hoveredTopic.value = topic.id)}>
      ${children.length > 0 ? html`<button type="button" class="flip" aria-expanded=${isOpen} aria-label=${`Parts of ${topic.name}`} onClick=${flip}>${isOpen ? "▾" : "▸"}</button>` : html`<span class="flip"></span>`}
      <button type="button" class="name" aria-pressed=${isOn} title=${topic.description || topic.name}
        onClick=${() => store.toggle("topic", String(topic.id))} onFocus=${() => (store.hoveredTopic.value = topic.id)} onBlur=${() => (store.hoveredTopic.value = -1)} onKeyDown=${keys}>${store.colour.value === "topic" && html`<i style=${{ background: css(dotOf(store, "topic", String(topic.id))) }}></i>`}<bdi>${topic.name}</bdi></button>
      ${lift && Math.abs(Math.log(lift.lift)) > 0.1 ? html`<small class="lift" data-side=${lift.lift > 1 ? "a" : "b"} title=${`A: ${lift.runs_a} runs, B: ${lift.runs_b} runs, q ${lift.q.toFixed(2)}`}>×${lift.lift.toFixed(1)} q ${lift.q.toFixed(2)}</small>` : topic.trend && topic.trend !== "steady" && html`<small class="state" data-state=${topic.trend}>${topic.trend}</small>`}
      ${failed >= 0.005 && html`<small class="failed" title="Share of these records that belong to failed runs">${Math.round(100 * failed)}% failed</small>`}
      <em>${n.toLocaleString("en")}</em>
      <button type="button" class="edit" aria-label=${`Rename or merge ${topic.name}`} onClick=${() => (editing.value = editing.value === topic.id ? -1 : topic.id)}>⋯</button>
    </div>
    ${editing.value === topic.id && html`<${Edit} store=${store} node=${node} close=${() => (editing.value = -1)} />`}
    ${isOpen && children.length > 0 && html`<ul>${sorted(children, sort, shared).map((child) => html`<${Branch} key=${child.topic.id} node=${child} depth=${depth + 1} sort=${sort} shared=${shared} />`)}</ul>`}
  </li>`;
}

/** @param {HTMLElement} from @param {number} by */
function focusNext(from, by) {
  const all = [...(from.closest(".tree")?.querySelectorAll(".name") ?? [])];
  const next = all[all.indexOf(from) + by];
  if (next instanceof HTMLElement) next.focus();
}

/** A name that stays, or another topic to become part of. @param {{store: Store, node: Node, close: () => void}} props */
function Edit({ store, node, close }) {
  const { topic } = node, name = useSignal(topic.name), into = useSignal(""), problem = useSignal(""), isBusy = useSignal(false);
  const others = [...(store.tree.value?.nodes.values() ?? [])].map((one) => one.topic).filter((one) => one.level === topic.level && one.id !== topic.id);
  const change = async (/** @type {Event} */ event, /** @type {object} */ body) => {
    event.preventDefault();
    isBusy.value = true;
    try {
      const answer = await send(`${data}/topics/${topic.id}`, body, "PATCH");
      store.say(answer.flow_run_id ? "Stored. The topics are being renewed; the map follows." : (answer.detail ?? "Stored."));
      close();
    } catch (error) {
      problem.value = String(/** @type {Error} */ (error).message);
      isBusy.value = false;
    }
  };
  return html`<div class="edit-topic">
    <form onSubmit=${(/** @type {Event} */ event) => change(event, { name: name.value.trim() })}><label>Name <input value=${name.value} maxlength="200" onInput=${(/** @type {any} */ event) => (name.value = event.target.value)} /></label>
      <button disabled=${isBusy.value || !name.value.trim() || name.value.trim() === topic.name}>Rename</button></form>
    <form onSubmit=${(/** @type {Event} */ event) => change(event, { merge_into: Number(into.value) })}><label>Merge into <select value=${into.value} onChange=${(/** @type {any} */ event) => (into.value = event.target.value)}><option value="">choose a topic</option>
      ${others.sort((a, b) => a.name.localeCompare(b.name)).map((one) => html`<option value=${one.id} key=${one.id}>${one.name} (${plural(one.size, "record")})</option>`)}</select></label>
      <button disabled=${isBusy.value || into.value === ""}>Merge</button></form>
    ${problem.value && html`<p class="bad" role="alert">${problem.value}</p>`}
  </div>`;
}
