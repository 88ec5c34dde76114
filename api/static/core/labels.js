// Which labels fit on the screen.

/** @typedef {{readonly x: number, readonly y: number, readonly width: number, readonly height: number}} Box */

/**
 * Which of the boxes are shown: each in turn, unless it overlaps one that is shown; the first ones matter most.
 * @param {readonly (Box | null)[]} boxes null: nothing to show
 * @param {number} [gap]
 * @returns {boolean[]}
 */
export function fitting(boxes, gap = 4) {
  /** @type {Box[]} */
  const shown = [];
  return boxes.map((box) => {
    if (!box || shown.some((other) => overlap(box, other, gap))) return false;
    shown.push(box);
    return true;
  });
}

/**
 * @param {Box} a
 * @param {Box} b
 * @param {number} gap
 */
const overlap = (a, b, gap) => a.x < b.x + b.width + gap && b.x < a.x + a.width + gap && a.y < b.y + b.height + gap && b.y < a.y + a.height + gap;
