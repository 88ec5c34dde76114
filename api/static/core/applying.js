// Applies filters to the columns of a snapshot.

import { Sieve } from "./sieve.js";

/** @typedef {import("./sieve.js").Codes} Codes */
/** @typedef {{readonly name: string, readonly values: readonly string[], readonly counts: readonly number[], readonly codes: Codes | null, readonly missing?: number}} Column `codes`: null until they are loaded; 65534: another value, 65535: none (`missing` rows) */
/** @typedef {{readonly n: number, readonly time: Float32Array, readonly start: number}} Rows */
/** @typedef {{readonly columns: ReadonlyMap<string, Column>, readonly filters: import("./filters.js").Filters, readonly flags: ReadonlyMap<string, Uint8Array>, readonly selected: Uint8Array | null, readonly leavesOf: (topic: string) => readonly string[]}} Wanted */

export const otherCode = 65534, noCode = 65535;

/** Filters of a snapshot that are applied one by one: those that did not change cost nothing. */
export class Applied {
  /** @param {Rows} rows */
  constructor(rows) {
    this.rows = rows;
    this.sieve = new Sieve(rows.n);
    /** @type {Map<string, unknown[]>} */
    this.last = new Map();
  }

  /**
   * Brings the sieve up to date.
   * @param {Wanted} wanted
   * @returns {string[]} what has to be loaded first: columns, `since:N`, `tag:NAME`
   */
  update(wanted) {
    const { rows, sieve } = this, { filters, flags } = wanted;
    /** @type {string[]} */
    const missing = [];
    /** @type {Map<string, unknown[]>} */
    const now = new Map();
    const apply = (/** @type {string} */ name, /** @type {unknown[]} */ depends, /** @type {() => void} */ run) => {
      now.set(name, depends);
      const before = this.last.get(name);
      if (!before || before.length !== depends.length || depends.some((value, i) => value !== before[i])) run();
    };
    for (const [name, values] of Object.entries(filters.values)) {
      if (name === "tag") {
        const found = values.map((tag) => flags.get(`tag:${tag}`));
        if (found.every((one) => one !== undefined)) apply(name, found, () => sieve.keepCodes(name, anyOf(/** @type {Uint8Array[]} */ (found), rows.n), yes));
        else missing.push(...values.map((tag) => `tag:${tag}`));
        continue;
      }
      const column = wanted.columns.get(name);
      if (column?.codes) apply(name, [values, column.codes, name === "topic" && wanted.leavesOf], () => sieve.keepCodes(name, /** @type {Codes} */ (column.codes), allowed(column, name === "topic" ? values.flatMap(wanted.leavesOf) : values)));
      else missing.push(name);
    }
    const { time, since } = filters;
    if (time) apply("time", [time[0], time[1]], () => sieve.keepRange("time", rows.time, Math.max(0, time[0] - rows.start), time[1] - rows.start));
    if (since !== null) {
      const fresh = flags.get(`since:${since}`);
      if (fresh) apply("since", [fresh], () => sieve.keepCodes("since", fresh, yes));
      else missing.push(`since:${since}`);
    }
    const { selected } = wanted;
    if (filters.only && selected) apply("only", [selected], () => sieve.keepCodes("only", selected, yes));
    for (const name of this.last.keys()) if (!now.has(name)) sieve.clear(name);
    this.last = now;
    return missing;
  }
}

const yes = Uint8Array.of(0, 1);

/** @param {Column} column @param {readonly string[]} values @returns {Uint8Array} 1 at the codes of these values */
export function allowed(column, values) {
  const table = new Uint8Array(65536), at = new Map(column.values.map((value, i) => [value, i]));
  for (const value of values) {
    const code = at.get(value) ?? (value === "" ? noCode : -1);
    if (code >= 0) table[code] = 1;
  }
  return table;
}

/** @param {readonly Uint8Array[]} flags @param {number} n */
function anyOf(flags, n) {
  if (flags.length === 1) return flags[0];
  const all = new Uint8Array(n);
  for (const one of flags) for (let i = 0; i < n; i++) all[i] |= one[i];
  return all;
}

/**
 * Colour codes of a column's rows, at most 256: the values' own places for the first ones, the last code for the rest.
 * @param {Codes} codes
 * @param {number} coloured
 */
export function inkCodes(codes, coloured) {
  const small = new Uint8Array(codes.length);
  for (let i = 0; i < codes.length; i++) small[i] = codes[i] < coloured ? codes[i] : 255;
  return small;
}

/** Colour codes of times: 0 … 254 over the range, 255 without a time. @param {Float32Array} time @param {number} span */
export function timeCodes(time, span) {
  const codes = new Uint8Array(time.length), step = 254 / Math.max(span, 1e-6);
  for (let i = 0; i < time.length; i++) codes[i] = time[i] < 0 ? 255 : time[i] * step;
  return codes;
}
