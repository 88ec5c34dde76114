"""Frames a second of the terrain page in a browser that draws in software. Prints JSON lines.

    python -m benchmarks.frames [--csv FILE] [--seconds 5] [--rounds 3]

A survey of the table (by default the made-up one of `benchmarks.survey`) is opened in headless Chromium from a real API
process; the ground is turned, and all its hills rise anew with each frame. In turns with an empty page that asks for
frames: the limit. Needs Chromium and Playwright, of the extra `test`.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, sync_playwright

from benchmarks.health import api_process
from benchmarks.measure import print_figure
from benchmarks.survey import write_table
from components.pipeline import Pipeline
from components.settings import Settings

size = {"width": 1440, "height": 757}
software = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-gpu-sandbox"]
is_at_rest = "() => document.body.dataset.ready === 'yes' && window.runatlas && !window.runatlas.stage.request"

on_the_terrain = """async ({what, ms}) => {
    const {stage} = window.runatlas, began = performance.now(), first = stage.frames;
    while (performance.now() - began < ms) {
        if (what === "turn") stage.look({...stage.goal, yaw: stage.goal.yaw + 0.05});
        else { stage.heights.fill(0); stage.invalidate(); }
        await new Promise((done) => setTimeout(done, 10));
    }
    return 1000 * (stage.frames - first) / (performance.now() - began);
}"""
on_nothing = """async ({ms}) => {
    const began = performance.now();
    let frames = 0;
    while (performance.now() - began < ms) { await new Promise(requestAnimationFrame); frames++; }
    return 1000 * frames / (performance.now() - began);
}"""


def frames_of(page: Page, address: str, *, ms: float, rounds: int) -> dict[str, list[float]]:
    """Frames a second of each kind of movement, by round."""
    found: dict[str, list[float]] = {"turn": [], "rise": [], "empty": []}
    for _ in range(rounds):
        page.goto(address)
        page.wait_for_function(is_at_rest)
        for what in ("turn", "rise"):
            found[what].append(float(page.evaluate(on_the_terrain, {"what": what, "ms": ms})))
        page.goto("about:blank")
        found["empty"].append(float(page.evaluate(on_nothing, {"ms": ms})))
    return found


def measure(home: Path, dataset: str, more: dict[str, Any], *, ms: float, rounds: int) -> None:
    """Print the frames a second of this survey's page."""
    with api_process(home) as (port, _), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=software)
        page = browser.new_page(viewport=size)  # type: ignore[arg-type]
        found = frames_of(page, f"http://127.0.0.1:{port}/terrain/{dataset}", ms=ms, rounds=rounds)
        browser.close()
    limit = float(np.median(found["empty"]))
    for what, figure in (("turn", "terrain_turned"), ("rise", "terrain_reshaped")):
        middle = float(np.median(found[what]))
        shape = {"least": round(min(found[what]), 1), "of_an_empty_page": round(middle / limit, 2), **more}
        print_figure(f"{figure}_frames", middle, "frames/s, software rendering", goal=">= 20", **shape)
    print_figure("empty_page_frames", limit, "frames/s, the limit")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path, help="a table instead of the made-up one")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each movement")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    if not shutil.which("chromium"):
        raise SystemExit("Chromium is not installed: `apt-get install chromium`, or your system's package of it.")
    with tempfile.TemporaryDirectory() as folder:
        home, file = Path(folder) / "home", asked.csv or Path(folder) / "table.csv"
        if not asked.csv:
            write_table(file, 10_000)
        with Pipeline(Settings(home=home)) as pipeline:
            report = pipeline.survey(file)
        more = {"hills": report.hills, "rows": report.rows, **size}
        measure(home, report.dataset, more, ms=1_000 * asked.seconds, rounds=asked.rounds)


if __name__ == "__main__":
    main()
