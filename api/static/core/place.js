// The whole view as one value, and its address: what a link shows a colleague.

import { noFilters } from "./filters.js";

/** @typedef {import("./filters.js").Filters} Filters */
/** @typedef {"both" | "meaning" | "words"} Mode */
/** @typedef {"" | "results" | "record" | "run" | "runs" | "selection" | "compare" | "table"} Panel */
/** @typedef {"topics" | "filters" | "compare" | "tags"} Tab */
/**
 * `at`: centre and magnification. `area`: the outline drawn around the selection, `added` ids of records selected one by one. `a` and
 * `b`: the sets that are compared; `compare` is the id of the result.
 * @typedef {{
 *   readonly at: readonly [number, number, number] | null, readonly colour: string, readonly filters: Filters, readonly query: string, readonly mode: Mode,
 *   readonly like: string, readonly panel: Panel, readonly tab: Tab, readonly id: string, readonly run: string, readonly order: string,
 *   readonly area: readonly number[], readonly added: readonly string[], readonly a: readonly string[], readonly b: readonly string[], readonly compare: string,
 * }} Place
 */

const modes = ["both", "meaning", "words"], tabs = ["topics", "filters", "compare", "tags"];
const panels = ["", "results", "record", "run", "runs", "selection", "compare", "table"];
const longest = 2000; // characters of one value
const mostValues = 400;

/** @type {Place} */
export const start = {
  at: null, colour: "type", filters: noFilters, query: "", mode: "both", like: "", panel: "", tab: "topics", id: "", run: "", order: "start.desc", area: [], added: [], a: [], b: [], compare: "",
};

/** @param {Place} place @returns {string} the part of the address after `#` */
export function written(place) {
  const parts = new URLSearchParams();
  const put = (/** @type {string} */ name, /** @type {string} */ value, /** @type {string} */ usual = "") => value !== usual && parts.append(name, value);
  if (place.at) put("at", place.at.map((value) => value.toPrecision(6)).join(","));
  put("colour", place.colour, start.colour);
  put("q", place.query);
  put("mode", place.mode, start.mode);
  put("like", place.like);
  for (const [column, values] of Object.entries(place.filters.values)) for (const value of values) parts.append(`f.${column}`, value);
  if (place.filters.time) put("time", place.filters.time.map((value) => Math.round(value)).join("~"));
  if (place.filters.since !== null) put("new", String(place.filters.since));
  if (place.filters.only) put("only", "selection");
  put("id", place.id);
  put("run", place.run);
  put("panel", place.panel);
  put("tab", place.tab, start.tab);
  put("order", place.order, start.order);
  if (place.area.length) put("area", place.area.map((value) => value.toPrecision(5)).join(","));
  if (place.added.length) put("added", place.added.join(","));
  for (const one of place.a) parts.append("a", one);
  for (const one of place.b) parts.append("b", one);
  put("compare", place.compare);
  return parts.toString();
}

/**
 * The view that an address describes; what is damaged in it is left out.
 * @param {string} address the part after `#`
 * @returns {Place}
 */
export function parsed(address) {
  const parts = new URLSearchParams(address);
  const text = (/** @type {string} */ name) => (parts.get(name) ?? "").slice(0, longest);
  const texts = (/** @type {string} */ name) => parts.getAll(name).slice(0, mostValues).map((one) => one.slice(0, longest)).filter(Boolean);
  const one = (/** @type {string} */ name, /** @type {readonly string[]} */ known, /** @type {string} */ usual) => (known.includes(text(name)) ? text(name) : usual);
  const at = numbers(text("at")), time = numbers(text("time").replace("~", ",")), since = Number(text("new")), area = numbers(parts.get("area") ?? "");
  return {
    at: at.length === 3 && at[2] > 0 ? [at[0], at[1], at[2]] : null,
    colour: text("colour") || start.colour,
    filters: {
      values: valuesOf(parts),
      time: time.length === 2 && time[0] <= time[1] ? [time[0], time[1]] : null,
      since: Number.isInteger(since) && since > 0 ? since : null,
      only: text("only") === "selection",
    },
    query: text("q"),
    mode: /** @type {Mode} */ (one("mode", modes, start.mode)),
    like: text("like"),
    panel: /** @type {Panel} */ (one("panel", panels, "")),
    tab: /** @type {Tab} */ (one("tab", tabs, start.tab)),
    id: text("id"),
    run: text("run"),
    order: /^[a-z]+\.(asc|desc)$/.test(text("order")) ? text("order") : start.order,
    area: area.length >= 6 && area.length % 2 === 0 ? area : [],
    added: text("added").split(",").filter((id) => /^[0-9a-f]{32}$/.test(id)),
    a: texts("a"),
    b: texts("b"),
    compare: text("compare"),
  };
}

/** @param {URLSearchParams} parts */
function valuesOf(parts) {
  /** @type {Record<string, string[]>} */
  const values = {};
  for (const [name, value] of parts) {
    if (!name.startsWith("f.") || name.length < 3) continue;
    const column = name.slice(2), list = (values[column] ??= []);
    if (list.length < mostValues && !list.includes(value)) list.push(value.slice(0, longest));
  }
  return values;
}

/** The numbers of a list, none if one of them is no number. @param {string} text */
function numbers(text) {
  const found = text ? text.split(",").map((part) => (part.trim() ? Number(part) : NaN)) : [];
  return found.every(Number.isFinite) ? found : [];
}
