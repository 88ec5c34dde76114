// Topics as a tree, and where their names stand on the map.

/**
 * @typedef {{readonly id: number, readonly parent: number, readonly level: number, readonly name: string, readonly description: string, readonly size: number, readonly x: number, readonly y: number,
 *   readonly name_source: string, readonly born: number, readonly trend?: string}} Topic
 */
/** @typedef {{readonly topic: Topic, readonly children: readonly Node[], readonly depth: number, readonly leaves: readonly number[]}} Node a topic, what it is made of, and the ids of the topics without parts below it */
/** @typedef {{readonly roots: readonly Node[], readonly nodes: ReadonlyMap<number, Node>, readonly inOrder: readonly Node[]}} Tree */

/** @param {readonly Topic[]} topics @returns {Tree} */
export function treeOf(topics) {
  const known = new Set(topics.map((topic) => topic.id)), nodes = /** @type {Map<number, Node>} */ (new Map());
  /** @type {Map<number, Topic[]>} */
  const parts = new Map();
  for (const topic of topics) {
    const parent = known.has(topic.parent) && topic.parent !== topic.id ? topic.parent : -1;
    parts.set(parent, [...(parts.get(parent) ?? []), topic]);
  }
  /** @type {Node[]} */
  const inOrder = [];
  const grown = (/** @type {Topic} */ topic, /** @type {number} */ depth) => {
    const at = inOrder.length;
    inOrder.push(/** @type {any} */ (null));
    const children = bySize(parts.get(topic.id) ?? []).map((part) => grown(part, depth + 1));
    /** @type {Node} */
    const node = { topic, children, depth, leaves: children.length ? children.flatMap((child) => child.leaves) : [topic.id] };
    nodes.set(topic.id, node);
    return (inOrder[at] = node);
  };
  const roots = bySize(parts.get(-1) ?? []).map((topic) => grown(topic, 0));
  return { roots: roots.map(unwrapped), nodes, inOrder };
}

/** A group of one is shown as what it has. @param {Node} node @returns {Node} */
const unwrapped = (node) => (node.children.length === 1 ? unwrapped({ ...node.children[0], depth: node.depth }) : { ...node, children: node.children.map(unwrapped) });

/** @param {readonly Topic[]} topics */
const bySize = (topics) => [...topics].sort((a, b) => b.size - a.size || a.id - b.id);

/** The groups that a topic is in, the widest first, and itself. @param {Tree} tree @param {number} id @returns {Topic[]} */
export function pathTo(tree, id) {
  /** @type {Topic[]} */
  const path = [];
  for (let node = tree.nodes.get(id); node && !path.includes(node.topic); node = tree.nodes.get(node.topic.parent)) path.unshift(node.topic);
  return path.filter((topic, i) => topic.name !== path[i + 1]?.name);
}

/** The sum over the parts. @param {Node} node @param {ReadonlyMap<number, number>} counts by id of the smallest topics */
export const countOf = (node, counts) => node.leaves.reduce((sum, leaf) => sum + (counts.get(leaf) ?? 0), 0);

/** Middle and height of the rows with a code. @param {Float64Array} sums @param {number} code */
function middleOf(sums, code) {
  const count = code < 0 ? 0 : sums[4 * code], x = sums[4 * code + 1] / count, y = sums[4 * code + 2] / count;
  return { count, x, y, reach: 1.6 * Math.sqrt(Math.max(0, sums[4 * code + 3] / count - y * y)) };
}

/** @typedef {{readonly id: number, readonly name: string, readonly depth: number, readonly x: number, readonly y: number, readonly reach: number, readonly count: number}} Label `reach`: how far its points lie above its place, map units */

/**
 * A label for each topic that has rows: over its middle, at a height above most of its points.
 * @param {Tree} tree
 * @param {readonly number[]} ids of the topic with each code
 * @param {import("./sieve.js").Codes} codes
 * @param {Float32Array} x
 * @param {Float32Array} y
 * @param {Uint32Array} rows those shown
 * @returns {Label[]} the most important first
 */
export function labelsOf(tree, ids, codes, x, y, rows) {
  const n = ids.length, sums = new Float64Array(4 * n), most = Math.max(1, Math.floor(rows.length / 200_000)); // a sample is enough
  for (let k = 0; k < rows.length; k += most) {
    const i = rows[k], at = 4 * codes[i];
    if (codes[i] >= n) continue;
    sums[at] += 1;
    sums[at + 1] += x[i];
    sums[at + 2] += y[i];
    sums[at + 3] += y[i] * y[i];
  }
  const byId = new Map(ids.map((id, at) => [id, at]));
  /** @type {Label[]} */
  const labels = [];
  const visit = (/** @type {Node} */ node, /** @type {number} */ depth) => {
    const parts = node.leaves.map((leaf) => middleOf(sums, byId.get(leaf) ?? -1)).filter((part) => part.count > 0);
    const count = parts.reduce((sum, part) => sum + part.count, 0), largest = Math.max(0, ...parts.map((part) => part.count));
    if (count) {
      const mx = parts.reduce((sum, part) => sum + part.x * part.count, 0) / count, my = parts.reduce((sum, part) => sum + part.y * part.count, 0) / count;
      const away = (/** @type {{x: number, y: number}} */ part) => Math.hypot(part.x - mx, part.y - my);
      const place = parts.filter((part) => part.count >= largest / 4).reduce((best, part) => (away(part) < away(best) ? part : best)); // between its parts there may be empty ground
      labels.push({ id: node.topic.id, name: node.topic.name, depth, x: place.x, y: place.y, reach: place.reach, count: count * most });
    }
    for (const child of node.children) visit(child, depth + 1);
  };
  for (const root of tree.roots) visit(root, 0);
  return labels.sort((a, b) => a.depth - b.depth || b.count - a.count);
}
