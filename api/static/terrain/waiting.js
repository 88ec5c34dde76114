// What is shown until there is a terrain: progress, a failure, or that there is none.

import { percent } from "../core/format.js";
import { html } from "../vendor/preact/preact.js";

/** @typedef {{status: string, progress: number, stage: string | null, error: string | null}} Status */
/** @typedef {{name: string, facts: string, warnings: readonly string[]}} About */

const stages = /** @type {const} */ ([
  ["embedding", "Reading what each row means"], ["clustering", "Finding topics"], ["analyzing", "Naming them"], ["building_terrain", "Building the terrain"],
]);

/** @param {{status: Status, about: About}} props */
export function Progress({ status, about }) {
  const at = stages.findIndex(([key]) => key === status.stage);
  return html`<div class="card" aria-live="polite">
    <h1>${about.name}</h1>
    ${about.facts && html`<p class="quiet">${about.facts}</p>`}
    <div class="progress" role="progressbar" aria-label="Progress" aria-valuemin="0" aria-valuemax="100" aria-valuenow=${Math.round(status.progress)}><i style=${{ width: `${status.progress}%` }}></i></div>
    <ol>${stages.map(([key, text], i) => html`<li key=${key} class=${i < at ? "done" : i === at ? "now" : ""} aria-current=${i === at ? "step" : null}>
      <span>${text}</span>${i === at && html`<small>${percent(status.progress / 100)}</small>`}</li>`)}</ol>
    ${about.warnings.map((text) => html`<p class="warning">${text}</p>`)}
  </div>`;
}

/** @param {{title: string, detail: string}} props */
export const Failure = ({ title, detail }) =>
  html`<div class="card" role="alert"><h1>${title}</h1><p>${detail}</p><p><a class="button" href="../terrain">Upload a table</a></p></div>`;
