"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const positions = new Uint16Array(bytes(data.positions).buffer);
const topicOf = new Int32Array(bytes(data.topics_of_rows).buffer);
const MAX_LISTED = 200;
const colours = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8c8c00", "#7f5af0"];
const records = data.records; // [row, type, filename, timestamp, text]
const lower = records.map((one) => (one[4] + "\n" + one[2]).toLowerCase());
let topic = null;
let hits = records.map((_, n) => n);
let open = null;

function colourOf(id) {
  return id < 0 ? "#9aa0a8" : colours[id % colours.length];
}

function draw() {
  const canvas = at("map");
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, canvas.clientWidth * scale);
  canvas.height = Math.max(1, canvas.clientHeight * scale);
  const context = canvas.getContext("2d");
  const size = Math.max(1.5, 3 - Math.log10(topicOf.length + 1) / 3) * scale;
  const [width, height] = [canvas.width - 20, canvas.height - 20];
  const isFiltered = topic !== null || hits.length < records.length;
  const place = (row) => [10 + (positions[2 * row] / 65535) * width, 10 + (1 - positions[2 * row + 1] / 65535) * height];
  context.globalAlpha = isFiltered ? 0.15 : 0.7;
  for (let row = 0; row < topicOf.length; row++) {
    context.fillStyle = colourOf(topicOf[row]);
    const [x, y] = place(row);
    context.fillRect(x, y, size, size);
  }
  context.globalAlpha = 1;
  if (isFiltered) {
    for (const n of hits) {
      const row = records[n][0];
      const [x, y] = place(row);
      context.fillStyle = colourOf(topicOf[row]);
      context.fillRect(x - size / 2, y - size / 2, 2 * size, 2 * size);
    }
  }
  if (open !== null) {
    const [x, y] = place(records[open][0]);
    context.strokeStyle = "#e6003c";
    context.lineWidth = 2 * scale;
    context.strokeRect(x - 4 * scale, y - 4 * scale, 10 * scale, 10 * scale);
  }
}

function item(text, act) {
  const button = document.createElement("button");
  button.textContent = text;
  button.addEventListener("click", act);
  const entry = document.createElement("li");
  entry.append(button);
  return entry;
}

function read(n) {
  open = n;
  const [, type, filename, time, text] = records[n];
  at("about").textContent = [type, filename, time].filter(Boolean).join(" · ");
  at("text").textContent = text;
  at("reader").hidden = false;
  at("text").focus();
  draw();
}

function find() {
  const words = at("words").value.toLowerCase().split(/\s+/).filter(Boolean);
  hits = [];
  for (let n = 0; n < records.length; n++) {
    const inTopic = topic === null || topicOf[records[n][0]] === topic;
    if (inTopic && words.every((word) => lower[n].includes(word))) hits.push(n);
  }
  const shown = hits.slice(0, MAX_LISTED);
  at("list").replaceChildren(
    ...shown.map((n) => item(`${records[n][1]}: ${records[n][4].slice(0, 140).replace(/\s+/g, " ")}`, () => read(n))),
  );
  const more = hits.length > MAX_LISTED ? `, the first ${MAX_LISTED} listed` : "";
  at("state").textContent = `${hits.length.toLocaleString()} of ${records.length.toLocaleString()} records${more}`;
  draw();
}

for (const [id, name, size] of data.topics) {
  const entry = item(`${name} (${size.toLocaleString()})`, () => {
    topic = topic === id ? null : id;
    for (const other of at("topics").querySelectorAll("button")) other.setAttribute("aria-pressed", "false");
    if (topic !== null) entry.firstChild.setAttribute("aria-pressed", "true");
    find();
  });
  at("topics").append(entry);
}
for (const line of data.report) {
  const entry = document.createElement("li");
  entry.textContent = line;
  at("report").append(entry);
}
at("words").addEventListener("input", find);
at("close").addEventListener("click", () => {
  open = null;
  at("reader").hidden = true;
  draw();
});
window.addEventListener("resize", draw);
find();
