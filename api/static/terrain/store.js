// What the terrain page knows: one state, changed by the functions below alone.

import { balanceOf, effectiveSizes, flatWeights, roundedWeight } from "../core/balance.js";
import { clamp } from "../core/camera.js";
import { begin, push, redo, undo } from "../core/history.js";
import { batch, computed, signal } from "../vendor/preact/preact.js";

/** @typedef {readonly number[]} Weights */
/** @typedef {"now" | "before" | "change"} Shown */
/** @typedef {{kind: "saved"} | {kind: "saving"} | {kind: "failed", detail: string, retry: () => void}} Saving */
/** @typedef {ReturnType<typeof createStore>} Store */

const largestWeight = 1000;

/** @param {import("../core/hills.js").Terrain} terrain */
export function createStore({ hills, weights: stored, noise, name }) {
  const sizes = hills.map((hill) => hill.size), original = sizes.map(() => 1);
  const history = signal(begin(/** @type {Weights} */ (stored)));
  const draft = signal(/** @type {Weights | null} */ (null)); // while a peak or a slider is dragged
  const weights = computed(() => draft.value ?? history.value.present);
  const shown = signal(/** @type {Shown} */ ("now"));
  const effective = computed(() => effectiveSizes(sizes, weights.value));

  const set = (/** @type {Weights} */ next) => {
    batch(() => {
      draft.value = null;
      if (!equal(next, history.value.present)) history.value = push(history.value, next);
    });
  };
  return {
    hills, noise, name, sizes, weights, effective, shown,
    rows: sizes.reduce((a, b) => a + b, noise),
    stored: computed(() => history.value.present),
    hovered: signal(-1),
    selected: signal(-1),
    saving: signal(/** @type {Saving} */ ({ kind: "saved" })),
    balance: computed(() => balanceOf(effective.value)),
    balanceBefore: balanceOf(sizes),
    canUndo: computed(() => history.value.past.length > 0),
    canRedo: computed(() => history.value.future.length > 0),
    isChanged: computed(() => !equal(weights.value, original)),
    /** The weights that the ground shows. */
    seen: computed(() => (shown.value === "before" ? original : weights.value)),

    /**
     * Shows a weight while it is being chosen; `settle` makes it a step that can be undone.
     * @param {number} hill
     * @param {number} weight
     */
    drag(hill, weight) {
      batch(() => {
        if (shown.value === "before") shown.value = "now";
        draft.value = weights.value.map((old, i) => (i === hill ? roundedWeight(clamp(weight, 0, largestWeight)) : old));
      });
    },
    settle: () => set(weights.value),
    cancel: () => (draft.value = null),
    flatten: () => set(flatWeights(sizes).map((weight) => roundedWeight(Math.min(weight, largestWeight)))),
    reset: () => set(original),
    undo: () => batch(() => ((draft.value = null), (history.value = undo(history.value)))),
    redo: () => batch(() => ((draft.value = null), (history.value = redo(history.value)))),
  };
}

/** @param {Weights} a @param {Weights} b */
const equal = (a, b) => a.every((weight, i) => weight === b[i]);
