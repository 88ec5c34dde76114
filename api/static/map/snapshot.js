// One snapshot as the page has it in memory.

import { Grid } from "../core/grid.js";
import { shuffled } from "../core/sieve.js";
import { points, summary } from "./requests.js";

/** @typedef {import("../core/applying.js").Column} Column */
/**
 * Columns of points are (n,), rows in the snapshot's order; `order` is a fixed random one.
 * @typedef {{readonly summary: import("./requests.js").Summary, readonly n: number, readonly x: Float32Array, readonly y: Float32Array, readonly time: Float32Array, readonly start: number,
 *   readonly fresh: Uint8Array, readonly grid: Grid, readonly order: Uint32Array}} Snapshot
 */

const arrays = { f4: Float32Array, u1: Uint8Array };

/** The newest snapshot, and the columns that come with it. @returns {Promise<{snapshot: Snapshot, columns: ReadonlyMap<string, Column>}>} */
export async function fetchSnapshot() {
  const about = await summary(), buffer = await points(about), n = about.rows;
  const column = (/** @type {string} */ name) => {
    const found = about.points.columns.find((one) => one.name === name);
    return found ? new arrays[found.type](buffer, found.offset, n) : new Uint8Array(n);
  };
  const legend = (/** @type {string} */ name, /** @type {import("./requests.js").Entry[]} */ entries) =>
    /** @type {const} */ ([name, { name, values: entries.map((entry) => entry.name), counts: entries.map((entry) => entry.count), codes: /** @type {Uint8Array} */ (column(name)) }]);
  const x = /** @type {Float32Array} */ (column("x")), y = /** @type {Float32Array} */ (column("y"));
  const snapshot = {
    summary: about, n, x, y, time: /** @type {Float32Array} */ (column("time")), start: about.time.min, fresh: /** @type {Uint8Array} */ (column("fresh")),
    grid: new Grid(x, y, about.bounds), order: shuffled(n),
  };
  return { snapshot, columns: new Map([legend("type", about.types), legend("source", about.sources)]) };
}
