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
  const names = column.values;
  return { codes: inkCodes(column.codes, Math.min(255, Math.max(coloured, name === "type" ? 64 : 0))), pixels: palette((code) => (code < names.length ? inkOf(name, names[code], code) : other), 255) };
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
  return inkOf(column, value, store.columns.value.get(column)?.values.indexOf(value) ?? -1);
}
