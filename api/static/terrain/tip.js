// What the tooltip says of a hill.

import { percent, rows, times } from "../core/format.js";
import { css } from "../core/palette.js";
import { html } from "../vendor/preact/preact.js";

const shownSamples = 3;

/** @param {{store: import("./store.js").Store, colours: {value: readonly import("../core/palette.js").Rgb[]}}} props */
export function Tip({ store, colours }) {
  const i = store.hovered.value, hill = store.hills[i];
  if (!hill) return null;
  const weight = store.weights.value[i];
  return html`<div class="name"><i style=${{ background: css(colours.value[i]) }}></i><b>${hill.label}</b></div>
    <p>${rows(hill.size)} · ${percent(hill.size / store.rows)}${weight !== 1 && html` <span class="weight">→ ${rows(store.effective.value[i])} (${times(weight)})</span>`}</p>
    ${hill.samples.slice(0, shownSamples).map((text) => html`<blockquote>${text}</blockquote>`)}`;
}
