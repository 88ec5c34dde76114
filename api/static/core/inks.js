// Colours of the map's points that differ clearly on a light and on a dark ground.

import { mix } from "./palette.js";

/** @typedef {import("./palette.js").Rgb} Rgb */

/** @type {Readonly<Record<string, Rgb>>} */
const byType = {
  system: [128, 134, 144], user: [47, 112, 224], assistant: [34, 160, 107], reasoning: [143, 98, 222],
  tool_call: [232, 150, 30], tool_result: [18, 160, 180], error: [224, 58, 62], summary: [214, 84, 160], span: [88, 104, 200],
};
/** @type {Readonly<Record<string, Rgb>>} */
const byOutcome = { pass: [34, 160, 107], fail: [224, 58, 62] };
/** @type {readonly Rgb[]} */
const series = [
  [47, 112, 224], [232, 150, 30], [34, 160, 107], [214, 84, 160], [18, 160, 180], [143, 98, 222],
  [196, 120, 70], [124, 168, 40], [224, 88, 70], [88, 104, 200], [170, 140, 30], [100, 130, 150],
];
/** Neither green nor red, which mean pass and fail. @type {readonly Rgb[]} */
const besideOutcomes = [series[0], series[1], series[4], series[5], series[10], series[11]];
/** @type {readonly Rgb[]} */
const stops = [[62, 40, 120], [58, 92, 166], [32, 144, 140], [110, 186, 80], [245, 205, 50]];
/** Only b, alike, only a. @type {readonly [Rgb, Rgb, Rgb]} */
export const ends = [[0, 114, 178], [196, 198, 204], [213, 94, 0]];
/** @type {Rgb} */
export const other = [140, 144, 150];
export const coloured = series.length; // values of a column that have a colour of their own

/**
 * The colour of a value: `at` is its place among the values of its column.
 * @param {string} column
 * @param {string} value
 * @param {number} at
 * @returns {Rgb}
 */
export function inkOf(column, value, at) {
  if (column === "type" && byType[value]) return byType[value];
  if (column === "outcome" && at >= 0) return byOutcome[value] ?? besideOutcomes[at % besideOutcomes.length];
  if (at < 0 || at >= coloured || value === "other" || (column === "topic" && value === "-1")) return other;
  return series[at];
}

/** The colour of a time: `at` is its place (0 … 1) in the time range. @param {number} at @returns {Rgb} */
export function ramp(at) {
  const stop = Math.min(0.9999, Math.max(0, at)) * (stops.length - 1), from = Math.floor(stop);
  return mix(stops[from], stops[from + 1], stop - from);
}

/** The colour of a code: 1 (only b) over 128 (alike) to 255 (only a). @param {number} code @returns {Rgb} */
export function differenceInk(code) {
  const at = (Math.max(1, code) - 128) / 127;
  return mix(ends[1], at < 0 ? ends[0] : ends[2], Math.min(1, Math.abs(at) * 1.3));
}
