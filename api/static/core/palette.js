// Colours of hills that people with any colour vision tell apart, and neighbours most of all.

/** @typedef {readonly [number, number, number]} Rgb red, green, blue in 0 … 255 */

// Eight each, found by a search for the largest least `difference` (0.13 and more), among colours that stand out from their ground.
/** @type {{light: readonly Rgb[], dark: readonly Rgb[]}} */
export const palettes = {
  light: [[95, 94, 215], [225, 165, 31], [81, 202, 167], [220, 83, 45], [160, 83, 133], [163, 139, 220], [123, 40, 17], [83, 45, 141]],
  dark: [[139, 105, 206], [249, 188, 65], [52, 166, 159], [192, 166, 254], [140, 53, 129], [58, 230, 186], [185, 137, 36], [60, 108, 24]],
};
/** Change against before, from lowered over unchanged to raised: blue and orange differ for everybody. */
/** @type {{light: readonly [Rgb, Rgb, Rgb], dark: readonly [Rgb, Rgb, Rgb]}} */
export const changes = {
  light: [[30, 100, 185], [206, 203, 194], [217, 119, 6]],
  dark: [[90, 160, 240], [88, 92, 98], [245, 165, 60]],
};

// Machado, Oliveira and Fernandes (2009), severity 1, on linear light
const visions = {
  normal: [1, 0, 0, 0, 1, 0, 0, 0, 1],
  protanopia: [0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998],
  deuteranopia: [0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.01182, 0.04294, 0.968881],
  tritanopia: [1.255528, -0.076749, -0.178779, -0.078411, 0.930809, 0.147602, 0.004733, 0.691367, 0.3039],
};

/**
 * The least difference of two colours for people with normal vision, protanopia, deuteranopia or tritanopia: distance in OKLab, where
 * 0.02 is just noticeable and black and white differ by 1.
 * @param {Rgb} a
 * @param {Rgb} b
 */
export const difference = (a, b) => Math.min(...Object.values(visions).map((vision) => away(okLab(seen(linear(a), vision)), okLab(seen(linear(b), vision)))));

/** @param {Rgb} rgb @returns {number[]} */
const linear = (rgb) => rgb.map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));

/** @param {number[]} rgb @param {number[]} m */
const seen = (rgb, m) => [0, 3, 6].map((row) => Math.max(0, m[row] * rgb[0] + m[row + 1] * rgb[1] + m[row + 2] * rgb[2]));

/** Ottosson (2020). @param {number[]} rgb */
function okLab(rgb) {
  const [r, g, b] = [rgb[0], rgb[1], rgb[2]];
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s, 1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s, 0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s];
}

/** @param {number[]} a @param {number[]} b */
const away = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);

/**
 * For each place the number of a colour: one that neighbours do not have, and that is used least otherwise.
 * @param {readonly {x: number, z: number}[]} places
 * @param {number} n colours
 * @returns {number[]}
 */
export function colouring(places, n) {
  const uses = new Array(n).fill(0);
  /** @type {number[]} */
  const given = [];
  for (const place of places) {
    const nearest = new Array(n).fill(4); // the way to the nearest place with each colour
    given.forEach((colour, i) => (nearest[colour] = Math.min(nearest[colour], apart(place, places[i]))));
    const value = nearest.map((way, colour) => Math.min(way, 0.9) - 0.02 * uses[colour]);
    const best = value.indexOf(Math.max(...value));
    uses[best]++;
    given.push(best);
  }
  return given;
}

/** @param {{x: number, z: number}} a @param {{x: number, z: number}} b */
const apart = (a, b) => Math.hypot(a.x - b.x, a.z - b.z);

/**
 * The colour of a weight on the scale of `changes`: full at a third or at three times the weight before.
 * @param {readonly [Rgb, Rgb, Rgb]} scale
 * @param {number} weight
 * @returns {Rgb}
 */
export function changeColour([lowered, same, raised], weight) {
  const change = Math.max(-1, Math.min(1, Math.log(Math.max(weight, 1e-3)) / Math.log(3)));
  return mix(same, change < 0 ? lowered : raised, Math.abs(change));
}

/** @param {Rgb} a @param {Rgb} b @param {number} share @returns {Rgb} */
export const mix = (a, b, share) => [a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share];

/** @param {Rgb} rgb */
export const css = (rgb) => `rgb(${rgb.map(Math.round).join(" ")})`;
