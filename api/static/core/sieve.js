// Which rows pass the filters, and how many rows each value of a column would have.

/** @typedef {Uint8Array | Uint16Array} Codes a number per row: an index into the values of a column */

/** Filters of one snapshot: each has a bit, set in `failed` for the rows that it keeps out. */
export class Sieve {
  /** @param {number} n rows */
  constructor(n) {
    this.n = n;
    this.failed = new Uint16Array(n);
    /** @type {Map<string, number>} */
    this.bits = new Map();
    /** @type {Set<string>} */
    this.active = new Set();
  }

  /** The bit of a filter, 0 if there are no more: 16 filters at a time. @param {string} name */
  bit(name) {
    let bit = this.bits.get(name);
    if (bit === undefined) {
      bit = this.bits.size < 16 ? 1 << this.bits.size : 0;
      this.bits.set(name, bit);
    }
    return bit;
  }

  /** @param {string} name */
  clear(name) {
    if (!this.active.delete(name)) return;
    const { failed, n } = this, rest = ~this.bit(name) & 0xffff;
    for (let i = 0; i < n; i++) failed[i] &= rest;
  }

  /**
   * Rows pass whose code is allowed.
   * @param {string} name
   * @param {Codes} codes
   * @param {Uint8Array} allowed 1 at each allowed code
   */
  keepCodes(name, codes, allowed) {
    const { failed, n } = this, bit = this.bit(name), rest = ~bit & 0xffff;
    this.active.add(name);
    for (let i = 0; i < n; i++) failed[i] = (failed[i] & rest) | (allowed[codes[i]] === 1 ? 0 : bit);
  }

  /**
   * Rows pass whose value is in a range.
   * @param {string} name
   * @param {Float32Array} values
   * @param {number} from
   * @param {number} to
   */
  keepRange(name, values, from, to) {
    const { failed, n } = this, bit = this.bit(name), rest = ~bit & 0xffff;
    this.active.add(name);
    for (let i = 0; i < n; i++) failed[i] = (failed[i] & rest) | (values[i] >= from && values[i] <= to ? 0 : bit);
  }

  /** The rows that pass all filters, in this order. @param {Uint32Array} order @returns {Uint32Array} */
  passing(order) {
    const { failed } = this;
    if (this.active.size === 0) return order;
    const kept = new Uint32Array(order.length);
    let m = 0;
    for (let k = 0; k < order.length; k++) {
      const i = order[k];
      if (failed[i] === 0) kept[m++] = i;
    }
    return kept.subarray(0, m);
  }

  /**
   * How many rows each code has among those that pass all other filters.
   * @param {string} name of the column's own filter
   * @param {Codes} codes
   * @param {number} size more than the largest code
   */
  counts(name, codes, size) {
    const { failed, n } = this, rest = ~(this.active.has(name) ? this.bit(name) : 0) & 0xffff, counts = new Uint32Array(size);
    for (let i = 0; i < n; i++) if ((failed[i] & rest) === 0) counts[codes[i]]++;
    return counts;
  }

  /**
   * How many rows lie in each of equal parts of a range, among those that pass all other filters.
   * @param {string} name
   * @param {Float32Array} values below 0: none
   * @param {number} span
   * @param {number} parts
   */
  histogram(name, values, span, parts) {
    const { failed, n } = this, rest = ~(this.active.has(name) ? this.bit(name) : 0) & 0xffff, counts = new Uint32Array(parts);
    const step = parts / Math.max(span, 1e-9);
    for (let i = 0; i < n; i++) if ((failed[i] & rest) === 0 && values[i] >= 0) counts[Math.min(parts - 1, (values[i] * step) | 0)]++;
    return counts;
  }
}

/** Row numbers in a fixed random order, so that any first part of it is a fair sample. @param {number} n */
export function shuffled(n) {
  const order = new Uint32Array(n);
  for (let i = 0; i < n; i++) order[i] = i;
  let seed = 2463534242;
  for (let i = n - 1; i > 0; i--) {
    seed ^= seed << 13;
    seed ^= seed >>> 17;
    seed ^= seed << 5;
    const j = (seed >>> 0) % (i + 1), kept = order[i];
    order[i] = order[j];
    order[j] = kept;
  }
  return order;
}
