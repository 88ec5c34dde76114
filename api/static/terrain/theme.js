// The colours of the ground in a light and a dark window, and of the hills.

import { changeColour, changes, colouring, palettes } from "../core/palette.js";

/** @typedef {import("../core/palette.js").Rgb} Rgb */
/** @typedef {"light" | "dark"} Scheme */

/** @type {Record<Scheme, import("../gl/ground.js").Look>} */
export const looks = {
  light: {
    sky: [247, 246, 242], paper: [238, 235, 226], ink: [60, 48, 38], accent: [28, 30, 33], side: [214, 208, 195], shadow: [72, 60, 40, 0.22],
    ambient: 0.56, contour: 0.34, glow: 0,
  },
  dark: {
    sky: [16, 18, 20], paper: [62, 67, 74], ink: [240, 243, 247], accent: [240, 243, 247], side: [44, 48, 53], shadow: [0, 0, 0, 0.55],
    ambient: 0.46, contour: 0.2, glow: 0.3,
  },
};

/**
 * A colour for each hill, the same at each visit.
 * @param {readonly import("../core/hills.js").Hill[]} hills
 * @param {Scheme} scheme
 * @returns {Rgb[]}
 */
export function hillColours(hills, scheme) {
  const bySize = hills.map((_, i) => i).sort((a, b) => hills[b].size - hills[a].size);
  const numbers = colouring(bySize.map((i) => hills[i]), palettes[scheme].length);
  /** @type {Rgb[]} */
  const colours = [];
  bySize.forEach((hill, k) => (colours[hill] = palettes[scheme][numbers[k]]));
  return colours;
}

/**
 * @param {readonly number[]} weights
 * @param {Scheme} scheme
 */
export const changedColours = (weights, scheme) => weights.map((weight) => changeColour(changes[scheme], weight));
