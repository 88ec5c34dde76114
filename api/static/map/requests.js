// What the map page asks of the server.

import { ask, askBytes, root } from "../ui/ask.js";

export const dataset = decodeURIComponent(location.pathname.replace(/\/$/, "").split("/").at(-1) ?? "");
const at = encodeURIComponent(dataset);
export const base = `map/${at}`, data = `datasets/${at}`;
export { root };

/** @typedef {{name: string, count: number}} Entry */
/**
 * @typedef {{dataset: string, snapshot: number, version: string, layout: number, created: string, rows: number, bounds: import("../core/view.js").Bounds, types: Entry[], sources: Entry[], topics: Entry[],
 *   time: {min: number, span: number, missing: number}, fresh: number, since: number | null, labels: {text: string, x: number, y: number, level: number}[], points: {url: string, columns: {name: string, type: "f4" | "u1", offset: number}[]}}} Summary
 */
/** @typedef {{snapshot: number | null, version: string | null, rows: number, created: string | null, indexing?: boolean, step?: string, progress?: number | null, waiting: number}} Current */
/** @typedef {{id: string, row: number, filename: string, type: string, text: string, timestamp: string | null, iteration: number, idx_in_iteration: number, extra?: Record<string, unknown>, tags?: Tagged[]}} RecordOf */
/** @typedef {{tag: string, note?: string | null, created_at?: string}} Tagged */
/** @typedef {{tag: string, count: number, note?: string | null}} Tag */
/** @typedef {{run: string, key?: string, filename: string, start: string | null, end: string | null, seconds: number | null, records: number, errors: number, outcome: string | null, score: number | null, tokens: number | null, cost: number | null, model: string | null, tool: string | null, project: string | null}} Run */
/** @typedef {{id: string, row: number | null, iteration: number, idx_in_iteration: number, type: string, created_at: string | null, text: string, cut: boolean, failed: boolean, failure?: string | null, topic?: number | null, tool?: string | null}} Step */
/** @typedef {{id: string, name: string, count: number}} Facet */

/** @param {readonly (readonly [string, string])[]} pairs */
export const query = (pairs) => new URLSearchParams(pairs.map(([name, value]) => [name, value])).toString();

/** @returns {Promise<Current>} */
export const current = () => ask(`${base}/current.json`);
/** @returns {Promise<Summary>} */
export const summary = () => ask(`${base}/snapshot.json`);
/** @param {Summary} of @returns {Promise<ArrayBuffer>} */
export const points = (of) => askBytes(`${base}/${of.points.url}`);
/** @param {number} snapshot @returns {Promise<{columns: {name: string, values: {value: string, count: number}[], others: number, missing: number}[]}>} */
export const facets = (snapshot) => ask(`${base}/facets.json?snapshot=${snapshot}`);
/** @param {number} snapshot @param {string} name */
export const facetCodes = async (snapshot, name) => new Uint16Array(await askBytes(`${base}/facets/${encodeURIComponent(name)}.bin?snapshot=${snapshot}`));
/** @param {number} snapshot @param {number} since */
export const freshSince = async (snapshot, since) => new Uint8Array(await askBytes(`${base}/fresh.bin?snapshot=${snapshot}&since=${since}`));
/** @param {number} snapshot @param {string} tag */
export const taggedRows = async (snapshot, tag) => new Uint8Array(await askBytes(`${base}/tagged.bin?${query([["snapshot", String(snapshot)], ["tag", tag]])}`));
/** @returns {Promise<{snapshots: {snapshot: number, created: string, rows: number}[]}>} */
export const snapshots = () => ask(`${base}/snapshots.json`);
/** @param {number | null} since @returns {Promise<{topics: import("../core/tree.js").Topic[]}>} */
export const topics = (since) => ask(`${data}/topics${since ? `?since=${since}` : ""}`);
/** @param {number} snapshot @param {readonly number[]} rows @returns {Promise<RecordOf[]>} */
export const records = (snapshot, rows) => ask(`${base}/records?snapshot=${snapshot}&rows=${rows.join(",")}`);
/** @param {string} id @returns {Promise<RecordOf>} */
export const record = (id) => ask(`${data}/records/${encodeURIComponent(id)}`);
/** @param {number} snapshot @param {string} id @returns {Promise<{row: number}>} */
export const rowOf = (snapshot, id) => ask(`${base}/row?${query([["id", id], ["snapshot", String(snapshot)]])}`);
/** @param {number} snapshot @param {number} row @returns {Promise<{filename: string, rows: number[]}>} */
export const runRows = (snapshot, row) => ask(`${base}/run?snapshot=${snapshot}&row=${row}`);
/** @param {readonly (readonly [string, string])[]} pairs @returns {Promise<{rows: number[], total: number, is_cut: boolean}>} */
export const search = (pairs) => ask(`${base}/search?${query(pairs)}`);
/** @param {readonly (readonly [string, string])[]} pairs @returns {Promise<{runs: Run[], total: number, next_offset: number | null}>} */
export const runs = (pairs) => ask(`${data}/runs?${query(pairs)}`);
/** @param {string} name @param {number} offset @param {number} limit @returns {Promise<{run: Run, records: Step[], next_offset: number | null}>} */
export const run = (name, offset, limit) => ask(`${data}/runs/${name.split("/").map(encodeURIComponent).join("/")}?offset=${offset}&limit=${limit}`);
/** @returns {Promise<{tags: Tag[]}>} */
export const tags = () => ask(`${data}/tags`);
