// A tooltip beside the pointer that stays inside the window.

const gap = 16;

/**
 * @param {HTMLElement} tip
 * @param {number} x of the pointer in the window
 * @param {number} y
 */
export function placeTip(tip, x, y) {
  const { offsetWidth: width, offsetHeight: height } = tip;
  const left = x + gap + width < innerWidth ? x + gap : x - gap - width;
  const top = y + gap + height < innerHeight ? y + gap : y - gap - height;
  tip.style.translate = `${Math.max(6, left)}px ${Math.max(6, top)}px`;
}
