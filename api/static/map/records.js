// Records by row, and what opening one does.

import { batch } from "../vendor/preact/preact.js";
import * as server from "./requests.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./requests.js").RecordOf} RecordOf */

const most = 3000; // records in memory
/** @type {Map<string, Promise<RecordOf>>} */
const known = new Map();

/** @param {Store} store @param {number} row @returns {Promise<RecordOf>} its text may be cut */
export function recordAt(store, row) {
  const number = store.snapshot.peek()?.summary.snapshot ?? 0, key = `${store.snapshot.peek()?.summary.version} ${row}`;
  let found = known.get(key);
  if (!found) {
    found = server.records(number, [row]).then(([record]) => record);
    found.catch(() => known.delete(key));
    if (known.size > most) known.clear();
    known.set(key, found);
  }
  return found;
}

/**
 * The records at these rows, asked for together.
 * @param {Store} store
 * @param {readonly number[]} rows
 * @returns {Promise<RecordOf[]>}
 */
export async function recordsAt(store, rows) {
  const summary = store.snapshot.peek()?.summary, key = (/** @type {number} */ row) => `${summary?.version} ${row}`;
  const missing = rows.filter((row) => !known.has(key(row)));
  if (summary && missing.length) for (const record of await server.records(summary.snapshot, missing)) known.set(key(record.row), Promise.resolve(record));
  return Promise.all(rows.map((row) => recordAt(store, row)));
}

/**
 * Opens the record at a row: in the run if that is what is read.
 * @param {Store} store
 * @param {number} row
 */
export async function openRow(store, row) {
  const snapshot = store.snapshot.peek();
  store.row.value = row;
  try {
    const record = await recordAt(store, row);
    if (store.snapshot.peek() !== snapshot || store.row.peek() !== row) return;
    batch(() => {
      store.id.value = record.id;
      const isInRun = store.panel.peek() === "run" && record.filename === store.run.peek();
      if (!isInRun) store.panel.value = "record";
      store.run.value = record.filename;
    });
  } catch (error) {
    store.fail(error);
  }
}

/**
 * Opens a record by its id: on the map if the snapshot has it.
 * @param {Store} store
 * @param {string} id
 * @param {import("../core/place.js").Panel} [panel]
 */
export async function openId(store, id, panel = "record") {
  const snapshot = store.snapshot.peek();
  const row = snapshot ? await server.rowOf(snapshot.summary.snapshot, id).then((found) => found.row, () => -1) : -1;
  if (store.snapshot.peek() !== snapshot) return;
  batch(() => {
    store.row.value = row;
    store.id.value = id;
    store.panel.value = panel;
  });
}

/** @param {Store} store */
export function closeRecord(store) {
  batch(() => {
    store.id.value = "";
    store.row.value = -1;
    store.run.value = "";
    if (["record", "run"].includes(store.panel.peek())) store.panel.value = store.isSearching.peek() ? "results" : store.compared.peek() ? "compare" : "";
  });
}

/** @param {Store} store @param {number} by */
export function step(store, by) {
  const path = store.path.peek(), next = path[path.indexOf(store.row.peek()) + by];
  if (next === undefined) return -1;
  void openRow(store, next);
  return next;
}
