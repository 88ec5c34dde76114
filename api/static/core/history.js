// Undo and redo as a plain value.

/**
 * @template T
 * @typedef {{readonly past: readonly T[], readonly present: T, readonly future: readonly T[]}} History
 */

const longest = 200; // steps that can be undone

/**
 * @template T
 * @param {T} present
 * @returns {History<T>}
 */
export const begin = (present) => ({ past: [], present, future: [] });

/**
 * The history after a step; what was undone can no longer be redone.
 * @template T
 * @param {History<T>} history
 * @param {T} present
 * @returns {History<T>}
 */
export const push = (history, present) => ({ past: [...history.past, history.present].slice(-longest), present, future: [] });

/**
 * @template T
 * @param {History<T>} history
 * @returns {History<T>}
 */
export function undo(history) {
  const before = history.past.at(-1);
  if (before === undefined) return history;
  return { past: history.past.slice(0, -1), present: before, future: [history.present, ...history.future] };
}

/**
 * @template T
 * @param {History<T>} history
 * @returns {History<T>}
 */
export function redo(history) {
  const [next, ...future] = history.future;
  if (next === undefined) return history;
  return { past: [...history.past, history.present], present: next, future };
}
