// The modules of api/static/core/, alone. Run by `node --test`, and by pytest (tests/test_page_modules.py).

import assert from "node:assert/strict";
import { test } from "node:test";

const core = new URL("../../api/static/core/", import.meta.url);
const [balance, camera, hills, history, labels, palette, picking, shade, spreading] = await Promise.all(
  ["balance", "camera", "hills", "history", "labels", "palette", "picking", "shade", "spread"].map((name) => import(new URL(`${name}.js`, core))),
);
const near = (a, b, by = 1e-6) => assert.ok(Math.abs(a - b) <= by, `${a} is not ${b}`);
const hill = (id, size, x, z, radius, more = {}) => ({
  id, label: `hill ${id}`, description: "", label_source: "keywords", size, weight: 1, x, z, radius, height: 0, originalHeight: (10 * size) / 100, color: "#000000", samples: [], ...more,
});
const served = (list) => ({ hills: list, gridSize: 100, heightScale: 10, noise: { size: 7 }, file_name: "a.csv" });
const someHills = () => hills.terrainOf(served([hill(0, 100, 30, 40, 6), hill(1, 40, 70, 60, 4), hill(2, 5, 50, 80, 2)])).hills;
const size = { width: 800, height: 500 };

test("Gini is half the mean difference over the mean", () => {
  const direct = (sizes) => {
    const n = sizes.length, mean = sizes.reduce((a, b) => a + b) / n;
    return sizes.flatMap((a) => sizes.map((b) => Math.abs(a - b))).reduce((a, b) => a + b) / (2 * n * n * mean);
  };
  for (const sizes of [[3, 1, 2], [10, 0, 0, 5], [7], [1, 1, 1, 1], [1000, 1]]) near(balance.gini(sizes), direct(sizes));
});

test("Gini and flatness of equal hills, of one hill alone, and of nothing", () => {
  near(balance.gini([5, 5, 5]), 0);
  near(balance.flatness([5, 5, 5]), 1);
  near(balance.gini([9, 0, 0]), 2 / 3);
  near(balance.giniNormalized([9, 0, 0]), 1);
  near(balance.flatness([9, 0, 0]), 1 / 3);
  for (const nothing of [[], [0, 0]]) assert.deepEqual(balance.balanceOf(nothing), { gini: 0, giniNormalized: 0, flatness: 1 });
});

test("flat weights make all hills equal and keep the number of rows", () => {
  const sizes = [800, 150, 50, 0], flat = balance.effectiveSizes(sizes, balance.flatWeights(sizes));
  near(flat[0], 250);
  near(flat[1], 250);
  near(flat[2], 250);
  assert.equal(flat[3], 0);
});

test("a step can be undone and redone, and a new step forgets what was undone", () => {
  let steps = history.begin("a");
  for (const next of ["b", "c"]) steps = history.push(steps, next);
  steps = history.undo(history.undo(steps));
  assert.equal(steps.present, "a");
  assert.equal(history.undo(steps), steps);
  assert.equal(history.redo(steps).present, "b");
  steps = history.push(history.redo(steps), "d");
  assert.deepEqual([steps.present, steps.future.length, history.redo(steps)], ["d", 0, steps]);
});

test("the camera sees the whole ground, and a ray through a pixel meets what is drawn there", () => {
  for (const window of [size, { width: 390, height: 400 }, { width: 2000, height: 300 }]) {
    const whole = camera.wholeGround(window), project = camera.projection(whole, window);
    for (const [x, z] of [[-1, -1], [1, -1], [-1, 1], [1, 1]]) {
      const at = project(x, 0, z);
      assert.ok(at.depth > 0 && at.x >= 0 && at.x <= window.width && at.y >= 0 && at.y <= window.height, JSON.stringify(at));
    }
    const point = [0.3, 0, -0.4], at = project(...point), ray = camera.rayThrough(whole, window, at.x, at.y);
    const way = -ray.origin[1] / ray.direction[1];
    point.forEach((part, i) => near(ray.origin[i] + ray.direction[i] * way, part, 1e-4));
  }
});

test("zooming keeps the ground under the pointer, and everything has limits", () => {
  const from = camera.wholeGround(size), at = [0.4, 0, 0.3], before = camera.projection(from, size)(...at);
  const after = camera.projection(camera.zoomed(from, 1.5, at), size)(...at);
  near(after.x, before.x, 0.5);
  near(after.y, before.y, 0.5);
  assert.equal(camera.zoomed(from, 1e9).distance, camera.distanceRange[0]);
  assert.equal(camera.zoomed(from, 1e-9).distance, camera.distanceRange[1]);
  assert.equal(camera.turned(from, 0, 9).pitch, camera.pitchRange[1]);
  assert.equal(camera.turned(from, 0, -9).pitch, camera.pitchRange[0]);
});

test("the ground follows the pointer when it is moved", () => {
  const from = { ...camera.wholeGround(size), target: [0, 0, 0] }, before = camera.projection(from, size)(0, 0, 0);
  const after = camera.projection(camera.panned(from, size, 40, 0), size)(0, 0, 0);
  near(after.x - before.x, 40, 1);
  near(after.y - before.y, 0, 1);
});

test("the ground is the sum of the hills", () => {
  const list = someHills(), n = 101, ground = new Float32Array(n * n);
  hills.raise(ground, hills.footprintsOf(list, n), [0.5, 0.2, 0]);
  for (const [x, z] of [[-0.4, -0.2], [0.1, 0.1], [0.4, 0.2], [0.9, 0.9]]) {
    const exact = [0.5, 0.2].reduce((sum, height, i) => sum + height * Math.exp(-((x - list[i].x) ** 2 + (z - list[i].z) ** 2) / (2 * list[i].radius ** 2)), 0);
    near(hills.heightAt(ground, x, z), exact, 0.01);
  }
  assert.equal(hills.heightAt(ground, 1.2, 0), 0);
});

test("hills on each other are drawn apart, on the ground, and keep their neighbours", () => {
  const crowd = Array.from({ length: 60 }, (_, i) => ({ x: -0.6 + 0.3 * Math.cos(i * i), z: 0.2 * Math.sin(i * 3), radius: 0.24 }));
  const places = spreading.spread([...crowd, { x: 0.8, z: 0.8, radius: 0.1 }]);
  places.forEach((a, i) => {
    assert.ok(Math.abs(a.x) <= 0.9 && Math.abs(a.z) <= 0.9);
    const nearest = Math.min(...places.map((b, k) => (k === i ? 9 : Math.hypot(a.x - b.x, a.z - b.z))));
    assert.ok(nearest > 0.1, `${i}: ${nearest}`);
    assert.ok(a.radius <= 0.41 * nearest && a.radius > 0.02);
    assert.ok(Math.max(Math.abs(a.x), Math.abs(a.z)) + 2.2 * a.radius < 1, "its foot lies on the ground");
  });
  const far = places.at(-1), apart = [{ x: -0.5, z: 0, radius: 0.1 }, { x: 0.5, z: 0, radius: 0.1 }];
  near(far.x, 0.8, 0.01);
  spreading.spread(apart).forEach((place, i) => near(place.x, apart[i].x, 0.001));
  assert.deepEqual(spreading.spread(crowd), spreading.spread(crowd));
});

test("weights come from a hill's own height, within the limits", () => {
  const [large, , small] = someHills();
  near(hills.weightAt(large, large.height / 2), 0.5);
  assert.equal(hills.weightAt(large, -3), 0);
  near(hills.weightAt(large, 99), hills.raisable, 1e-3);
  assert.ok(hills.weightAt(small, 99) <= 1000);
  near(hills.weightAt(small, large.height) * small.size, large.size, 0.5);
  assert.equal(hills.weightAt({ ...small, height: 0 }, 5), 1);
});

test("the hill under the pointer is the one that is drawn there", () => {
  const list = someHills(), n = 161, ground = new Float32Array(n * n), view = camera.wholeGround(size);
  hills.raise(ground, hills.footprintsOf(list, n), hills.heightsOf(list, [1, 1, 1]));
  const project = camera.projection(view, size);
  list.forEach((one, i) => {
    const at = project(one.x, hills.heightAt(ground, one.x, one.z), one.z);
    assert.equal(picking.hillUnder(list, ground, view, size, at.x, at.y + 3), i);
  });
  assert.equal(picking.hillUnder(list, ground, view, size, 3, 3), -1);
  const corner = project(0.97, 0, -0.97);
  assert.equal(picking.hillUnder(list, ground, view, size, corner.x, corner.y), -1);
});

test("what lies behind a mountain is not seen", () => {
  const list = someHills(), n = 161, ground = new Float32Array(n * n);
  hills.raise(ground, hills.footprintsOf(list, n), [0.6, 0, 0]);
  const [x, z] = [list[0].x, list[0].z], away = [x - 0.3, 0.01, z];
  assert.equal(picking.isSeen([x + 3, 0.8, z], ground, away), false);
  assert.equal(picking.isSeen([x - 3, 0.8, z], ground, away), true);
  assert.equal(picking.isSeen([x + 0.01, 4, z], ground, away), true);
});

test("a peak is dragged as far as the pointer goes, and also from above", () => {
  const view = camera.wholeGround(size), project = camera.projection(view, size), [peak] = someHills();
  const per = picking.pixelsPerHeight(project, peak, 0.3, size);
  near(project(peak.x, 0.3, peak.z).y - project(peak.x, 0.4, peak.z).y, 0.1 * per, 1.5);
  const above = camera.projection(camera.wholeGround(size, { yaw: 0, pitch: 1.57 }), size);
  assert.ok(picking.pixelsPerHeight(above, peak, 0.3, size) > 20);
});

test("of labels that overlap the first one is shown", () => {
  const box = (x) => ({ x, y: 0, width: 10, height: 5 });
  assert.deepEqual(labels.fitting([box(0), box(8), null, box(40)]), [true, false, false, true]);
});

test("any two colours of hills differ for people with any colour vision, and so do lowered and raised", () => {
  for (const colours of Object.values(palette.palettes)) {
    colours.forEach((a, i) => colours.slice(0, i).forEach((b) => assert.ok(palette.difference(a, b) > 0.12, `${a} and ${b}`)));
  }
  for (const [lowered, same, raised] of Object.values(palette.changes)) {
    for (const [a, b] of [[lowered, raised], [lowered, same], [same, raised]]) assert.ok(palette.difference(a, b) > 0.15, `${a} and ${b}`);
  }
  near(palette.difference([0, 0, 0], [255, 255, 255]), 1, 0.02);
  assert.ok(palette.difference([200, 60, 60], [110, 120, 40]) < 0.12, "red and olive look alike to some");
});

test("neighbours have different colours", () => {
  const places = Array.from({ length: 60 }, (_, i) => ({ x: ((i * 37) % 60) / 30 - 1, z: ((i * 17) % 60) / 30 - 1 }));
  const given = palette.colouring(places, 8);
  places.forEach((place, i) => {
    const others = places.map((other, k) => [k === i ? 9 : Math.hypot(place.x - other.x, place.z - other.z), given[k]]).sort((a, b) => a[0] - b[0]);
    assert.ok(others.slice(0, 2).every(([, colour]) => colour !== given[i]), `place ${i}`);
  });
  assert.deepEqual(new Set(given).size, 8);
});

test("change is shown by the logarithm of the weight", () => {
  const scale = palette.changes.light;
  assert.deepEqual(palette.changeColour(scale, 1), scale[1]);
  assert.deepEqual(palette.changeColour(scale, 0), scale[0]);
  assert.deepEqual(palette.changeColour(scale, 3), scale[2]);
});

test("slopes face aside, and each hill has its colour at its peak", () => {
  const list = someHills(), n = 101, ground = new Float32Array(n * n), prints = hills.footprintsOf(list, n), faces = new Int8Array(4 * n * n);
  hills.raise(ground, prints, hills.heightsOf(list, [1, 1, 1]));
  shade.face(faces, ground);
  const point = (x, z) => 4 * (Math.round(((z + 1) / 2) * (n - 1)) * n + Math.round(((x + 1) / 2) * (n - 1)));
  const { x, z, radius } = list[0], right = point(x + radius, z);
  assert.ok(faces[right] > 60 && Math.abs(faces[right + 2]) < 20);
  assert.ok(faces[point(0.95, -0.95) + 1] > 125, "flat ground faces up");
  const colours = [[200, 0, 0], [0, 200, 0], [0, 0, 200]], tinted = shade.tint(prints, colours, [240, 240, 240], n);
  list.forEach((one, i) => colours[i].forEach((part, c) => near(tinted[point(one.x, one.z) + c], part, 12)));
  assert.deepEqual([...tinted.slice(point(0.95, -0.95), point(0.95, -0.95) + 3)], [240, 240, 240]);
});

const [sieves, lassos, places, filters, applying, trees, texts, views, grids] = await Promise.all(
  ["sieve", "lasso", "place", "filters", "applying", "tree", "text", "view", "grid"].map((name) => import(new URL(`${name}.js`, core))),
);
const dice = (seed) => () => ((seed = (seed * 1103515245 + 12345) % 2147483648) / 2147483648);
const cloud = (n, seed = 7) => {
  const next = dice(seed);
  return { x: Float32Array.from({ length: n }, () => 10 * next()), y: Float32Array.from({ length: n }, () => 10 * next()) };
};
const circle = (corners, r = 3) => Array.from({ length: corners }, (_, k) => [5 + r * Math.cos((6.2832 * k) / corners), 5 + r * Math.sin((6.2832 * k) / corners)]).flat();

test("a filter keeps its rows, and the counts of its own column are those without it", () => {
  const sieve = new sieves.Sieve(6), type = Uint8Array.of(0, 0, 1, 1, 2, 2), source = Uint16Array.of(0, 1, 0, 1, 0, 65535);
  const order = Uint32Array.of(5, 4, 3, 2, 1, 0);
  assert.equal(sieve.passing(order), order, "without filters nothing is copied");
  sieve.keepCodes("type", type, Uint8Array.of(1, 0, 1));
  assert.deepEqual([...sieve.passing(order)], [5, 4, 1, 0]);
  assert.deepEqual([...sieve.counts("type", type, 3)], [2, 2, 2]);
  assert.deepEqual([...sieve.counts("source", source, 65536)].filter(Boolean), [2, 1, 1]);
  sieve.keepRange("time", Float32Array.of(0, 1, 2, 3, 4, -1), 0, 3);
  assert.deepEqual([...sieve.passing(order)], [1, 0]);
  assert.deepEqual([...sieve.histogram("time", Float32Array.of(0, 1, 2, 3, 4, -1), 4, 2)], [2, 1]);
  sieve.clear("type");
  assert.deepEqual([...sieve.passing(order)], [3, 2, 1, 0]);
  sieve.clear("time");
  assert.equal(sieve.passing(order), order);
});

test("filters of values, topics, tags and snapshots are applied as they arrive", () => {
  const column = (name, values, codes) => [name, { name, values, counts: [], codes }];
  const rows = { n: 4, time: Float32Array.of(0, 10, 20, -1), start: 1000 };
  const columns = new Map([column("type", ["a", "b"], Uint8Array.of(0, 1, 0, 1)), column("topic", ["7", "8", "-1"], Uint16Array.of(0, 1, 2, 65535)), column("model", ["m"], null)]);
  const applied = new applying.Applied(rows), order = Uint32Array.of(0, 1, 2, 3), leavesOf = (topic) => (topic === "70" ? ["7", "8"] : [topic]);
  const wanted = (values, more = {}, flags = new Map()) => ({ columns, filters: { ...filters.noFilters, values, ...more }, flags, selected: null, leavesOf });
  const shown = (what) => [applied.update(what), [...applied.sieve.passing(order)]];
  assert.deepEqual(shown(wanted({ type: ["b"] })), [[], [1, 3]]);
  assert.deepEqual(shown(wanted({ type: ["b"], topic: ["70"] })), [[], [1]]);
  assert.deepEqual(shown(wanted({ topic: [""] })), [[], [3]], "rows without a value");
  assert.deepEqual(shown(wanted({ model: ["m"], tag: ["x"] }, { since: 2 })), [["model", "tag:x", "since:2"], [0, 1, 2, 3]]);
  assert.deepEqual(shown(wanted({ tag: ["x", "y"] }, {}, new Map([["tag:x", Uint8Array.of(1, 0, 0, 0)], ["tag:y", Uint8Array.of(0, 0, 1, 0)]]))), [[], [0, 2]]);
  assert.deepEqual(shown(wanted({}, { time: [1005, 1015] })), [[], [1]]);
  assert.deepEqual(shown({ ...wanted({}, { only: true }), selected: Uint8Array.of(0, 1, 1, 0) }), [[], [1, 2]]);
  assert.deepEqual(shown(wanted({})), [[], [0, 1, 2, 3]]);
});

test("the lasso takes exactly the points inside, at the edge too", () => {
  const { x, y } = cloud(30000);
  for (const outline of [circle(120), circle(3), [1, 1, 9, 1, 1, 9, 9, 9], [2, 2, 2.001, 2, 2.0005, 9], circle(60).map((value, i) => value + (i % 4 < 2 ? 0.7 : -0.7))]) {
    const direct = [];
    for (let i = 0; i < x.length; i++) if (lassos.isInside(outline, x[i], y[i])) direct.push(i);
    assert.deepEqual([...lassos.rowsInside(outline, x, y)], direct);
  }
  assert.equal(lassos.rowsInside([1, 1, 2, 2], x, y).length, 0);
});

test("a drawn line keeps its shape with fewer corners", () => {
  const outline = circle(500), less = lassos.simplified(outline, 0.02);
  assert.ok(less.length < outline.length / 4, `${less.length / 2} corners`);
  const { x, y } = cloud(20000), all = lassos.rowsInside(outline, x, y).length;
  assert.ok(Math.abs(lassos.rowsInside(less, x, y).length - all) < 0.02 * all);
});

test("an address describes the whole view, and a damaged one what is left of it", () => {
  const place = {
    ...places.start, at: [1.5, -2, 3], colour: "model", query: 'a "b c" & d=#', mode: "words", panel: "run", tab: "filters", id: "0".repeat(32), run: "a/b.jsonl#1", order: "errors.asc",
    filters: { values: { type: ["error"], "odd name": ["x=1&y", "ü"] }, time: [100, 200], since: 3, only: true }, area: [0.5, 1, 2, 3, 4, 5], added: ["f".repeat(32)], a: ["outcome=fail"], b: ["model=x, y"], compare: "abc",
  };
  assert.deepEqual(places.parsed(places.written(place)), place);
  assert.equal(places.written(places.start), "");
  assert.deepEqual(places.parsed("at=1,x,3&time=9~1&new=-1&area=1,2&panel=no&mode=&order=<b>&added=zz&%"), places.start);
  assert.equal(places.parsed(`q=${"a".repeat(1e6)}`).query.length, 2000);
});

test("filters are toggled, hidden, and spelled for the server", () => {
  const one = filters.toggled(filters.noFilters, "type", "error");
  assert.deepEqual(one.values, { type: ["error"] });
  assert.deepEqual(filters.toggled(one, "type", "error"), filters.noFilters);
  assert.deepEqual(filters.hidden(filters.noFilters, "type", "b", ["a", "b", "c"]).values, { type: ["a", "c"] });
  assert.deepEqual(filters.hidden({ ...filters.noFilters, values: { type: ["a", "c"] } }, "type", "b", ["a", "b", "c"]), filters.noFilters);
  const all = { values: { source: ["a[1]*"], host: ["x"], outcome: ["fail", ""] }, time: [0, 60], since: 2, only: true };
  assert.deepEqual(filters.spelled(all), [["filename", "a[[]1[]][*]*"], ["extra", "host=x"], ["outcome", "fail"], ["since", "1970-01-01T00:00:00.000Z"], ["until", "1970-01-01T00:01:01.000Z"], ["new_since", "2"]]);
  assert.deepEqual(filters.phrases(all).slice(1, 3), ["host=x", "outcome=fail"]);
});

const topic = (id, parent, size, level = 3) => ({ id, parent, level, name: `t${id}`, description: "", size, x: 0, y: 0, name_source: "keywords", born: 1 });

test("topics are a tree in which a group of one is what it has, and damage makes no circle", () => {
  const tree = trees.treeOf([topic(1, -1, 9, 0), topic(2, 1, 5), topic(3, 1, 4), topic(4, -1, 7, 0), topic(5, 4, 7), topic(6, 99, 1), topic(7, 7, 2)]);
  assert.deepEqual(tree.roots.map((node) => node.topic.id), [1, 5, 7, 6]);
  assert.deepEqual([...(tree.nodes.get(1)?.leaves ?? [])], [2, 3]);
  assert.deepEqual(trees.pathTo(tree, 3).map((one) => one.id), [1, 3]);
  assert.equal(trees.countOf(tree.roots[0], new Map([[2, 3], [3, 4], [5, 100]])), 7);
});

test("the name of a topic stands where its shown points are, and leaves with them", () => {
  const tree = trees.treeOf([topic(1, -1, 4, 0), topic(2, 1, 2), topic(3, 1, 2)]), codes = Uint16Array.of(0, 0, 1, 1, 65535);
  const x = Float32Array.of(0, 2, 10, 12, 50), y = Float32Array.of(0, 0, 0, 0, 50), ids = [2, 3];
  const labels = trees.labelsOf(tree, ids, codes, x, y, Uint32Array.of(0, 1, 2, 3, 4));
  assert.deepEqual(labels.map((label) => [label.id, label.depth, label.x]), [[1, 0, 1], [2, 1, 1], [3, 1, 11]], "a group's name is among the points of a part");
  assert.deepEqual(trees.labelsOf(tree, ids, codes, x, y, Uint32Array.of(3, 4)).map((label) => [label.id, label.x]), [[1, 12], [3, 12]]);
});

test("words are marked as text, whatever they are", () => {
  assert.deepEqual(texts.wordsOf('a "b c" d'), ["a", "b c", "d"]);
  assert.deepEqual(texts.pieces("A (b) <i>", ["(b)"]), [{ text: "A ", isMarked: false }, { text: "(b)", isMarked: true }, { text: " <i>", isMarked: false }]);
  assert.equal(texts.pieces("abc", [])[0].text, "abc");
  assert.ok(texts.excerpt(`${"x ".repeat(200)}needle${" y".repeat(400)}`, ["needle"]).includes("needle"));
  assert.equal(texts.duration(3700), "1 h 2 min");
  assert.equal(texts.ago("2026-01-01T00:00:00Z", Date.parse("2026-01-03T01:00:00Z")), "2 days ago");
});

test("the view keeps its place when its size changes, and the position under the pointer when it zooms", () => {
  const view = new views.View();
  Object.assign(view, { width: 800, height: 600 });
  view.fit([0, 0, 10, 10]);
  const before = view.toScreen(3, 4);
  view.resize(500, 400);
  view.toScreen(3, 4).forEach((value, k) => near(value, before[k], 1e-9));
  const under = view.toMap(100, 50);
  view.zoom(3, 100, 50);
  view.toMap(100, 50).forEach((value, k) => near(value, under[k], 1e-9));
});

test("the grid finds the nearest accepted point", () => {
  const { x, y } = cloud(2000, 3), grid = new grids.Grid(x, y, [0, 0, 10, 10]);
  for (const [px, py] of [[5, 5], [0.1, 9.9], [12, 5]]) {
    const all = [...x.keys()].filter((i) => i % 2 === 0), far = (i) => Math.hypot(x[i] - px, y[i] - py);
    const best = all.reduce((a, b) => (far(b) < far(a) ? b : a));
    assert.equal(grid.nearest(px, py, 3, (i) => i % 2 === 0), far(best) <= 3 ? best : -1);
  }
});

test("a million rows: a filter with all its counts, and a lasso, in the time of a frame or few", () => {
  const n = 1_000_000, { x, y } = cloud(n), sieve = new sieves.Sieve(n), order = sieves.shuffled(n), codes = Uint16Array.from({ length: n }, (_, i) => i % 300);
  const took = (run) => {
    const tries = Array.from({ length: 5 }, () => {
      const began = process.cpuUsage().user;
      run();
      return (process.cpuUsage().user - began) / 1000;
    });
    return Math.min(...tries);
  };
  const allowed = Uint8Array.from({ length: 300 }, (_, i) => i % 2);
  const filter = took(() => { sieve.keepCodes("a", codes, allowed); sieve.passing(order); sieve.counts("a", codes, 65536); sieve.counts("b", codes, 65536); });
  const lasso = took(() => lassos.rowsInside(circle(120), x, y));
  console.log(`1,000,000 rows: filter ${filter.toFixed(0)} ms, lasso ${lasso.toFixed(0)} ms of processor time`);
  assert.ok(filter <= 50, `filter: ${filter} ms`);
  assert.ok(lasso <= 150, `lasso: ${lasso} ms`);
});
