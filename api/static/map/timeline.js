// Records over time. Dragging over it filters by time.

import { css } from "../core/palette.js";
import { ramp } from "../core/inks.js";
import { effect, html, useEffect, useRef } from "../vendor/preact/preact.js";

/** @typedef {import("./store.js").Store} Store */

const bars = 160, least = 1 / 300; // of the range: a shorter drag is a click

/** @param {{store: Store}} props */
export function Timeline({ store }) {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null)), time = store.snapshot.value?.summary.time, wanted = store.filters.value.time;
  useEffect(() => (canvas.current ? listen(canvas.current, store) : undefined), [Boolean(time && time.span > 0)]);
  if (!time || time.span <= 0) return null;
  const text = (/** @type {number} */ seconds) => new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: time.span < 4e7 ? "short" : undefined });
  const hint = wanted ? "Drag for another range, click for all" : time.missing ? `${time.missing.toLocaleString("en")} without a time` : "Drag to choose a time";
  return html`<section class="times" aria-label="Time"><canvas ref=${canvas} aria-hidden="true"></canvas>
    <div class="line quiet"><span>${text(wanted ? wanted[0] : time.min)}</span><span>${hint}</span><span>${text(wanted ? wanted[1] : time.min + time.span)}</span></div></section>`;
}

/** @param {HTMLCanvasElement} canvas @param {Store} store */
function listen(canvas, store) {
  let from = NaN;
  const paint = () => draw(canvas, store);
  const stop = effect(paint), sizes = new ResizeObserver(paint);
  sizes.observe(canvas);
  const at = (/** @type {PointerEvent} */ event) => {
    const box = canvas.getBoundingClientRect();
    return Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
  };
  const want = (/** @type {number} */ to) => {
    const time = store.snapshot.peek()?.summary.time;
    if (!time) return;
    store.wantTime(Math.abs(to - from) < least ? null : [time.min + Math.min(from, to) * time.span, time.min + Math.max(from, to) * time.span]);
  };
  canvas.onpointerdown = (event) => {
    canvas.setPointerCapture(event.pointerId);
    from = at(event);
  };
  let request = 0;
  canvas.onpointermove = (event) => {
    const to = at(event);
    if (Number.isNaN(from) || request) return;
    request = requestAnimationFrame(() => {
      request = 0;
      if (!Number.isNaN(from)) want(to);
    });
  };
  canvas.onpointerup = (event) => {
    if (!Number.isNaN(from)) want(at(event));
    from = NaN;
  };
  return () => {
    stop();
    sizes.disconnect();
  };
}

/** @param {HTMLCanvasElement} canvas @param {Store} store */
function draw(canvas, store) {
  const snapshot = store.snapshot.value, passing = store.passing.value, wanted = store.filters.value.time;
  if (!snapshot || !passing) return;
  const { min, span } = snapshot.summary.time, counts = passing.sieve.histogram("time", snapshot.time, span, bars);
  const ratio = devicePixelRatio, width = canvas.clientWidth, height = canvas.clientHeight, context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  Object.assign(canvas, { width: width * ratio, height: height * ratio });
  context.scale(ratio, ratio);
  const most = Math.max(1, ...counts), wide = width / bars, range = wanted && [(wanted[0] - min) / span, (wanted[1] - min) / span];
  counts.forEach((count, i) => {
    if (!count) return;
    const at = (i + 0.5) / bars, tall = Math.max(1.5, Math.sqrt(count / most) * (height - 2)), isInside = !range || (at >= range[0] && at <= range[1]);
    context.fillStyle = css(ramp(at)).replace(")", isInside ? " / 0.9)" : " / 0.22)");
    context.fillRect(i * wide, height - tall, Math.max(1, wide - 1), tall);
  });
  if (!range) return;
  context.fillStyle = "rgb(127 127 127 / 0.14)";
  context.fillRect(range[0] * width, 0, (range[1] - range[0]) * width, height);
}
