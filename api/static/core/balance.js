// Figures of the balance between hills: the same definitions as the server's.

/**
 * Gini coefficient of sizes, ranks from 1: 0 if all are equal (or there is nothing), (n-1)/n if one has everything.
 * @param {readonly number[]} sizes
 */
export function gini(sizes) {
  const total = sum(sizes);
  if (total <= 0) return 0;
  const n = sizes.length;
  const ranked = [...sizes].sort((a, b) => a - b);
  const weighted = sum(ranked.map((size, i) => (i + 1) * size));
  return Math.max(0, (2 * weighted) / (n * total) - (n + 1) / n);
}

/**
 * Gini coefficient as a share of the largest that so many sizes can have: 1 if one has everything.
 * @param {readonly number[]} sizes
 */
export function giniNormalized(sizes) {
  const n = sizes.length;
  return n < 2 ? 0 : (gini(sizes) * n) / (n - 1);
}

/**
 * exp(entropy) / n: 1 if all are equal, 1/n if one has everything; 1 for nothing.
 * @param {readonly number[]} sizes
 */
export function flatness(sizes) {
  const total = sum(sizes);
  if (total <= 0) return 1;
  const entropy = -sum(sizes.map((size) => (size > 0 ? (size / total) * Math.log(size / total) : 0)));
  return Math.exp(entropy) / sizes.length;
}

/** @typedef {{gini: number, giniNormalized: number, flatness: number}} Balance */

/**
 * @param {readonly number[]} sizes
 * @returns {Balance}
 */
export const balanceOf = (sizes) => ({ gini: gini(sizes), giniNormalized: giniNormalized(sizes), flatness: flatness(sizes) });

/**
 * The sizes that count: each times its weight.
 * @param {readonly number[]} sizes
 * @param {readonly number[]} weights
 */
export const effectiveSizes = (sizes, weights) => sizes.map((size, i) => size * (weights[i] ?? 1));

/**
 * Weights that make every hill equally high; the sum of the effective sizes stays.
 * @param {readonly number[]} sizes
 */
export function flatWeights(sizes) {
  const mean = sum(sizes) / sizes.length;
  return sizes.map((size) => (size > 0 ? mean / size : 1));
}

/**
 * A weight in four significant digits, as it is stored and shown; never negative.
 * @param {number} weight
 */
export const roundedWeight = (weight) => Math.max(0, Number(weight.toPrecision(4)));

/** @param {readonly number[]} values */
export function sum(values) {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
