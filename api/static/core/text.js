// Texts as they are shown: with words marked, cut, and as sentences about counts.

/** @typedef {{text: string, isMarked: boolean}} Piece */

/** The words that a search marks in texts; those in double quotes are one. @param {string} query @returns {string[]} */
export const wordsOf = (query) => [...query.matchAll(/"([^"]+)"|([^\s"]+)/g)].map((found) => (found[1] ?? found[2]).trim()).filter(Boolean).slice(0, 50);

/**
 * The text in pieces, those that are one of the words marked.
 * @param {string} text
 * @param {readonly string[]} words
 * @returns {Piece[]}
 */
export function pieces(text, words) {
  const wanted = words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).filter(Boolean);
  if (!wanted.length) return [{ text, isMarked: false }];
  return text.split(new RegExp(`(${wanted.join("|")})`, "giu")).map((part, i) => ({ text: part, isMarked: i % 2 === 1 })).filter((piece) => piece.text);
}

/**
 * A part of the text that has the first of the words, on one line.
 * @param {string} text
 * @param {readonly string[]} words
 * @param {number} [length]
 */
export function excerpt(text, words, length = 320) {
  const at = words.length ? text.toLowerCase().indexOf(words[0].toLowerCase()) : 0, from = at > 60 ? at - 50 : 0;
  const part = text.slice(from, from + length).replace(/\s+/g, " ").trim();
  return `${from > 0 ? "… " : ""}${part}${from + length < text.length ? " …" : ""}`;
}

/** @param {number} n @param {string} one @param {string} [many] */
export const plural = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

/** How long something took. @param {number | null | undefined} seconds */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "";
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.round((seconds % 86400) / 3600)} h`;
}

/**
 * How long ago.
 * @param {string | null | undefined} iso
 * @param {number} now milliseconds since 1970
 */
export function ago(iso, now) {
  if (!iso) return "";
  const seconds = Math.max(0, (now - Date.parse(iso)) / 1000);
  for (const [size, unit] of /** @type {const} */ ([[86400, "day"], [3600, "hour"], [60, "minute"]])) {
    if (seconds >= size) return `${plural(Math.floor(seconds / size), unit)} ago`;
  }
  return "just now";
}

/** @param {string | null | undefined} iso */
export const moment = (iso) => (iso ? new Date(iso).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" }) : "no time");
