// What the map page knows: one state, changed by the functions below alone. The address is written from `place`, and read into it.

import { Applied } from "../core/applying.js";
import { isFiltered, noFilters, toggled, withValues, hidden } from "../core/filters.js";
import { rowsInside } from "../core/lasso.js";
import { start } from "../core/place.js";
import { wordsOf } from "../core/text.js";
import { batch, computed, signal } from "../vendor/preact/preact.js";

/** @typedef {import("../core/place.js").Place} Place */
/** @typedef {import("./snapshot.js").Snapshot} Snapshot */
/** @typedef {import("./requests.js").RecordOf} RecordOf */
/** @typedef {{readonly rows: readonly number[], readonly total: number, readonly isCut: boolean, readonly problem: string, readonly isPending: boolean}} Found */
/** @typedef {{readonly a: SetSize, readonly b: SetSize, readonly id: string, readonly summary: readonly string[], readonly significant: boolean, readonly p: number, readonly reading: readonly Reading[], readonly topics: readonly TopicLift[], readonly cautions: readonly string[]}} Compared */
/** @typedef {{readonly filters: readonly string[], readonly runs: number, readonly records: number}} SetSize */
/** @typedef {{readonly id: string, readonly side: "a" | "b", readonly runs_a: number, readonly runs_b: number, readonly q: number, readonly p: number, readonly text: string, readonly type: string, readonly filename: string, readonly explained_by: readonly string[]}} Reading */
/** @typedef {{readonly id: number, readonly name: string, readonly level: number, readonly runs_a: number, readonly runs_b: number, readonly lift: number, readonly q: number}} TopicLift */
/** @typedef {{readonly text: string, readonly action?: string, readonly run?: () => void, readonly isBad?: boolean}} Notice */
/** @typedef {ReturnType<typeof createStore>} Store */

/** @type {Found} */
const nothingFound = { rows: [], total: 0, isCut: false, problem: "", isPending: false };

/** @param {Place} from */
export function createStore(from) {
  const { at, colour, filters, query, mode, like, panel, tab, id, run, order, area, added, a, b, compare } = signals(from);
  const snapshot = signal(/** @type {Snapshot | null} */ (null));
  const columns = signal(/** @type {ReadonlyMap<string, import("./snapshot.js").Column>} */ (new Map()));
  const tree = signal(/** @type {import("../core/tree.js").Tree | null} */ (null));
  const flags = signal(/** @type {ReadonlyMap<string, Uint8Array>} */ (new Map()));
  const row = signal(-1), addedRows = signal(/** @type {readonly number[]} */ ([]));
  const found = signal(nothingFound), difference = signal(/** @type {Uint8Array | null} */ (null));

  const selection = computed(() => selected(snapshot.value, area.value, addedRows.value));
  const leavesOf = computed(() => {
    const nodes = tree.value?.nodes;
    return (/** @type {string} */ topic) => nodes?.get(Number(topic))?.leaves.map(String) ?? [topic];
  });
  const applied = computed(() => (snapshot.value ? new Applied(snapshot.value) : null));
  const passing = computed(() => {
    const now = applied.value, points = snapshot.value;
    if (!now || !points) return null;
    const missing = now.update({ columns: columns.value, filters: filters.value, flags: flags.value, selected: selection.value.mask, leavesOf: leavesOf.value });
    return { sieve: now.sieve, rows: now.sieve.passing(points.order), missing };
  });
  /** @type {Map<string, import("../vendor/preact/preact.js").ReadonlySignal<Uint32Array | null>>} */
  const counted = new Map();

  return {
    at, colour, filters, query, mode, like, panel, tab, id, run, order, area, added, a, b, compare,
    snapshot, columns, tree, flags, row, addedRows, found, difference, selection, leavesOf, passing,
    foundRows: computed(() => new Set(found.value.rows)),
    /** How many of the shown rows each code of a column has, were the column not filtered. @param {string} name */
    counts(name) {
      const known = counted.get(name) ?? computed(() => {
        const column = columns.value.get(name), now = passing.value;
        return now && column?.codes ? now.sieve.counts(name, column.codes, column.codes instanceof Uint8Array ? 256 : 65536) : null;
      });
      counted.set(name, known);
      return known.value;
    },
    isComplete: signal(false), // are all columns known?
    path: signal(/** @type {readonly number[]} */ ([])),
    hovered: signal(-1),
    hoveredTopic: signal(-1),
    tool: signal(/** @type {"move" | "lasso"} */ ("move")),
    drawing: signal(/** @type {readonly number[]} */ ([])), // the lasso while it is drawn, map units
    now: signal(/** @type {import("./requests.js").Current | null} */ (null)),
    trouble: signal({ text: "", status: -1 }),
    snapshots: signal(/** @type {{snapshot: number, created: string, rows: number}[]} */ ([])),
    tags: signal(/** @type {import("./requests.js").Tag[]} */ ([])),
    compared: signal(/** @type {Compared | null} */ (null)),
    comparing: signal(""),
    notice: signal(/** @type {Notice | null} */ (null)),
    words: computed(() => (like.value || mode.value === "meaning" ? [] : wordsOf(query.value))),
    isSearching: computed(() => Boolean(query.value || like.value)),
    isFiltered: computed(() => isFiltered(filters.value)),
    place: computed(() => /** @type {Place} */ ({
      at: at.value, colour: colour.value, filters: filters.value, query: query.value, mode: mode.value, like: like.value, panel: panel.value, tab: tab.value, id: id.value, run: run.value, order: order.value, area: area.value, added: added.value, a: a.value, b: b.value, compare: compare.value,
    })),

    /** @param {Place} next */
    go(next) {
      batch(() => {
        if (next.id !== id.peek()) row.value = -1;
        for (const [name, one] of Object.entries({ colour, filters, query, mode, like, panel, tab, id, run, order, area, added, a, b, compare })) {
          const value = next[/** @type {keyof Place} */ (name)];
          if (JSON.stringify(one.peek()) !== JSON.stringify(value)) /** @type {{value: unknown}} */ (one).value = value;
        }
        if (next.at) at.value = next.at;
      });
    },
    /** @param {string} column @param {string} value */
    toggle(column, value) { filters.value = toggled(filters.value, column, value); },
    /** @param {string} column @param {string} value @param {readonly string[]} all */
    hide(column, value, all) { filters.value = hidden(filters.value, column, value, all); },
    /** @param {string} column @param {readonly string[]} values */
    want(column, values) { filters.value = withValues(filters.value, column, values); },
    /** @param {readonly [number, number] | null} time seconds since 1970 */
    wantTime(time) { filters.value = { ...filters.value, time }; },
    /** @param {number | null} since */
    wantNew(since) { filters.value = { ...filters.value, since }; },
    /** @param {boolean} only */
    wantSelection(only) { filters.value = { ...filters.value, only }; },
    clearFilters() { filters.value = noFilters; },
    /** @param {readonly number[]} outline */
    select(outline) {
      batch(() => {
        area.value = outline;
        added.value = [];
        addedRows.value = [];
        if (outline.length) panel.value = "selection";
        else if (filters.value.only) filters.value = { ...filters.value, only: false };
        if (!outline.length && panel.value === "selection") panel.value = "";
      });
    },
    /** @param {string} text @param {import("../core/place.js").Mode} [by] */
    search(text, by = mode.peek()) {
      batch(() => {
        query.value = text.trim();
        mode.value = by;
        like.value = "";
        panel.value = text.trim() ? "results" : panel.value === "results" ? "" : panel.value;
      });
    },
    /** @param {string} id */
    moreLike(id) {
      batch(() => {
        like.value = id;
        query.value = "";
        panel.value = "results";
      });
    },
    /** @param {string} text @param {{action?: string, run?: () => void, isBad?: boolean}} [more] */
    say(text, more = {}) { this.notice.value = { text, ...more }; },
    /** @param {unknown} error */
    fail(error) { this.notice.value = { text: String(/** @type {Error} */ (error).message ?? error), isBad: true }; },
    nothingFound,
  };
}

/** @param {Place} from @returns {{[Name in keyof Place]: import("../vendor/preact/preact.js").Signal<Place[Name]>}} */
const signals = (from) => /** @type {any} */ (Object.fromEntries(Object.keys(start).map((name) => [name, signal(from[/** @type {keyof Place} */ (name)])])));

/** @param {Snapshot | null} points @param {readonly number[]} area @param {readonly number[]} more */
function selected(points, area, more) {
  if (!points || (!area.length && !more.length)) return { rows: new Uint32Array(0), mask: null };
  const mask = new Uint8Array(points.n);
  for (const row of rowsInside(area, points.x, points.y)) mask[row] = 1;
  for (const row of more) if (row >= 0 && row < points.n) mask[row] ^= 1; // a click inside the outline takes a point out
  let n = 0;
  for (let i = 0; i < points.n; i++) n += mask[i];
  const rows = new Uint32Array(n);
  for (let i = 0, k = 0; i < points.n; i++) if (mask[i]) rows[k++] = i;
  return { rows, mask };
}
