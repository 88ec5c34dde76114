// The histogram at the bottom: records over time. Dragging over it filters by time.

import { css, ramp } from "./colours.js";

const bars = 160;

export class Timeline {
  constructor(section, changed) {
    this.section = section;
    this.canvas = section.querySelector("canvas");
    [this.first, this.middle, this.last] = section.querySelectorAll("span");
    this.changed = changed;
    this.range = null; // [from, to] in seconds since the first record, or null for all
    this.counts = new Uint32Array(bars);
    this.listen();
  }

  setTime(time) {
    this.time = time;
    this.section.hidden = !time || time.span <= 0;
    if (this.section.hidden) this.range = null;
  }

  // Counts the records that pass the legend's filter.
  count(points, shows) {
    if (this.section.hidden) return;
    this.counts.fill(0);
    for (let i = 0; i < points.n; i++) {
      const t = points.time[i];
      if (t >= 0 && shows(i)) this.counts[Math.min(bars - 1, Math.floor((t / this.time.span) * bars))]++;
    }
    this.draw();
  }

  draw() {
    if (this.section.hidden) return;
    const ratio = devicePixelRatio, width = this.canvas.clientWidth, height = this.canvas.clientHeight;
    this.canvas.width = width * ratio;
    this.canvas.height = height * ratio;
    const context = this.canvas.getContext("2d");
    context.scale(ratio, ratio);
    let most = 1;
    for (const count of this.counts) most = Math.max(most, count);
    const step = width / bars;
    for (let b = 0; b < bars; b++) {
      if (!this.counts[b]) continue;
      const tall = Math.max(1.5, Math.sqrt(this.counts[b] / most) * (height - 2));
      const middle = ((b + 0.5) / bars) * this.time.span;
      const inside = !this.range || (middle >= this.range[0] && middle <= this.range[1]);
      context.fillStyle = css(ramp((b + 0.5) / bars), inside ? 0.9 : 0.22);
      context.fillRect(b * step, height - tall, Math.max(1, step - 1), tall);
    }
    if (this.range) {
      const [from, to] = this.range.map((t) => (t / this.time.span) * width);
      context.fillStyle = "rgb(127 127 127 / 0.14)";
      context.fillRect(from, 0, to - from, height);
    }
    this.first.textContent = this.format(this.range ? this.range[0] : 0);
    this.last.textContent = this.format(this.range ? this.range[1] : this.time.span);
    const missing = this.time.missing ? `${this.time.missing.toLocaleString()} without a time` : "";
    this.middle.textContent = this.range ? "Drag to select another range, click to show all" : missing || "Drag to select a time range";
  }

  day(seconds) { return new Date((this.time.min + seconds) * 1000).toLocaleDateString(undefined, { dateStyle: "medium" }); }

  format(seconds) {
    const moment = new Date((this.time.min + seconds) * 1000);
    return moment.toLocaleString(undefined, { dateStyle: "medium", timeStyle: this.time.span < 4e7 ? "short" : undefined });
  }

  listen() {
    const at = (event) => {
      const box = this.canvas.getBoundingClientRect();
      return Math.max(0, Math.min(1, (event.clientX - box.left) / box.width)) * this.time.span;
    };
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      this.from = at(event);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (this.from === undefined) return;
      const to = at(event);
      this.set(Math.abs(to - this.from) < this.time.span / 300 ? null : [Math.min(this.from, to), Math.max(this.from, to)]);
    });
    this.canvas.addEventListener("pointerup", (event) => {
      if (Math.abs(at(event) - this.from) < this.time.span / 300) this.set(null);
      this.from = undefined;
    });
  }

  set(range) {
    this.range = range;
    this.draw();
    this.changed();
  }
}
