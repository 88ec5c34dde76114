// Draws on top of the points: region names, the path of a run, rings around the hovered and the selected point.

import { css } from "./colours.js";

export function drawOverlay(context, view, scene) {
  const { ratio } = scene;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, view.width, view.height);
  if (scene.path.length > 1) drawPath(context, view, scene);
  drawLabels(context, view, scene);
  if (scene.hovered >= 0) ring(context, view, scene, scene.hovered, 7, 1.6);
  if (scene.selected >= 0) ring(context, view, scene, scene.selected, 9, 2.4);
}

// Steps near the selected one are emphasised, later ones more than earlier ones; distant steps are faint.
function drawPath(context, view, { points, path, ink, accent, selected }) {
  const here = Math.max(0, path.indexOf(selected));
  context.lineCap = "round";
  for (let k = 1; k < path.length; k++) {
    const near = Math.exp(-Math.abs(k - 0.5 - here) / 5);
    const from = view.toScreen(points.x[path[k - 1]], points.y[path[k - 1]]);
    const to = view.toScreen(points.x[path[k]], points.y[path[k]]);
    const middle = [(from[0] + to[0]) / 2 + (to[1] - from[1]) * 0.08, (from[1] + to[1]) / 2 - (to[0] - from[0]) * 0.08];
    context.strokeStyle = css(k > here ? accent : ink, Math.max(path.length > 60 ? 0.05 : 0.12, 0.85 * near));
    context.lineWidth = 1 + 1.2 * near;
    context.beginPath();
    context.moveTo(...from);
    context.quadraticCurveTo(...middle, ...to);
    context.stroke();
  }
  for (const [k, row] of path.entries()) {
    context.fillStyle = css(ink, 0.3 + 0.6 * Math.exp(-Math.abs(k - here) / 5));
    context.beginPath();
    context.arc(...view.toScreen(points.x[row], points.y[row]), 1.6, 0, 7);
    context.fill();
  }
}

// Greedy: most important names first, without overlap; finer levels appear when zoomed in.
function drawLabels(context, view, { labels, ink, ground, dark }) {
  const taken = [];
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineJoin = "round";
  for (const label of labels) {
    if (label.level > 0 && view.magnification < 1.55 * 2 ** (label.level - 1)) continue;
    const [x, y] = view.toScreen(label.x, label.y);
    if (x < -60 || y < -10 || x > view.width + 60 || y > view.height + 10) continue;
    const text = label.text.length > 38 ? label.text.slice(0, 37) + "…" : label.text;
    context.font = label.level === 0 ? "600 13px system-ui, sans-serif" : "500 11.5px system-ui, sans-serif";
    const half = context.measureText(text).width / 2 + 6;
    const box = [x - half, y - 10, x + half, y + 10];
    if (taken.some((b) => box[0] < b[2] && box[2] > b[0] && box[1] < b[3] && box[3] > b[1])) continue;
    taken.push(box);
    context.lineWidth = 4;
    context.strokeStyle = css(ground, dark ? 0.8 : 0.88);
    context.strokeText(text, x, y);
    context.fillStyle = css(ink, label.level === 0 ? 0.95 : 0.78);
    context.fillText(text, x, y);
  }
}

function ring(context, view, { points, ink, ground }, row, radius, width) {
  const position = view.toScreen(points.x[row], points.y[row]);
  for (const [colour, line] of [[css(ground, 0.9), width + 2.5], [css(ink), width]]) {
    context.beginPath();
    context.arc(...position, radius, 0, 7);
    context.strokeStyle = colour;
    context.lineWidth = line;
    context.stroke();
  }
}
