// The map page: draws the points, shows records and runs, searches, and follows new snapshots.

import { colourOf, css, other, ramp } from "./colours.js";
import { Comparison, difference } from "./compare.js";
import { modes, openDrawer } from "./draw.js";
import { drawOverlay } from "./overlay.js";
import { fetchPoints } from "./points.js";
import { element, moment, Reader } from "./reader.js";
import { Timeline } from "./timeline.js";
import { View } from "./view.js";

const [, base, dataset] = location.pathname.match(/^(.*\/map\/([^/]+?))\/?$/).map((part, i) => (i === 1 ? part + "/" : part));
const root = base.slice(0, base.lastIndexOf("map/"));
const name = decodeURIComponent(dataset);
const $ = (selector) => document.querySelector(selector);
const stage = $("#stage"), overlay = $("#overlay"), tip = $("#tip");
const view = new View();
const drawer = openDrawer($("#points"), new URLSearchParams(location.search).has("plain"));
const darkly = matchMedia("(prefers-color-scheme: dark)");

const page = {
  summary: null, points: null, labels: [], mode: "type", off: { type: new Set(), source: new Set(), topic: new Set() },
  words: [], query: "", by: "words", similarTo: null, found: [], onlyFresh: false, hovered: -1, selected: -1, selectedId: null, path: [], perFrame: 0, listed: null,
};
window.runatlas = { page, view, drawer }; // for tests and debugging

// --- requests ------------------------------------------------------------------------------------------------------

async function fetchJson(address) {
  const answer = await fetch(base + address, { headers: { accept: "application/json" } });
  if (answer.ok) return answer.json();
  const problem = await answer.json().catch(() => ({}));
  throw Object.assign(new Error(problem.detail ?? `The server answered ${answer.status}`), { status: answer.status });
}

const recordCache = new Map(); // row -> record, of this snapshot
async function recordOf(row) {
  if (!recordCache.has(row)) {
    const [record] = await fetchJson(`records?snapshot=${page.summary.snapshot}&rows=${row}`);
    if (recordCache.size > 3000) recordCache.clear();
    recordCache.set(row, record);
  }
  return recordCache.get(row);
}

// --- snapshots -----------------------------------------------------------------------------------------------------

async function loadSnapshot() {
  const summary = await fetchJson("snapshot.json");
  const points = await fetchPoints(base, summary);
  const before = page.summary;
  Object.assign(page, { summary, points, labels: sorted(summary.labels), hovered: -1, path: [] });
  recordCache.clear();
  await comparison.fetchCodes();
  if (comparison.codes?.length === points.n) points.difference = comparison.codes;
  drawer.setPoints(points);
  timeline.setTime(summary.time);
  if (!before) view.fit(summary.bounds, clearances());
  else if (before.layout !== summary.layout) view.fit(summary.bounds, clearances());
  $("#message").hidden = summary.rows > 0;
  if (page.query) await search(page.query, false, page.similarTo);
  else showHighlighted();
  if (page.selectedId) await reselect(page.selectedId);
  showColours();
  showFresh();
  filtersChanged();
}

const sorted = (labels) => [...labels].sort((a, b) => a.level - b.level || b.priority - a.priority);

async function reselect(id) {
  try {
    const { row } = await fetchJson(`row?id=${encodeURIComponent(id)}`);
    await select(row, false);
  } catch (error) {
    if (error.status !== 404) throw error;
    deselect();
  }
}

// --- polling -------------------------------------------------------------------------------------------------------

async function poll() {
  let wait = 3000;
  try {
    const now = await fetchJson("current.json");
    showState(now);
    if (now.version && now.version !== page.summary?.version) await loadSnapshot();
    if (!now.version) showMessage("No map yet", now.waiting ? `${now.waiting.toLocaleString()} records pending. Next: runatlas index` : "Load logs, then index them. The map appears here automatically.");
    if (now.indexing) wait = 1000;
  } catch (error) {
    $("#state").textContent = error.status ? error.message : "The server does not answer. Retrying …";
    wait = 5000;
  }
  document.body.dataset.ready = page.points ? "yes" : "no";
  setTimeout(poll, document.hidden ? wait * 5 : wait);
}

function showMessage(title, text) {
  $("#message").hidden = false;
  $("#message h2").textContent = title;
  $("#message p").textContent = text;
}

function showState(now) {
  const { summary } = page;
  const count = `${(now.rows ?? 0).toLocaleString()} records`;
  $("#count").textContent = now.waiting && !now.indexing ? `${count}, ${now.waiting.toLocaleString()} pending` : count;
  $("#state").textContent = summary || now.snapshot ? `Snapshot ${now.snapshot} · ${ago(now.created)}` : "No snapshot yet";
  $("#work").hidden = !now.indexing;
  if (now.indexing) {
    $("#work span").textContent = `Indexing${now.step ? `: ${now.step}` : ""}`;
    const bar = $("#work progress");
    if (now.progress === null) bar.removeAttribute("value");
    else bar.value = now.progress;
  }
}

function ago(iso) {
  if (!iso) return "";
  const seconds = Math.max(0, (Date.now() - new Date(iso)) / 1000);
  for (const [size, unit] of [[86400, "day"], [3600, "hour"], [60, "minute"]]) {
    if (seconds >= size) return new Intl.RelativeTimeFormat(undefined, { style: "narrow" }).format(-Math.floor(seconds / size), unit);
  }
  return "just now";
}

// --- filters and legend --------------------------------------------------------------------------------------------

const plural = { type: "types", source: "sources", topic: "topics" };
const namesOf = (mode) => page.summary?.[plural[mode]] ?? [];

function legendShows(i) {
  const { points, off } = page;
  return !off.type.has(points.type[i]) && !off.source.has(points.source[i]) && !off.topic.has(points.topic[i]) && (!page.onlyFresh || points.fresh[i] === 1);
}

function shows(i) {
  const range = timeline.range, time = page.points.time[i];
  return legendShows(i) && (!range || (time >= range[0] && time <= range[1]));
}

function reachable(i) { return shows(i) && (!page.query || page.points.hit[i] === 1); }

function filtersChanged() {
  const pixels = new Uint8Array(256 * 5 * 4);
  for (const [line, mode] of [[0, "type"], [1, "source"], [2, "topic"]]) {
    for (let i = 0; i < 256; i++) {
      const entry = namesOf(mode)[i];
      pixels.set([...(entry ? colourOf(mode, entry.name, i) : other), page.off[mode].has(i) ? 0 : 255], (line * 256 + i) * 4);
    }
  }
  for (let i = 0; i < 256; i++) pixels.set([...ramp(i / 255), 255], (3 * 256 + i) * 4);
  for (let i = 0; i < 256; i++) pixels.set([...difference(i), 255], (4 * 256 + i) * 4);
  drawer.setPalette(pixels);
  if (page.points) timeline.count(page.points, legendShows);
  redraw();
}

function colourAt(i) {
  const { points, mode, summary } = page;
  if (mode === "difference") return points.difference[i] ? difference(points.difference[i]) : other;
  if (mode === "time") return points.time[i] < 0 ? other : ramp(points.time[i] / Math.max(summary.time.span, 1e-6));
  return colourOf(mode, namesOf(mode)[points[mode][i]]?.name ?? null, points[mode][i]);
}

function showColours() {
  const offered = ["type", "source", "time", "topic", "difference"].filter((mode) => (mode === "difference" ? comparison.found : mode === "time" ? page.summary.time?.span > 0 : namesOf(mode).length > (mode === "type" ? 0 : 1)));
  if (!offered.includes(page.mode)) page.mode = "type";
  const buttons = offered.map((mode) => element("button", { textContent: mode, ariaPressed: String(mode === page.mode), onclick: () => { page.mode = mode; showColours(); filtersChanged(); saveAddress(); } }));
  $("#colour").replaceChildren(element("span", { textContent: "Colour" }), ...buttons);
  showLegend();
}

function showLegend() {
  const { mode } = page;
  if (mode === "time") {
    const bar = element("div", { className: "ramp" });
    bar.style.background = `linear-gradient(90deg, ${[0, 0.25, 0.5, 0.75, 1].map((at) => css(ramp(at))).join(",")})`;
    $("#legend").replaceChildren(bar, element("div", { className: "ends" }, element("span", { textContent: timeline.day(0) }), element("span", { textContent: timeline.day(page.summary.time.span) })));
    return;
  }
  if (mode === "difference") {
    $("#legend").replaceChildren(...comparison.legend());
    return;
  }
  const off = page.off[mode];
  const rows = namesOf(mode).map(({ name, count }, i) => {
    const shown = name === "" ? "(none)" : name;
    const title = `${shown}: ${count.toLocaleString()} records. Click: show only this; Shift-click: hide this`;
    return element("button", { className: off.has(i) ? "off" : "", title, ariaPressed: String(!off.has(i)), onclick: (event) => toggle(mode, i, event.shiftKey || event.metaKey || event.ctrlKey) },
      element("i", { dot: colourOf(mode, name, i) }), element("b", { textContent: shown }), element("em", { textContent: count.toLocaleString() }));
  });
  $("#legend").replaceChildren(...rows);
}

function toggle(mode, index, one) {
  const off = page.off[mode], all = namesOf(mode).map((_, i) => i);
  if (one) off.has(index) ? off.delete(index) : off.add(index);
  else {
    const alone = !off.has(index) && off.size === all.length - 1;
    off.clear();
    if (!alone) all.forEach((i) => i !== index && off.add(i));
  }
  if (off.size === all.length) off.clear();
  showLegend();
  filtersChanged();
}

function showFresh() {
  const { fresh, since } = page.summary;
  $("#fresh").hidden = !fresh;
  if (!fresh) page.onlyFresh = false;
  $("#fresh span").title = `Records that are not in snapshot ${since}`;
  $("#fresh span").textContent = `${fresh.toLocaleString()} new since #${since}`;
  $("#fresh button").ariaPressed = String(page.onlyFresh);
}

$("#fresh button").onclick = () => {
  page.onlyFresh = !page.onlyFresh;
  showFresh();
  filtersChanged();
};

// --- drawing -------------------------------------------------------------------------------------------------------

let waiting = 0, settled = 0;

function rgbOf(variable) {
  const probe = element("span");
  probe.style.color = `var(${variable})`;
  document.body.append(probe);
  const rgb = getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3).map(Number);
  probe.remove();
  return rgb;
}
let paint = {};
function readPaint() { paint = { ground: rgbOf("--ground"), ink: rgbOf("--ink"), accent: rgbOf("--accent"), dark: darkly.matches }; }

// Points are drawn in portions that take one frame on this machine. While the view moves, only the first portion (a
// random sample) is drawn; then one more per frame, so that the page stays responsive.
let drawn = 0, isStale = true;

function redraw(moving = false) {
  isStale = true;
  if (moving) {
    clearTimeout(settled);
    settled = setTimeout(() => { settled = 0; schedule(); }, 120);
  }
  schedule();
}

function redrawOverlay() { schedule(); }
function schedule() { if (!waiting) waiting = requestAnimationFrame(() => { waiting = 0; frame(); }); }

function frame() {
  const ratio = Math.min(devicePixelRatio || 1, 2), n = page.points?.n ?? 0;
  const look = { ...paint, ratio, mode: page.mode, searching: Boolean(page.query), onlyFresh: page.onlyFresh, emphasis: emphasis(), timeFilter: timeline.range ?? [1, 0], timeSpan: page.summary?.time?.span ?? 0, shows, colourAt };
  if (isStale) drawn = 0;
  if (isStale || (!settled && drawn < n)) {
    if (!page.perFrame && n) page.perFrame = Math.max(20000, Math.round(drawer.pace(view, look)));
    drawer.draw(view, look, drawn, page.perFrame || 1);
    drawn += page.perFrame || 1;
    isStale = false;
  }
  if (page.points) drawOverlay(overlay.getContext("2d"), view, { ...paint, ratio, ...page });
  if (!settled && drawn < n) schedule();
}

function showHighlighted() {
  const { points, query, found } = page;
  if (!points) return;
  const rows = query ? found : points.freshRows;
  drawer.setHighlighted(Uint32Array.from(rows));
}

// Extra diameter of highlighted points in pixels: the fewer there are, the larger.
function emphasis() {
  const { summary, query, found } = page;
  const share = (query ? found.length : (summary?.fresh ?? 0)) / Math.max(summary?.rows ?? 1, 1);
  return share < 0.02 ? 5 : share < 0.1 ? 3.5 : 2.2;
}

function resize() {
  const ratio = Math.min(devicePixelRatio || 1, 2);
  for (const canvas of [$("#points"), overlay]) {
    canvas.width = Math.round(innerWidth * ratio);
    canvas.height = Math.round(innerHeight * ratio);
  }
  view.resize(innerWidth, innerHeight);
  timeline?.draw();
  redraw();
}

function clearances() {
  if (innerWidth <= 760) return { left: 24, right: 24, top: innerHeight * 0.45, bottom: 96 };
  return { left: 312, right: document.body.classList.contains("reading") ? 452 : 56, top: 36, bottom: $("#times").hidden ? 36 : 96 };
}

// --- pointer and wheel ---------------------------------------------------------------------------------------------

const fingers = new Map();
let travelled = 0;

stage.addEventListener("wheel", (event) => {
  event.preventDefault();
  const lines = event.deltaMode === 1 ? 16 : 1;
  view.zoom(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0016)), event.clientX, event.clientY);
  moved();
}, { passive: false });

stage.addEventListener("pointerdown", (event) => {
  stage.setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, [event.clientX, event.clientY]);
  if (fingers.size === 1) travelled = 0;
  stage.classList.add("dragging");
});

stage.addEventListener("pointermove", (event) => {
  const before = fingers.get(event.pointerId);
  if (!before) { point(event.clientX, event.clientY); return; }
  const here = [event.clientX, event.clientY], others = [...fingers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
  travelled += Math.hypot(here[0] - before[0], here[1] - before[1]);
  if (others.length) {
    const [there] = others, was = Math.hypot(before[0] - there[0], before[1] - there[1]), is = Math.hypot(here[0] - there[0], here[1] - there[1]);
    view.zoom(is / Math.max(was, 1), (here[0] + there[0]) / 2, (here[1] + there[1]) / 2);
  }
  const share = others.length ? 0.5 : 1;
  view.move((here[0] - before[0]) * share, (here[1] - before[1]) * share);
  fingers.set(event.pointerId, here);
  hideTip();
  moved();
});

for (const kind of ["pointerup", "pointercancel"]) {
  stage.addEventListener(kind, (event) => {
    fingers.delete(event.pointerId);
    if (fingers.size) return;
    stage.classList.remove("dragging");
    if (kind === "pointerup" && travelled < 5) click(event.clientX, event.clientY);
  });
}
stage.addEventListener("pointerleave", hideTip);
stage.addEventListener("dblclick", (event) => { view.zoom(2, event.clientX, event.clientY); moved(); });

function moved() {
  redraw(true);
  saveAddress();
}

function rowAt(px, py) {
  if (!page.points) return -1;
  const [x, y] = view.toMap(px, py);
  return page.points.grid.nearest(x, y, 9 / view.scale, reachable);
}

let tipTimer = 0;
function point(px, py) {
  const row = rowAt(px, py);
  if (row === page.hovered) { if (row >= 0) placeTip(px, py); return; }
  hideTip();
  page.hovered = row;
  stage.classList.toggle("over", row >= 0);
  redrawOverlay();
  if (row < 0) return;
  tipTimer = setTimeout(async () => {
    const record = await recordOf(row).catch(() => null);
    if (record && page.hovered === row) showTip(record, px, py);
  }, 35);
}

function hideTip() {
  clearTimeout(tipTimer);
  tip.hidden = true;
  if (page.hovered >= 0) { page.hovered = -1; stage.classList.remove("over"); redrawOverlay(); }
}

function showTip(record, px, py) {
  const chip = tip.querySelector(".chip");
  chip.textContent = record.type;
  chip.style.setProperty("--dot", css(dotOfType(record.type)));
  tip.querySelector(".when").textContent = record.timestamp ? moment(record.timestamp) : "";
  tip.querySelector(".where").textContent = `\u200e${record.filename}`;
  tip.querySelector(".text").textContent = record.text.length > 700 ? record.text.slice(0, 700) + " …" : record.text;
  tip.hidden = false;
  placeTip(px, py);
}

function placeTip(px, py) {
  const { offsetWidth: width, offsetHeight: height } = tip;
  tip.style.left = `${Math.max(8, px + 18 + width > innerWidth ? px - width - 14 : px + 18)}px`;
  tip.style.top = `${Math.max(8, Math.min(py + 14, innerHeight - height - 8))}px`;
}

const dotOfType = (type) => colourOf("type", type, namesOf("type").findIndex((entry) => entry.name === type) & 255);

function click(px, py) {
  const row = rowAt(px, py);
  if (row >= 0) select(row);
  else deselect();
}

// --- one record and its run ----------------------------------------------------------------------------------------

const reader = new Reader($("#reader"), { close: deselect, step, show, pick: (row) => { select(row); show(row); }, dot: dotOfType, linkOf, moreLike });

function linkOf(id) { return `${root}datasets/${encodeURIComponent(name)}/records/${id}`; }

async function select(row, keepInAddress = true) {
  page.selected = row;
  redrawOverlay();
  const snapshot = page.summary.snapshot;
  const [short, run] = await Promise.all([recordOf(row), fetchJson(`run?snapshot=${snapshot}&row=${row}`)]);
  const whole = await fetch(linkOf(short.id)).then((answer) => (answer.ok ? answer.json() : short));
  if (page.selected !== row || page.summary.snapshot !== snapshot) return;
  Object.assign(page, { path: run.rows, selectedId: short.id });
  reader.record(whole, run.rows, row, page.words, page.query ? () => showFound() : comparison.found ? () => comparison.list(comparison.found) : null);
  redrawOverlay();
  if (keepInAddress) saveAddress();
}

function deselect() {
  Object.assign(page, { selected: -1, selectedId: null, path: [] });
  reader.hide();
  redrawOverlay();
  saveAddress();
}

function step(by) {
  const next = page.path[page.path.indexOf(page.selected) + by];
  if (next === undefined) return;
  select(next);
  show(next);
}

function show(row) {
  view.show(page.points.x[row], page.points.y[row], clearances());
  moved();
}

// --- search ---------------------------------------------------------------------------------------------------------

const box = $("#search input");
let typing = 0;
box.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => search(box.value), 220); });
$("#search").addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(typing); search(box.value); });
$("#found button").onclick = () => { box.value = ""; search(""); };
for (const button of document.querySelectorAll("#by button")) button.onclick = () => {
  page.by = button.dataset.by;
  for (const one of document.querySelectorAll("#by button")) one.setAttribute("aria-pressed", one === button);
  search(box.value);
};

function moreLike(record) {
  box.value = "";
  search(`like ${record.id}`, true, record);
}

async function search(text, showResults = true, similarTo = null) {
  const query = text.trim();
  Object.assign(page, { query, similarTo });
  page.words = similarTo || page.by === "meaning" ? [] : query.split(/\s+/).filter(Boolean);
  page.points?.hit.fill(0);
  if (!query || !page.points) {
    $("#found").hidden = true;
    page.found = [];
    if (page.listed) deselect();
    page.listed = null;
  } else {
    const wanted = similarTo ? `id=${encodeURIComponent(similarTo.id)}` : `by=${page.by}&q=${encodeURIComponent(query)}`;
    const answer = await fetchJson(`search?snapshot=${page.summary.snapshot}&${wanted}`).catch((error) => ({ problem: error.message, rows: [], total: 0 }));
    if (page.query !== query) return;
    for (const row of answer.rows) page.points.hit[row] = 1;
    page.found = answer.rows;
    $("#found").hidden = false;
    $("#found span").textContent = answer.problem ?? `${answer.total.toLocaleString()}${answer.is_cut ? "+" : ""} found`;
    if (showResults && answer.rows.length) await showFound();
    else if (showResults && page.listed) deselect();
  }
  if (page.points) drawer.setHits(page.points.hit);
  showHighlighted();
  redraw();
}

async function showFound() {
  const { query } = page, first = page.found.slice(0, 60);
  const records = await fetchJson(`records?snapshot=${page.summary.snapshot}&rows=${first.join(",")}`);
  if (page.query !== query) return;
  Object.assign(page, { selected: -1, selectedId: null, path: [], listed: query });
  const title = page.similarTo ? `Like: ${page.similarTo.text.slice(0, 60)}` : `“${query}”`;
  reader.list(title, records, page.found.length, page.words);
}

// --- comparison -----------------------------------------------------------------------------------------------------

const comparison = new Comparison($("#compare"), {
  root, name, base,
  list: (found) => {
    Object.assign(page, { selected: -1, selectedId: null, path: [] });
    reader.open(
      element("header", {}, element("div", { className: "bar" }, element("h2", { textContent: "a against b" }), element("span", { className: "gap" }), element("button", { textContent: "✕", title: "Close (Esc)", onclick: deselect }))),
      element("div", { className: "body" }, ...comparison.items(found)));
  },
  open: async (id) => {
    const answer = await fetchJson(`row?id=${encodeURIComponent(id)}`).catch(() => null);
    if (!answer) return;
    await select(answer.row);
    show(answer.row);
  },
  changed: () => {
    if (!page.points) return;
    page.points.difference = comparison.codes?.length === page.points.n ? comparison.codes : new Uint8Array(page.points.n);
    drawer.setDifference(page.points.difference);
    page.mode = comparison.found ? "difference" : "type";
    showColours();
    filtersChanged();
    const address = new URL(location);
    comparison.id ? address.searchParams.set("compare", comparison.id) : address.searchParams.delete("compare");
    history.replaceState(null, "", address);
  },
});

// --- keys, buttons, address ----------------------------------------------------------------------------------------

const keys = {
  ArrowLeft: () => view.move(60, 0), ArrowRight: () => view.move(-60, 0), ArrowUp: () => view.move(0, 60), ArrowDown: () => view.move(0, -60),
  "+": () => zoomBy("in"), "=": () => zoomBy("in"), "-": () => zoomBy("out"), 0: () => zoomBy("fit"), n: () => step(1), p: () => step(-1), Escape: deselect,
};

addEventListener("keydown", (event) => {
  if (event.metaKey || event.ctrlKey || event.altKey) return;
  if (event.target.closest?.("#compare")) return;
  if (event.target === box) { if (event.key === "Escape") { box.value = ""; search(""); box.blur(); } return; }
  if (event.key === "/") { event.preventDefault(); box.focus(); box.select(); return; }
  if (!keys[event.key] || !page.points) return;
  keys[event.key]();
  moved();
});

function zoomBy(what) {
  if (what === "fit" && page.summary) view.fit(page.summary.bounds, clearances());
  else view.zoom(what === "in" ? 1.5 : 1 / 1.5, innerWidth / 2, innerHeight / 2);
}
for (const button of document.querySelectorAll("#zoom button")) button.onclick = () => { zoomBy(button.dataset.by); moved(); };

// The address contains the view and the selected record, so a link restores both.
let addressTimer = 0;
function saveAddress() {
  clearTimeout(addressTimer);
  addressTimer = setTimeout(() => {
    const kept = new URLSearchParams({ at: [view.x, view.y, view.magnification].map((value) => value.toPrecision(6)).join(",") });
    if (!["type", "difference"].includes(page.mode)) kept.set("colour", page.mode);
    if (page.selectedId) kept.set("id", page.selectedId);
    history.replaceState(null, "", `#${kept}`);
  }, 250);
}

function readAddress() {
  const kept = new URLSearchParams(location.hash.slice(1));
  if (modes.includes(kept.get("colour"))) page.mode = kept.get("colour");
  page.selectedId = kept.get("id");
  return (kept.get("at") ?? "").split(",").map(Number);
}

// --- start ---------------------------------------------------------------------------------------------------------

const timeline = new Timeline($("#times"), () => redraw());
document.title = `${name} · runatlas`;
$("#side h1").textContent = name;
$("#to-atlas").href = `${root}atlas/${encodeURIComponent(name)}/`;
$("#to-picture").href = `${root}map/${encodeURIComponent(name)}.png`;
$("#to-all").href = root;
readPaint();
darkly.addEventListener("change", () => { readPaint(); redraw(); });
addEventListener("resize", resize);
resize();
const [x, y, magnification] = readAddress();
const requestedId = page.selectedId;
await poll();
const wanted = new URLSearchParams(location.search).get("compare");
if (wanted && page.points) await comparison.load(wanted);
if (page.points && magnification > 0) {
  Object.assign(view, { x, y, scale: view.home * magnification });
  redraw();
} else if (requestedId && page.selected >= 0) show(page.selected);
