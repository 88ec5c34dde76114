// Controls that several pages use.

import { html } from "../vendor/preact/preact.js";

/**
 * A few choices side by side, of which one is pressed.
 * @param {{label: string, choices: readonly (readonly [string, string])[], value: string, onChoose: (value: string) => void}} props
 */
export const Segments = ({ label, choices, value, onChoose }) =>
  html`<div class="segments" role="group" aria-label=${label}>
    ${choices.map(([key, text]) => html`<button type="button" key=${key} aria-pressed=${key === value} onClick=${() => onChoose(key)}>${text}</button>`)}
  </div>`;

/**
 * A figure from 0 to 1 as a bar, with a mark where it was.
 * @param {{label: string, hint: string, value: number, before: number, text: string, textBefore: string, isChanged: boolean}} props
 */
export const Meter = ({ label, hint, value, before, text, textBefore, isChanged }) =>
  html`<div class="meter" role="meter" aria-label=${label} aria-valuemin="0" aria-valuemax="1" aria-valuenow=${value.toFixed(3)} aria-valuetext=${isChanged ? `${text}, before ${textBefore}` : text}>
    <div class="line"><span>${label}</span><small>${isChanged ? `was ${textBefore}` : hint}</small><b>${text}</b></div>
    <div class="bar"><i style=${{ width: `${(100 * value).toFixed(2)}%` }}></i>${isChanged && html`<u style=${{ left: `${(100 * before).toFixed(2)}%` }}></u>`}</div>
  </div>`;
