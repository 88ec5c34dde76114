// Filters as values: which values of each column are wanted, which time, what is new. And how they are written for the server.

/**
 * `values` by column: alternatives, none listed means all. `time` in seconds since 1970. `since`: the number of a snapshot that did not
 * have the records. `only`: the selected records alone.
 * @typedef {{readonly values: Readonly<Record<string, readonly string[]>>, readonly time: readonly [number, number] | null, readonly since: number | null, readonly only: boolean}} Filters
 */

/** @type {Filters} */
export const noFilters = { values: {}, time: null, since: null, only: false };

/** Columns that the server knows by name; others are extra fields. */
const named = ["type", "run", "topic", "tool", "model", "project", "outcome", "tag"];
const globbed = /[*?[\]]/g;

/** @param {Filters} filters @param {string} column @returns {readonly string[]} */
export const wanted = (filters, column) => filters.values[column] ?? [];

/** Is anything kept out? @param {Filters} filters */
export const isFiltered = (filters) => filters.time !== null || filters.since !== null || filters.only || Object.keys(filters.values).length > 0;

/**
 * The filters with other values of one column.
 * @param {Filters} filters
 * @param {string} column
 * @param {readonly string[]} values
 * @returns {Filters}
 */
export function withValues(filters, column, values) {
  const chosen = { ...filters.values };
  delete chosen[column];
  return { ...filters, values: values.length ? { ...chosen, [column]: values } : chosen };
}

/**
 * Adds a value, or takes it away.
 * @param {Filters} filters
 * @param {string} column
 * @param {string} value
 */
export function toggled(filters, column, value) {
  const now = wanted(filters, column);
  return withValues(filters, column, now.includes(value) ? now.filter((one) => one !== value) : [...now, value]);
}

/**
 * Hides a value, or shows it again: all others are wanted.
 * @param {Filters} filters
 * @param {string} column
 * @param {string} value
 * @param {readonly string[]} all values of the column
 */
export function hidden(filters, column, value, all) {
  const now = wanted(filters, column), shown = now.length ? now : all;
  const next = shown.includes(value) ? shown.filter((one) => one !== value) : [...shown, value];
  return withValues(filters, column, next.length === all.length ? [] : next);
}

/**
 * The filters as `[name, value]` for the server, as far as it knows them: what is selected on the map is the page's alone.
 * @param {Filters} filters
 * @returns {[string, string][]}
 */
export function spelled(filters) {
  /** @type {[string, string][]} */
  const pairs = [];
  for (const [column, values] of Object.entries(filters.values)) {
    for (const value of values) {
      if (value === "") continue; // records without a value: no filter of the server says so
      if (column === "source") pairs.push(["filename", `${value.replace(globbed, "[$&]")}*`]);
      else if (named.includes(column)) pairs.push([column, value]);
      else pairs.push(["extra", `${column}=${value}`]);
    }
  }
  if (filters.time) pairs.push(["since", isoOf(filters.time[0])], ["until", isoOf(filters.time[1] + 1)]);
  if (filters.since !== null) pairs.push(["new_since", String(filters.since)]);
  return pairs;
}

/** @param {number} seconds */
const isoOf = (seconds) => new Date(Math.round(seconds) * 1000).toISOString();

/**
 * The filters as the comparison of two sets takes them: NAME=VALUE.
 * @param {Filters} filters
 */
export const phrases = (filters) => spelled(filters).map(([name, value]) => (name === "extra" ? value : `${name}=${value}`));
