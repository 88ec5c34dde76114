// Draws on top of the points: names of topics, the way of a run, the lasso, rings around the hovered and the opened point.

import { css } from "../core/palette.js";

/** @typedef {import("../core/palette.js").Rgb} Rgb */
/** @typedef {import("../core/view.js").View} View */
/**
 * @typedef {{readonly ratio: number, readonly ink: Rgb, readonly ground: Rgb, readonly accent: Rgb, readonly x: Float32Array, readonly y: Float32Array, readonly path: readonly number[],
 *   readonly labels: readonly import("../core/tree.js").Label[], readonly hovered: number, readonly opened: number, readonly topic: number, readonly area: readonly number[], readonly drawing: readonly number[]}} Scene
 */

/** @param {Rgb} rgb @param {number} alpha */
const inked = (rgb, alpha) => css(rgb).replace(")", ` / ${alpha})`);

/**
 * @param {CanvasRenderingContext2D} context
 * @param {View} view
 * @param {Scene} scene
 */
export function drawOverlay(context, view, scene) {
  context.setTransform(scene.ratio, 0, 0, scene.ratio, 0, 0);
  context.clearRect(0, 0, view.width, view.height);
  if (scene.path.length > 1) drawPath(context, view, scene);
  drawOutline(context, view, scene, scene.area, true);
  drawOutline(context, view, scene, scene.drawing, false);
  drawLabels(context, view, scene);
  if (scene.hovered >= 0) ring(context, view, scene, scene.hovered, 7, 1.6);
  if (scene.opened >= 0) ring(context, view, scene, scene.opened, 9, 2.4);
}

/**
 * Steps near the opened one are emphasised, later ones more than earlier ones; distant steps are faint.
 * @param {CanvasRenderingContext2D} context @param {View} view @param {Scene} scene
 */
function drawPath(context, view, { x, y, path, ink, accent, opened }) {
  const here = Math.max(0, path.indexOf(opened));
  context.lineCap = "round";
  for (let k = 1; k < path.length; k++) {
    const near = Math.exp(-Math.abs(k - 0.5 - here) / 5);
    const from = view.toScreen(x[path[k - 1]], y[path[k - 1]]), to = view.toScreen(x[path[k]], y[path[k]]);
    context.strokeStyle = inked(k > here ? accent : ink, Math.max(path.length > 60 ? 0.05 : 0.12, 0.85 * near));
    context.lineWidth = 1 + 1.2 * near;
    context.beginPath();
    context.moveTo(...from);
    context.quadraticCurveTo((from[0] + to[0]) / 2 + (to[1] - from[1]) * 0.08, (from[1] + to[1]) / 2 - (to[0] - from[0]) * 0.08, ...to);
    context.stroke();
  }
  for (const [k, row] of path.entries()) {
    context.fillStyle = inked(ink, 0.3 + 0.6 * Math.exp(-Math.abs(k - here) / 5));
    context.beginPath();
    context.arc(...view.toScreen(x[row], y[row]), 1.6, 0, 7);
    context.fill();
  }
}

/**
 * @param {CanvasRenderingContext2D} context @param {View} view @param {Scene} scene
 * @param {readonly number[]} outline @param {boolean} isDone
 */
function drawOutline(context, view, { accent }, outline, isDone) {
  if (outline.length < 4) return;
  context.beginPath();
  for (let i = 0; i < outline.length; i += 2) context.lineTo(...view.toScreen(outline[i], outline[i + 1]));
  if (isDone) context.closePath();
  context.fillStyle = inked(accent, 0.07);
  context.fill();
  context.setLineDash(isDone ? [5, 4] : []);
  context.strokeStyle = inked(accent, 0.9);
  context.lineWidth = 1.5;
  context.stroke();
  context.setLineDash([]);
}

/**
 * The most important names first, none over another; finer ones appear when zoomed in. A name stands above its points where they take
 * little room, and among them where they take much.
 * @param {CanvasRenderingContext2D} context @param {View} view @param {Scene} scene
 */
function drawLabels(context, view, { labels, ink, ground, accent, topic }) {
  /** @type {[number, number, number, number][]} */
  const taken = [];
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineJoin = "round";
  const isShown = (/** @type {import("../core/tree.js").Label} */ label) => label.id === topic || label.depth === 0 || view.magnification >= 1.55 * 2 ** (label.depth - 1);
  for (const label of [...labels.filter((one) => one.id === topic), ...labels.filter((one) => one.id !== topic)]) {
    if (!isShown(label)) continue;
    const [x, middle] = view.toScreen(label.x, label.y), above = label.reach * view.scale;
    const y = above < 90 ? Math.max(12, middle - above - 10) : middle;
    if (x < -60 || y < -10 || x > view.width + 60 || y > view.height + 10) continue;
    const text = label.name.length > 38 ? `${label.name.slice(0, 37)}…` : label.name;
    context.font = label.depth === 0 ? "600 13px system-ui, sans-serif" : "500 11.5px system-ui, sans-serif";
    const half = context.measureText(text).width / 2 + 6, at = Math.max(half + 4, Math.min(view.width - half - 4, x));
    if (taken.some((box) => at - half < box[2] && at + half > box[0] && y - 10 < box[3] && y + 10 > box[1])) continue;
    taken.push([at - half, y - 10, at + half, y + 10]);
    context.lineWidth = 4;
    context.strokeStyle = inked(ground, 0.88);
    context.strokeText(text, at, y);
    context.fillStyle = inked(label.id === topic ? accent : ink, label.depth === 0 || label.id === topic ? 0.95 : 0.78);
    context.fillText(text, at, y);
  }
}

/**
 * @param {CanvasRenderingContext2D} context @param {View} view @param {Scene} scene
 * @param {number} row @param {number} radius @param {number} width
 */
function ring(context, view, { x, y, ink, ground }, row, radius, width) {
  for (const [colour, line] of /** @type {const} */ ([[inked(ground, 0.9), width + 2.5], [inked(ink, 1), width]])) {
    context.beginPath();
    context.arc(...view.toScreen(x[row], y[row]), radius, 0, 7);
    context.strokeStyle = colour;
    context.lineWidth = line;
    context.stroke();
  }
}
