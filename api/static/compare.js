// The comparison of two sets of runs: the form, the list to read, and the colour of each point by the difference around it.

import { css } from "./colours.js";
import { element } from "./reader.js";

const ends = [[0, 114, 178], [196, 198, 204], [213, 94, 0]]; // only b, alike, only a

// Colour of a code: 1 (only b) over 128 (alike) to 255 (only a).
export function difference(code) {
  const at = (Math.max(1, code) - 128) / 127, [from, to] = at < 0 ? [ends[1], ends[0]] : [ends[1], ends[2]];
  const share = Math.min(1, Math.abs(at) * 1.3);
  return from.map((value, i) => Math.round(value + (to[i] - value) * share));
}

export class Comparison {
  constructor(form, { root, name, base, list, changed, open }) {
    Object.assign(this, { form, root, name, base, list, changed, open, id: null, found: null, codes: null });
    form.addEventListener("submit", (event) => { event.preventDefault(); this.ask(form.a.value, form.b.value); });
    form.querySelector("button[type=button]").onclick = () => this.close();
  }

  async ask(a, b) {
    const filters = (text) => text.split(/[,\n]+/).map((one) => one.trim()).filter(Boolean);
    const query = new URLSearchParams([...filters(a).map((one) => ["a", one]), ...filters(b).map((one) => ["b", one])]);
    this.say("Comparing …");
    for (;;) {
      const answer = await fetch(`${this.root}datasets/${encodeURIComponent(this.name)}/compare?${query}`);
      const body = await answer.json().catch(() => ({}));
      if (answer.ok && answer.status !== 202) return this.show(body);
      if (answer.status !== 202) return this.say(body.detail ?? `The server answered ${answer.status}`);
      if (["Failed", "Crashed", "Cancelled"].includes(body.state)) return this.say(`The run ended as ${body.state}.`);
      this.say(`Comparing … (run ${body.name}: ${body.state})`);
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
  }

  async load(id) {
    const answer = await fetch(`${this.root}datasets/${encodeURIComponent(this.name)}/compare/${encodeURIComponent(id)}`);
    const body = await answer.json().catch(() => ({}));
    if (answer.ok) return this.show(body);
    this.say(body.detail ?? `The server answered ${answer.status}`);
  }

  async show(found) {
    Object.assign(this, { found, id: found.id });
    this.form.a.value = found.a.filters.join(", ");
    this.form.b.value = found.b.filters.join(", ");
    this.say(found.summary[1]);
    await this.fetchCodes();
    this.changed();
    this.list(found);
  }

  // The codes belong to the newest snapshot; they are fetched again with each one.
  async fetchCodes() {
    if (!this.id) return;
    const answer = await fetch(`${this.base}difference.json?compare=${this.id}`).catch(() => null);
    this.codes = answer?.ok ? Uint8Array.from((await answer.json()).codes) : null;
  }

  close() {
    Object.assign(this, { id: null, found: null, codes: null });
    this.form.reset();
    this.say("");
    this.changed();
  }

  say(text) {
    this.form.querySelector("p").textContent = text;
    this.form.querySelector("button[type=button]").hidden = !this.id;
  }

  // The list in the panel on the right. Texts from logs are only set as text.
  items() {
    const { found } = this;
    const row = (one, n) => {
      const counts = `${one.runs_a} of ${found.a.runs} a · ${one.runs_b} of ${found.b.runs} b`;
      const why = one.explained_by.length ? ` · ${one.explained_by.join(" and ")} may explain most of it` : "";
      return element("button", { onclick: () => this.open(one.id) },
        element("div", { className: "what" },
          element("span", { className: "chip", textContent: `${n + 1} more in ${one.side}`, dot: ends[one.side === "a" ? 2 : 0] }),
          element("span", { textContent: counts })),
        element("div", { className: "quiet", textContent: `p ${one.p.toFixed(3)}${one.p <= 0.01 ? " (significant)" : ""} · q ${one.q.toFixed(2)}${why}` }),
        element("div", { className: "text", textContent: one.text.slice(0, 400) }));
    };
    const rows = ["a", "b"].flatMap((side) => {
      const mine = found.reading.filter((one) => one.side === side).map(row);
      const name = found[side].filters.join(", ") || "all other runs";
      return mine.length ? [element("h2", { textContent: `More frequent in ${side} (${name})` }), ...mine] : [];
    });
    const words = found.summary.map((line) => element("p", { className: "quiet", textContent: line }));
    return [...words, element("div", { id: "hits" }, ...rows)];
  }

  legend() {
    const { found } = this;
    const names = [["a", found.a, ends[2]], ["b", found.b, ends[0]]];
    return names.map(([side, set, colour]) => element("button", { title: set.filters.join(", "), onclick: () => this.list(found) },
      element("i", { dot: colour }), element("b", { textContent: `${side}: ${set.filters.join(", ") || "all other runs"}` }), element("em", { textContent: `${set.runs} runs` })));
  }
}

export const ramp = () => `linear-gradient(90deg, ${ends.map((end) => css(end)).join(",")})`;
