// One element per peak: the handle that is dragged, and the label. They are real controls: keys and screen readers use them too.

import { effectiveSizes } from "../core/balance.js";
import { eyeOf, projection } from "../core/camera.js";
import { count, rows, times } from "../core/format.js";
import { heightAt, largestSize, raisable } from "../core/hills.js";
import { fitting } from "../core/labels.js";
import { isSeen } from "../core/picking.js";
import { css } from "../core/palette.js";

/** @typedef {import("../core/hills.js").Hill} Hill */
/** @typedef {{element: HTMLElement, label: HTMLElement, was: SVGLineElement, dot: SVGCircleElement, width: number, height: number, hasLabel: boolean}} Peak */

const svg = "http://www.w3.org/2000/svg";

export class Peaks {
  /**
   * @param {HTMLElement} into
   * @param {SVGSVGElement} lines
   * @param {readonly Hill[]} hills
   */
  constructor(into, lines, hills) {
    this.hills = hills;
    this.order = hills.map((_, i) => i).sort((a, b) => hills[b].size - hills[a].size);
    const most = Math.round(largestSize(hills) * raisable);
    this.peaks = hills.map((hill, i) => makePeak(hill, i, most));
    into.replaceChildren(...this.order.map((i) => this.peaks[i].element));
    lines.replaceChildren(...this.peaks.flatMap(({ was, dot }) => [was, dot]));
    /** @type {readonly number[] | undefined} */
    this.said = undefined; // weights
    this.measure();
    this.focusable = this.order[0] ?? -1;
  }

  measure() {
    for (const peak of this.peaks) [peak.width, peak.height] = [peak.label.offsetWidth, peak.label.offsetHeight];
  }

  /** @param {readonly import("../core/palette.js").Rgb[]} colours */
  colour(colours) {
    this.peaks.forEach(({ element }, i) => element.style.setProperty("--hill", css(colours[i])));
  }

  /** @param {readonly number[]} weights */
  say(weights) {
    const sizes = effectiveSizes(this.hills.map((hill) => hill.size), weights);
    const before = this.said;
    this.said = weights;
    this.peaks.forEach(({ element, label }, i) => {
      if (before?.[i] === weights[i]) return;
      const { size } = this.hills[i];
      element.setAttribute("aria-valuenow", String(Math.round(sizes[i])));
      element.setAttribute("aria-valuetext", weights[i] === 1 ? rows(size) : `${count(sizes[i])} of ${rows(size)}, weight ${times(weights[i])}`);
      /** @type {HTMLElement} */ (label.lastElementChild).textContent = count(sizes[i]);
    });
  }

  /**
   * The next hill by size.
   * @param {number} hill
   * @param {number} by
   */
  next(hill, by) {
    const at = this.order.indexOf(hill);
    return this.order[(at + by + this.order.length) % this.order.length];
  }

  /** @param {number} hill */
  focus(hill) {
    this.focusable = hill;
    this.peaks[hill]?.element.focus({ preventScroll: true });
  }

  /**
   * Moves everything to where the peaks are on the screen. Labels that overlap are hidden, those of small hills first.
   * @param {import("../core/camera.js").Camera} camera
   * @param {import("../core/camera.js").Size} size
   * @param {Float32Array} ground
   * @param {{hovered: number, selected: number, before: readonly number[] | null, isFlat: boolean}} view `before`: heights to mark
   */
  place(camera, size, ground, { hovered, selected, before, isFlat }) {
    const project = projection(camera, size), eye = eyeOf(camera);
    const tops = this.hills.map(({ x, z }) => (isFlat ? 0 : heightAt(ground, x, z)));
    const seen = this.hills.map(({ x, z }, i) => isFlat || isSeen(eye, ground, [x, tops[i] + 0.015, z]));
    const places = this.hills.map(({ x, z }, i) => project(x, tops[i], z));
    const order = [...this.order].sort((a, b) => this.urgency(b, hovered, selected, seen) - this.urgency(a, hovered, selected, seen));
    const boxes = order.map((i) => {
      const { width, height } = this.peaks[i], { x, y } = places[i];
      const isInside = x > 0.25 * width && x < size.width - 0.25 * width && y > height && y < size.height;
      return (seen[i] && isInside) || i === hovered || i === selected ? { x: x - width / 2, y: y - height - 11, width, height } : null;
    });
    const fit = fitting(boxes);
    order.forEach((i, k) => this.show(i, places[i], { isLabelled: fit[k], isSeen: seen[i], isOn: i === hovered || i === selected }));
    this.peaks.forEach(({ was, dot }, i) => {
      const isMarked = before !== null && Math.abs(before[i] - tops[i]) > 0.004;
      for (const line of [was, dot]) line.toggleAttribute("hidden", !isMarked);
      if (!isMarked) return;
      const { x, z } = this.hills[i], at = project(x, before[i], z);
      for (const [name, value] of Object.entries({ x1: at.x, y1: at.y, x2: places[i].x, y2: places[i].y })) was.setAttribute(name, value.toFixed(1));
      dot.setAttribute("cx", at.x.toFixed(1));
      dot.setAttribute("cy", at.y.toFixed(1));
    });
  }

  /**
   * How much a label matters: one that is looked at, one that is seen, one that was shown before (so that it does not flicker), a large one.
   * @param {number} hill
   * @param {number} hovered
   * @param {number} selected
   * @param {readonly boolean[]} seen
   */
  urgency(hill, hovered, selected, seen) {
    const first = hill === hovered || hill === selected ? 1e12 : 0;
    return first + this.hills[hill].size * (this.peaks[hill].hasLabel ? 1.6 : 1) * (seen[hill] ? 1 : 0.2);
  }

  /**
   * @param {number} hill
   * @param {import("../core/camera.js").OnScreen} at
   * @param {{isLabelled: boolean, isSeen: boolean, isOn: boolean}} how
   */
  show(hill, at, { isLabelled, isSeen, isOn }) {
    const peak = this.peaks[hill], { element } = peak;
    element.style.translate = `${Math.round(at.x)}px ${Math.round(at.y)}px`;
    element.style.zIndex = String(isOn ? 9999 : Math.max(1, 5000 - Math.round(at.depth * 300)));
    element.classList.toggle("hidden-peak", !isSeen && !isOn);
    element.classList.toggle("on", isOn);
    element.classList.toggle("labelled", isLabelled);
    element.tabIndex = hill === this.focusable ? 0 : -1;
    peak.hasLabel = isLabelled;
  }
}

/**
 * @param {Hill} hill
 * @param {number} i
 * @param {number} most rows that it can be raised to
 * @returns {Peak}
 */
function makePeak(hill, i, most) {
  const element = document.createElement("div"), label = document.createElement("span");
  element.className = "peak";
  element.dataset.hill = String(i);
  const fixed = { role: "slider", "aria-label": hill.label, "aria-orientation": "vertical", "aria-valuemin": "0", "aria-valuemax": String(most) };
  for (const [name, value] of Object.entries(fixed)) element.setAttribute(name, value);
  label.append(Object.assign(document.createElement("b"), { textContent: hill.label }), document.createElement("small"));
  element.append(label, document.createElement("i"));
  const was = document.createElementNS(svg, "line"), dot = document.createElementNS(svg, "circle");
  dot.setAttribute("r", "3");
  return { element, label, was, dot, width: 0, height: 0, hasLabel: false };
}
