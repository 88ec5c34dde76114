// Loads what the store asks for, and follows new snapshots.

import { treeOf } from "../core/tree.js";
import { plural } from "../core/text.js";
import { spelled } from "../core/filters.js";
import { ask, Refused } from "../ui/ask.js";
import { batch, effect, untracked } from "../vendor/preact/preact.js";
import * as server from "./requests.js";
import { fetchSnapshot } from "./snapshot.js";

/** @typedef {import("./store.js").Store} Store */

const pollMs = 3000, busyMs = 1000, retryMs = 5000;

/** @param {Store} store */
export function startLoading(store) {
  const needed = new Needed(store);
  effect(() => {
    const wanted = [...(store.passing.value?.missing ?? []), store.colour.value, "topic"];
    untracked(() => wanted.forEach((name) => needed.ensure(name)));
  });
  effect(() => void [store.snapshot.value, store.query.value, store.mode.value, store.like.value, JSON.stringify(spelled(store.filters.value)), untracked(() => search(store))]);
  effect(() => void [store.snapshot.value, store.id.value, untracked(() => locate(store))]);
  effect(() => void [store.snapshot.value, store.row.value, untracked(() => follow(store))]);
  effect(() => void [store.snapshot.value, store.added.value, untracked(() => locateAdded(store))]);
  effect(() => void [store.snapshot.value, store.compare.value, untracked(() => loadComparison(store))]);
  effect(() => void [store.snapshot.value, store.filters.value.since, untracked(() => loadTopics(store))]);
  return { poll: () => poll(store, needed), ensure: (/** @type {string} */ name) => needed.ensure(name), renewTags: () => needed.renewTags() };
}

/** @param {Store} store @param {Needed} needed */
async function poll(store, needed) {
  let wait = pollMs;
  try {
    const now = await server.current(), before = store.snapshot.peek()?.summary;
    store.now.value = now;
    if (now.version && now.version !== before?.version) await load(store, needed, before);
    store.trouble.value = { text: "", status: -1 };
    if (now.indexing) wait = busyMs;
  } catch (error) {
    const status = error instanceof Refused ? error.status : -1;
    store.trouble.value = { text: String(/** @type {Error} */ (error).message), status };
    wait = status === 401 || status === 404 ? 6 * retryMs : retryMs;
  }
  document.body.dataset.ready = store.snapshot.peek() ? "yes" : "no";
  setTimeout(() => poll(store, needed), document.hidden ? 5 * wait : wait);
}

/** @param {Store} store @param {Needed} needed @param {server.Summary} [before] */
async function load(store, needed, before) {
  const { snapshot, columns } = await fetchSnapshot();
  batch(() => {
    needed.renew();
    store.row.value = -1;
    store.path.value = [];
    store.addedRows.value = [];
    store.hovered.value = -1;
    store.flags.value = new Map();
    store.difference.value = null;
    store.isComplete.value = false;
    store.columns.value = columns;
    store.snapshot.value = snapshot;
  });
  const { fresh, since, snapshot: number } = snapshot.summary;
  if (before && fresh && since) store.say(`Snapshot ${number}: ${plural(fresh, "new record")}`, { action: "Show only new", run: () => store.wantNew(since) });
  void needed.renewTags();
  server.snapshots().then((found) => (store.snapshots.value = found.snapshots), () => (store.snapshots.value = []));
}

/** Columns and flags of the newest snapshot, each asked for once. */
class Needed {
  /** @param {Store} store */
  constructor(store) {
    this.store = store;
    /** @type {Set<string>} */
    this.asked = new Set();
    /** @type {Promise<Map<string, {values: {value: string, count: number}[]}>> | null} */
    this.known = null;
  }

  renew() {
    this.asked.clear();
    this.known = null;
  }

  /** The columns that the server offers for this snapshot; without codes until they are needed. */
  offered() {
    const { store } = this, snapshot = store.snapshot.peek();
    this.known ??= server.facets(snapshot?.summary.snapshot ?? 0).then(({ columns }) => {
      if (store.snapshot.peek() === snapshot) {
        const added = columns.filter(({ name, values }) => !store.columns.peek().has(name) && values.length > 0);
        store.columns.value = new Map([...store.columns.peek(), ...added.map(({ name, values, missing }) => /** @type {const} */ ([name, { name, values: values.map((one) => String(one.value)), counts: values.map((one) => one.count), codes: null, missing }]))]);
      }
      return new Map(columns.map((column) => [column.name, column]));
    }).finally(() => (store.isComplete.value = true));
    return this.known;
  }

  /** @param {string} name of a column, `since:N` or `tag:NAME` */
  async ensure(name) {
    const { store } = this, snapshot = store.snapshot.peek();
    if (!snapshot || this.asked.has(name) || store.columns.peek().get(name)?.codes) return;
    this.asked.add(name);
    const number = snapshot.summary.snapshot, [kind, ...rest] = name.split(":"), of = rest.join(":");
    try {
      if (kind === "since" && of) this.flag(snapshot, name, await freshFlags(snapshot, Number(of)));
      else if (kind === "tag" && of) this.flag(snapshot, name, await server.taggedRows(number, of));
      else if ((await this.offered()).has(name)) {
        const codes = await server.facetCodes(number, name), column = store.columns.peek().get(name);
        if (store.snapshot.peek() === snapshot && column) store.columns.value = new Map([...store.columns.peek(), [name, { ...column, codes }]]);
      }
    } catch (error) {
      if (name !== "topic") store.fail(error);
    }
  }

  /** @param {import("./snapshot.js").Snapshot} snapshot @param {string} name @param {Uint8Array} rows */
  flag(snapshot, name, rows) {
    if (this.store.snapshot.peek() === snapshot) this.store.flags.value = new Map([...this.store.flags.peek(), [name, rows]]);
  }

  async renewTags() {
    const { store } = this;
    store.tags.value = await server.tags().then((found) => found.tags, () => []);
    for (const name of [...this.asked].filter((one) => one.startsWith("tag:"))) this.asked.delete(name);
    store.flags.value = new Map([...store.flags.peek()].filter(([name]) => !name.startsWith("tag:")));
  }
}

/** @param {import("./snapshot.js").Snapshot} snapshot @param {number} since */
const freshFlags = async (snapshot, since) => (since === snapshot.summary.since ? snapshot.fresh : server.freshSince(snapshot.summary.snapshot, since));

/** @param {Store} store */
async function search(store) {
  const snapshot = store.snapshot.peek(), text = store.query.peek(), like = store.like.peek();
  if (!snapshot || (!text && !like)) {
    if (store.found.peek() !== store.nothingFound) store.found.value = store.nothingFound;
    return;
  }
  store.found.value = { ...store.found.peek(), isPending: true, problem: "" };
  const asked = store.place.peek(), by = like ? "meaning" : asked.mode;
  const wanted = /** @type {[string, string][]} */ ([["snapshot", String(snapshot.summary.snapshot)], ["by", by], like ? ["id", like] : ["q", text], ...spelled(asked.filters)]);
  const answer = await server.search(wanted).then(
    (found) => ({ rows: found.rows, total: found.total, isCut: found.is_cut, problem: "", isPending: false }),
    (/** @type {Error} */ error) => ({ ...store.nothingFound, problem: error.message }),
  );
  const now = store.place.peek();
  const isSame = store.snapshot.peek() === snapshot && now.query === text && now.like === like && now.mode === asked.mode && now.filters === asked.filters;
  if (isSame) store.found.value = answer;
}

/** The row of the record in the address. @param {Store} store */
async function locate(store) {
  const snapshot = store.snapshot.peek(), id = store.id.peek();
  if (!snapshot || !id) {
    if (!id) store.row.value = -1;
    return;
  }
  if (store.row.peek() >= 0) return; // whoever set the id knew the row
  const row = await server.rowOf(snapshot.summary.snapshot, id).then((found) => found.row, () => -1);
  if (store.snapshot.peek() === snapshot && store.id.peek() === id) store.row.value = row;
}

/** The rows of the run that the record belongs to. @param {Store} store */
async function follow(store) {
  const snapshot = store.snapshot.peek(), row = store.row.peek();
  if (!snapshot || row < 0) {
    if (store.path.peek().length) store.path.value = [];
    return;
  }
  if (store.path.peek().includes(row)) return;
  const run = await server.runRows(snapshot.summary.snapshot, row).catch(() => null);
  if (store.snapshot.peek() === snapshot && store.row.peek() === row) store.path.value = run?.rows ?? [];
}

/** @param {Store} store */
async function locateAdded(store) {
  const snapshot = store.snapshot.peek(), ids = store.added.peek();
  if (!snapshot || ids.length === store.addedRows.peek().length) return;
  const rows = await Promise.all(ids.map((id) => server.rowOf(snapshot.summary.snapshot, id).then((found) => found.row, () => -1)));
  if (store.snapshot.peek() === snapshot && store.added.peek() === ids) store.addedRows.value = rows;
}

/** @param {Store} store */
async function loadTopics(store) {
  const snapshot = store.snapshot.peek(), since = store.filters.peek().since ?? snapshot?.summary.since ?? null;
  if (!snapshot) return;
  const found = await server.topics(since).catch(() => server.topics(null)).catch(() => ({ topics: [] }));
  if (store.snapshot.peek() === snapshot) store.tree.value = treeOf(found.topics);
}

/** @param {Store} store */
async function loadComparison(store) {
  const snapshot = store.snapshot.peek(), id = store.compare.peek();
  if (!snapshot || !id) {
    batch(() => {
      store.compared.value = null;
      store.difference.value = null;
    });
    return;
  }
  try {
    const known = store.compared.peek(), compared = known?.id === id ? known : await ask(`${server.data}/compare/${encodeURIComponent(id)}`);
    const { codes } = await ask(`${server.base}/difference.json?${server.query([["compare", id]])}`);
    if (store.snapshot.peek() !== snapshot || store.compare.peek() !== id) return;
    batch(() => {
      if (known !== compared) [store.a.value, store.b.value] = [compared.a.filters, compared.b.filters];
      store.compared.value = compared;
      store.difference.value = codes.length === snapshot.n ? Uint8Array.from(codes) : null;
    });
  } catch (error) {
    store.comparing.value = String(/** @type {Error} */ (error).message);
  }
}
