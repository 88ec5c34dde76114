// Two sets of runs against each other: chosen by chips, shown as a reading list and the lifts of topics.

import { phrases, withValues } from "../core/filters.js";
import { css } from "../core/palette.js";
import { ends } from "../core/inks.js";
import { excerpt, plural } from "../core/text.js";
import { ask } from "../ui/ask.js";
import { batch, html, useSignal } from "../vendor/preact/preact.js";
import { nameOf, titleOf } from "./colouring.js";
import { openId } from "./records.js";
import { data, query } from "./requests.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {"a" | "b"} Side */

const pollMs = 2000, chance = 0.2; // the q of what is worth a mention
const inks = { a: ends[2], b: ends[0] };

/** @param {number} q */
const rounded = (q) => (q < 0.01 ? "<0.01" : q.toFixed(2));

/** The form. @param {{store: Store}} props */
export function Comparing({ store }) {
  const isBusy = useSignal(false), { a, b } = store, outcomes = store.columns.value.get("outcome")?.values ?? [];
  const compare = async () => {
    isBusy.value = true;
    await askFor(store);
    isBusy.value = false;
  };
  const pair = () => {
    const both = phrases(withValues(store.filters.value, "outcome", []));
    batch(() => ((a.value = ["outcome=fail", ...both]), (b.value = ["outcome=pass", ...both])));
  };
  return html`<div class="comparing pad">
    <p class="quiet">Which behaviours tell two sets of runs apart? Choose them by filters.</p>
    ${outcomes.includes("fail") && outcomes.includes("pass") && html`<p><button type="button" onClick=${pair}>Failed against passed</button>${store.isFiltered.value && html` <span class="quiet">within the filters</span>`}</p>`}
    <${SideOf} store=${store} side="a" title="A" hint="Choose at least one filter" />
    <${SideOf} store=${store} side="b" title="B" hint="All other runs" />
    <div class="bar"><button type="button" class="main" disabled=${isBusy.value || !a.value.length} onClick=${compare}>${isBusy.value ? "Comparing …" : "Compare"}</button>
      ${store.compared.value && html`<button type="button" onClick=${() => endComparison(store)}>End the comparison</button><button type="button" class="link" onClick=${() => (store.panel.value = "compare")}>Result</button>`}</div>
    <p class="quiet" role="status">${store.comparing.value}</p>
  </div>`;
}

/** @param {{store: Store, side: Side, title: string, hint: string}} props */
function SideOf({ store, side, title, hint }) {
  const column = useSignal("outcome"), value = useSignal(""), list = store[side];
  const columns = [...store.columns.value.keys()], known = store.columns.value.get(column.value)?.values ?? [];
  const add = (/** @type {Event} */ event) => {
    event.preventDefault();
    const found = column.value === "topic" ? (known.find((one) => nameOf(store, "topic", one) === value.value) ?? value.value) : value.value.trim();
    const phrase = column.value === "source" ? `filename=${found}*` : `${column.value}=${found}`;
    if (found && !list.value.includes(phrase)) list.value = [...list.value, phrase];
    value.value = "";
  };
  const active = phrases(store.filters.value);
  return html`<fieldset class="set"><legend><i style=${{ background: css(inks[side]) }}></i>Set ${title}</legend>
    ${list.value.length ? html`<ul>${list.value.map((one) => html`<li class="chip" key=${one}><bdi>${said(store, one)}</bdi><button type="button" aria-label=${`Remove ${one} from set ${title}`} onClick=${() => (list.value = list.value.filter((other) => other !== one))}>✕</button></li>`)}</ul>` : html`<p class="quiet">${hint}</p>`}
    <form onSubmit=${add}><select aria-label=${`Column of a filter for set ${title}`} value=${column.value} onChange=${(/** @type {any} */ event) => ((column.value = event.target.value), (value.value = ""))}>${[...new Set(["outcome", ...columns, "since", "until"])].map((name) => html`<option key=${name} value=${name}>${titleOf(name)}</option>`)}</select>
      <input aria-label=${`Value of a filter for set ${title}`} list=${`values-${side}`} placeholder=${known[0] ? nameOf(store, column.value, known[0]) : column.value === "since" || column.value === "until" ? "2026-01-31 or 7d" : "value"} value=${value.value} onInput=${(/** @type {any} */ event) => (value.value = event.target.value)} />
      <datalist id=${`values-${side}`}>${known.slice(0, 300).map((one) => html`<option key=${one} value=${nameOf(store, column.value, one)}></option>`)}</datalist><button disabled=${!value.value.trim()}>Add</button></form>
    ${active.length > 0 && html`<button type="button" class="link" onClick=${() => (list.value = active)}>Use the active filters</button>`}
  </fieldset>`;
}

/** @param {Store} store @param {string} phrase */
function said(store, phrase) {
  const at = phrase.indexOf("="), column = phrase.slice(0, at), value = phrase.slice(at + 1);
  return column === "topic" ? `topic: ${nameOf(store, "topic", value)}` : `${column}: ${value}`;
}

/** @param {Store} store */
async function askFor(store) {
  const wanted = query([...store.a.peek().map((one) => /** @type {const} */ (["a", one])), ...store.b.peek().map((one) => /** @type {const} */ (["b", one]))]);
  store.comparing.value = "Comparing …";
  try {
    for (;;) {
      const answer = await ask(`${data}/compare?${wanted}`);
      if (answer.id) return showComparison(store, answer);
      if (["Failed", "Crashed", "Cancelled"].includes(answer.state)) throw new Error(`The run ended as ${answer.state}.`);
      store.comparing.value = `Comparing … (run ${answer.name}: ${answer.state})`;
      await new Promise((resolve) => setTimeout(resolve, pollMs));
    }
  } catch (error) {
    store.comparing.value = String(/** @type {Error} */ (error).message);
  }
}

/** @param {Store} store @param {import("./store.js").Compared} compared */
function showComparison(store, compared) {
  batch(() => {
    store.compared.value = compared;
    store.compare.value = compared.id;
    store.colour.value = "difference";
    store.panel.value = "compare";
    store.comparing.value = "";
  });
}

/** @param {Store} store */
function endComparison(store) {
  batch(() => {
    store.compare.value = "";
    store.compared.value = null;
    if (store.colour.value === "difference") store.colour.value = "type";
    if (store.panel.value === "compare") store.panel.value = "";
  });
}

/** The result: what to read, one by one. @param {{store: Store, show: (row: number) => void}} props */
export function Comparison({ store, show }) {
  const compared = store.compared.value;
  if (!compared) return html`<div class="empty"><h2>No comparison</h2><p>${store.comparing.value || "Choose two sets of runs on the left."}</p></div>`;
  const reading = ["a", "b"].flatMap((side) => compared.reading.filter((one) => one.side === side)); // each side's, best first
  const at = reading.findIndex((one) => one.id === store.id.value);
  const open = async (/** @type {number} */ i) => {
    const one = reading[i];
    if (!one) return;
    await openId(store, one.id, "compare");
    show(store.row.peek());
  };
  const lifts = compared.topics.filter((one) => one.q <= chance && one.lift > 0).slice(0, 8);
  return html`<header class="head"><h2>A against B</h2>
      <div class="bar"><button type="button" aria-label="Previous to read" disabled=${at <= 0} onClick=${() => open(at - 1)}>←</button><button type="button" aria-label="Next to read" disabled=${at >= reading.length - 1} onClick=${() => open(at + 1)}>→</button>
        <span class="quiet">${at >= 0 ? `${at + 1} of ${reading.length} to read` : plural(reading.length, "record to read", "records to read")}</span>${at >= 0 && html`<button type="button" onClick=${() => (store.panel.value = "record")}>Open the record</button>`}</div>
      <ul class="sides">${/** @type {Side[]} */ (["a", "b"]).map((side) => html`<li key=${side}><i style=${{ background: css(inks[side]) }}></i><b>${side.toUpperCase()}</b> ${compared[side].filters.map((one) => said(store, one)).join(", ") || "all other runs"} <span class="quiet">${plural(compared[side].runs, "run")}</span></li>`)}</ul></header>
    <div class="body">
      <section class="verdict" data-found=${compared.significant}><h3>${compared.significant ? "There is a difference" : "No difference found"}</h3>${compared.summary.map((line) => html`<p key=${line}>${line}</p>`)}${compared.cautions.map((line) => html`<p key=${line} class="quiet">${line}</p>`)}</section>
      ${lifts.length > 0 && html`<h3>Topics</h3><table class="lifts"><thead><tr><th scope="col">Topic</th><th scope="col" class="number">Runs A</th><th scope="col" class="number">Runs B</th><th scope="col" class="number">Lift</th><th scope="col" class="number">q</th></tr></thead>
        <tbody>${lifts.map((one) => html`<tr key=${one.id} onMouseEnter=${() => (store.hoveredTopic.value = one.id)} onMouseLeave=${() => (store.hoveredTopic.value = -1)}><th scope="row"><button type="button" class="plain" onClick=${() => store.want("topic", [String(one.id)])}>${one.name}</button></th><td class="number">${one.runs_a}</td><td class="number">${one.runs_b}</td><td class="number"><b class="lift" data-side=${one.lift > 1 ? "a" : "b"}>×${one.lift.toFixed(1)}</b></td><td class="number">${rounded(one.q)}</td></tr>`)}</tbody></table>`}
      ${reading.length > 0 && html`<h3>To read</h3>`}
      <ol class="hits">${reading.map((one, i) => html`<li key=${one.id}><button type="button" aria-current=${i === at ? "true" : null} onClick=${() => open(i)}>
        <span class="what"><b class="lift" data-side=${one.side}>more in ${one.side.toUpperCase()}</b><span>${one.runs_a} of ${compared.a.runs} A · ${one.runs_b} of ${compared.b.runs} B</span><span class="quiet">p ${one.p.toFixed(3)} · q ${rounded(one.q)}</span></span>
        ${one.explained_by.length > 0 && html`<span class="quiet">${one.explained_by.join(" and ")} may explain most of it</span>`}
        <span class="text" dir="auto">${excerpt(one.text, [])}</span></button></li>`)}</ol>
    </div>`;
}
