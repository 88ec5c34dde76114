// Texts of logs: always as text, never as HTML.

import { pieces } from "../core/text.js";
import { html } from "../vendor/preact/preact.js";

/** The text with words marked. @param {{text: string, words: readonly string[]}} props */
export const Marked = ({ text, words }) => html`${pieces(text, words).map((piece) => (piece.isMarked ? html`<mark>${piece.text}</mark>` : piece.text))}`;
