// What colour the points have: a code for each row, and the palette.

import { inkCodes, timeCodes } from "../core/applying.js";
import { coloured, differenceInk, inkOf, other, ramp } from "../core/inks.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("../core/palette.js").Rgb} Rgb */

/**
 * @param {Store} store read as signals
 * @returns {{codes: Uint8Array, pixels: Uint8Array} | null} null while the column is being loaded
 */
export function colouring(store) {
  const snapshot = store.snapshot.value, name = store.colour.value;
  if (!snapshot) return null;
  if (name === "time") return { codes: timeCodes(snapshot.time, snapshot.summary.time.span), pixels: palette((code) => (code === 255 ? other : ramp(code / 254)), 255) };
  if (name === "difference") {
    const codes = store.difference.value;
    return codes && { codes, pixels: palette((code) => (code === 0 ? other : differenceInk(code)), 255, 0) };
  }
  const column = store.columns.value.get(name);
  if (!column?.codes) return null;
  const groups = topicGroups(store);
  if (name === "topic" && groups.length) return { codes: groupCodes(column, column.codes, groups), pixels: palette((code) => (code < groups.length ? inkOf(name, String(groups[code].topic.id), code) : other), 255) };
  const names = column.values;
  return { codes: inkCodes(column.codes, Math.min(255, Math.max(coloured, name === "type" ? 64 : 0))), pixels: palette((code) => (code < names.length ? inkOf(name, names[code], code) : other), 255) };
}

/** The topics that have a colour: the widest groups, all that they hold with them. @param {Store} store */
export const topicGroups = (store) => (store.tree.value?.roots ?? []).slice(0, coloured);

/** @param {import("./snapshot.js").Column} column @param {import("../core/sieve.js").Codes} codes @param {readonly import("../core/tree.js").Node[]} groups */
function groupCodes({ values }, codes, groups) {
  const group = new Map(groups.flatMap((node, i) => node.leaves.map((leaf) => /** @type {const} */ ([leaf, i])))), table = values.map((value) => group.get(Number(value)) ?? 255);
  const small = new Uint8Array(codes.length);
  for (let i = 0; i < codes.length; i++) small[i] = table[codes[i]] ?? 255;
  return small;
}

/**
 * @param {(code: number) => Rgb} ink
 * @param {number} opacity
 * @param {number} [faint] a code that is faint
 */
function palette(ink, opacity, faint = -1) {
  const pixels = new Uint8Array(4 * 256);
  for (let code = 0; code < 256; code++) pixels.set([...ink(code), code === faint ? 64 : opacity], 4 * code);
  return pixels;
}

/** The columns that can give the colour. @param {Store} store @returns {{name: string, title: string}[]} */
export function offeredColours(store) {
  const span = store.snapshot.value?.summary.time.span ?? 0;
  const names = [...store.columns.value.values()].filter((column) => column.values.length > 0).map((column) => column.name);
  return [...names, ...(span > 0 ? ["time"] : []), ...(store.difference.value ? ["difference"] : [])].map((name) => ({ name, title: titleOf(name) }));
}

/** @param {string} column */
export const titleOf = (column) => (column ? column[0].toUpperCase() + column.slice(1).replaceAll("_", " ") : "");

/**
 * How a value is shown.
 * @param {Store} store
 * @param {string} column
 * @param {string} value
 */
export function nameOf(store, column, value) {
  if (column === "topic") return value === "-1" ? "No topic" : (store.tree.value?.nodes.get(Number(value))?.topic.name ?? `Topic ${value}`);
  return value === "" ? "(none)" : value;
}

/** The colour of a value of a column, null if it has none of its own. @param {Store} store @param {string} column @param {string} value @returns {Rgb} */
export function dotOf(store, column, value) {
  const groups = column === "topic" ? topicGroups(store) : [];
  if (groups.length) return inkOf(column, value, groups.findIndex((node) => node.topic.id === Number(value) || node.leaves.includes(Number(value))));
  return inkOf(column, value, store.columns.value.get(column)?.values.indexOf(value) ?? -1);
}
