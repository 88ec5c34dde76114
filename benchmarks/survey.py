"""What a survey of a table takes, and a change of its weights over HTTP. Prints JSON lines.

    python -m benchmarks.survey [--rows 10000] [--calls 500] [--csv FILE]

A survey of the table with the default model, in a process of its own, against the CPU of embedding the same texts, in a
process of its own too. Then weights are changed through a real API process on one connection, one call after the other;
in turns with a call that does nothing; the CPU beside is that of the API process as the kernel counts it, so that waiting
for a busy machine shows as the difference.
Without a table, rows are made up: requests of 48 kinds, each said in many ways, some kinds far more often than others.
"""

from __future__ import annotations

import argparse
import csv
import http.client
import json
import os
import random
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.health import api_process
from benchmarks.measure import fresh, print_figure
from components.embedders.model_uri import default_model, open_embedder
from components.pipeline import Pipeline
from components.settings import EmbedSettings, Settings
from components.survey.table import data_rows, read_table

WARM_UP = 20  # calls that are not measured

things = ("card", "parcel", "invoice", "password", "refund", "booking", "router", "prescription")
troubles = (
    ("has not arrived yet", "is still on its way", "should have been here long ago"),
    ("does not work any more", "is broken", "stopped working"),
    ("shows the wrong amount", "is more than I agreed to", "was charged twice"),
    ("has to be cancelled", "is not wanted any more", "was ordered by mistake"),
    ("needs another name on it", "is in the wrong name", "has my old name"),
    ("was stolen", "is lost", "must have been taken by somebody"),
)
openings = ("", "Hello, ", "Please help: ", "Since {day} ", "I wrote on {day} already: ", "Can you look into it? ")
closings = ("", " What can I do?", " I am waiting since {day}.", " My number is {number}.", " Thank you.")


def write_table(file: Path, rows: int) -> None:
    """Made-up requests, the same ones each time."""
    rng = random.Random("survey")
    kinds = [(thing, ways) for thing in things for ways in troubles]
    chosen = rng.choices(kinds, weights=[1 / (1 + at % 12) for at in range(len(kinds))], k=rows)
    days = ("Monday", "Tuesday", "last week", "the third of May", "yesterday", "two weeks ago")
    with file.open("w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target)
        writer.writerow(["number", "text"])
        for number, (thing, ways) in enumerate(chosen):
            text = f"{rng.choice(openings)}my {thing} {rng.choice(ways)}.{rng.choice(closings)}"
            writer.writerow([number, text.format(day=rng.choice(days), number=rng.randint(1_000, 9_999))])


def survey_once(file: Path, home: Path) -> dict[str, Any]:
    """The survey of the file in a new home."""
    with Pipeline(Settings(home=home)) as pipeline:
        report = pipeline.survey(file)
    return {"dataset": report.dataset, "rows": report.rows, "hills": report.hills}


def embed_once(file: Path, home: Path) -> dict[str, Any]:
    """All texts of the file embedded, equal ones once as a survey does, and nothing else."""
    table = read_table(file)
    texts = list(dict.fromkeys(row[table.text_index] for row in data_rows(file, table)))
    embedder = open_embedder(default_model, EmbedSettings(), home / "cache")
    for start in range(0, len(texts), 256):
        embedder.embed(texts[start : start + 256])
    return {"distinct": len(texts)}


def cpu_s_of(pid: int) -> float:
    """CPU that a process took so far, with all its threads."""
    nanoseconds = 0
    for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with suppress(OSError):  # it ended meanwhile
            nanoseconds += int(thread.read_text().split()[0])
    return nanoseconds / 1e9


class Caller:
    """Calls on one connection to an API process, and what they took."""

    def __init__(self, port: int, pid: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.pid = pid
        self.ms: list[float] = []
        self.cpu_s = 0.0

    def call(self, method: str, path: str, body: Any = None) -> None:
        """One call; raises `SystemExit` if it is refused."""
        cpu_before, sent = cpu_s_of(self.pid), time.perf_counter()
        self.connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        given = answer.read()
        self.ms.append(1e3 * (time.perf_counter() - sent))
        self.cpu_s += cpu_s_of(self.pid) - cpu_before
        if answer.status != 200:
            raise SystemExit(f"{path} answered {answer.status}: {given[:300]!r}")

    def figures(self) -> dict[str, float]:
        """Median and slow calls, and CPU of each, in ms."""
        p50, p99 = (round(float(one), 1) for one in np.percentile(self.ms, [50, 99]))
        return {"p50": p50, "p99": p99, "cpu_ms": round(1e3 * self.cpu_s / len(self.ms), 2)}


def measure_adjust(home: Path, surveyed: dict[str, Any], calls: int) -> None:
    """Print what a change of weights takes over HTTP, beside a call that does nothing, in turns."""
    rng = random.Random("weights")
    with api_process(home) as (port, api):
        warming, adjusting, idle = (Caller(port, api.pid) for _ in range(3))
        for at in range(WARM_UP + calls):
            weights = {str(rng.randrange(surveyed["hills"])): round(rng.random(), 3)}
            caller = warming if at < WARM_UP else adjusting
            caller.call("POST", f"/api/adjust/{surveyed['dataset']}", {"adjustments": weights})
            if at >= WARM_UP:
                idle.call("GET", "/api/csrf")
    figures = adjusting.figures()
    more = {"rows": surveyed["rows"], "hills": surveyed["hills"], "calls": calls, "load": round(os.getloadavg()[0], 1)}
    print_figure("adjust_p50", figures.pop("p50"), "ms, over HTTP", goal="<= 50", **figures, **more)
    figures = idle.figures()
    print_figure("empty_call_p50", figures.pop("p50"), "ms, a call of the same server that does nothing", **figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000, help="of the made-up table")
    parser.add_argument("--calls", type=int, default=500, help="changes of weights")
    parser.add_argument("--csv", type=Path, help="a table in UTF-8 with commas, instead of the made-up one")
    parser.add_argument("--only", choices=("survey", "embed"), help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.only:
        print(
            json.dumps(
                survey_once(asked.csv, asked.home) if asked.only == "survey" else embed_once(asked.csv, asked.home)
            )
        )
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        home, file = folder / "home", asked.csv or folder / "table.csv"
        if not asked.csv:
            write_table(file, asked.rows)
        surveyed = fresh("benchmarks.survey", ["--only", "survey", "--csv", file, "--home", home])
        measure_adjust(home, surveyed.output, asked.calls)
        embedded = fresh("benchmarks.survey", ["--only", "embed", "--csv", file, "--home", home])
        sizes = {**surveyed.output, **embedded.output, "load": round(os.getloadavg()[0], 1)}
        del sizes["dataset"]
        print_figure("survey_cpu_s", surveyed.cpu_s, "s CPU, from the file to the terrain", **sizes)
        print_figure("survey_over_embedding", surveyed.cpu_s / embedded.cpu_s, "x the CPU of embedding", goal="<= 3")


if __name__ == "__main__":
    main()
