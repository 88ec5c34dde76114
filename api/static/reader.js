// The panel on the right: one record and its run, or the search results. Texts from logs are only set as text, never as HTML.

import { css } from "./colours.js";

export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "dot") made.style.setProperty("--dot", css(value));
    else if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

export const moment = (iso) => (iso ? new Date(iso).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" }) : "no time");

// The text with the search words marked; made of text nodes, so markup in a log stays text.
export function marked(text, words) {
  const wanted = words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).filter(Boolean);
  if (!wanted.length) return [document.createTextNode(text)];
  return text.split(new RegExp(`(${wanted.join("|")})`, "giu")).map((part, i) => (i % 2 ? element("mark", { textContent: part }) : document.createTextNode(part)));
}

export class Reader {
  constructor(sheet, { close, step, show, pick, dot, linkOf, moreLike }) {
    Object.assign(this, { sheet, close, step, show, pick, dot, linkOf, moreLike });
  }

  hide() {
    this.sheet.hidden = true;
    this.sheet.replaceChildren();
    document.body.classList.remove("reading");
  }

  open(...parts) {
    this.sheet.replaceChildren(...parts);
    this.sheet.hidden = false;
    document.body.classList.add("reading");
  }

  record(record, path, row, words, backToList) {
    const at = path.indexOf(row);
    const bar = element("div", { className: "bar" },
      element("button", { textContent: "←", title: "Previous in the run (p)", disabled: at <= 0, onclick: () => this.step(-1) }),
      element("button", { textContent: "→", title: "Next in the run (n)", disabled: at < 0 || at >= path.length - 1, onclick: () => this.step(1) }),
      element("span", { className: "quiet", textContent: at >= 0 ? `${(at + 1).toLocaleString()} of ${path.length.toLocaleString()} in its run` : "" }),
      element("span", { className: "gap" }),
      element("button", { textContent: "✕", title: "Close (Esc)", onclick: this.close }));
    const actions = element("div", { className: "bar" },
      ...(backToList ? [element("button", { textContent: "Back to results", onclick: backToList })] : []),
      element("button", { textContent: "Center on map", title: "Move the map to this record", onclick: () => this.show(row) }),
      element("button", { textContent: "More like this", title: "Records that are closest in meaning", onclick: () => this.moreLike(record) }));
    const what = element("div", { className: "what" },
      element("span", { className: "chip", textContent: record.type, dot: this.dot(record.type) }),
      element("span", { textContent: `Turn ${record.iteration}, item ${record.idx_in_iteration}` }),
      element("span", { textContent: moment(record.timestamp) }));
    this.open(
      element("header", {}, bar, actions, element("h2", { textContent: record.filename }), what),
      element("div", { className: "body" }, element("pre", {}, ...marked(record.text, words)), facts(record, this.linkOf(record.id))));
  }

  list(title, records, total, words) {
    const bar = element("div", { className: "bar" },
      element("h2", { textContent: title }), element("span", { className: "gap" }),
      element("button", { textContent: "✕", title: "Close (Esc)", onclick: this.close }));
    const items = records.map((record) => element("button", { onclick: () => this.pick(record.row) },
      element("div", { className: "what" },
        element("span", { className: "chip", textContent: record.type, dot: this.dot(record.type) }),
        element("span", { className: "where", textContent: record.filename })),
      element("div", { className: "text" }, ...marked(excerpt(record.text, words), words))));
    const rest = total > records.length ? [element("p", { className: "quiet", textContent: `Showing the first ${records.length} of ${total.toLocaleString()}. All are marked on the map.` })] : [];
    this.open(element("header", {}, bar), element("div", { className: "body" }, element("div", { id: "hits" }, ...items), ...rest));
  }
}

function excerpt(text, words) {
  const at = words.length ? text.toLowerCase().indexOf(words[0].toLowerCase()) : 0;
  return at > 60 ? "… " + text.slice(at - 50) : text;
}

function facts(record, link) {
  const rows = [["ID", element("a", { href: link, textContent: record.id, target: "_blank" })], ["Run", record.filename], ["Position", `Turn ${record.iteration}, item ${record.idx_in_iteration}`], ["Time", record.timestamp ?? "not in the log"]];
  for (const [key, value] of Object.entries(record.extra ?? {})) rows.push([key, typeof value === "string" ? value : JSON.stringify(value, null, 1)]);
  return element("dl", {}, ...rows.flatMap(([key, value]) => [element("dt", { textContent: key }), element("dd", {}, value)]));
}
