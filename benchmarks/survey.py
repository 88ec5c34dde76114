"""What a survey of a table takes, and a change of its weights over HTTP. Prints JSON lines.

    python -m benchmarks.survey [--rows 10000] [--calls 500] [--csv FILE]

A survey of the table with the default model, in a process of its own, against the CPU of embedding the same texts, in a
process of its own too. Then weights are changed through a real API process on one connection, one call after the other;
CPU per call is that of the API process as the kernel counts it, so that waiting for a busy machine shows as the difference.
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
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.health import call, free_ports, process, until
from benchmarks.measure import fresh, print_figure
from components.embedders.model_uri import default_model, open_embedder
from components.pipeline import Pipeline
from components.settings import EmbedSettings, Settings
from components.survey.table import read_table

WARM_UP = 20  # calls that are not measured
TICK_S = 1 / os.sysconf("SC_CLK_TCK")

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


def embed_once(file: Path) -> dict[str, Any]:
    """All texts of the file embedded, equal ones once as a survey does, and nothing else."""
    table = read_table(file)
    with file.open(encoding="utf-8", newline="") as source:
        texts = list(dict.fromkeys(row[table.text_column] for row in csv.DictReader(source)))
    embedder = open_embedder(default_model, EmbedSettings())
    for start in range(0, len(texts), 256):
        embedder.embed(texts[start : start + 256])
    return {"distinct": len(texts)}


def cpu_s_of(pid: int) -> float:
    """CPU that a process took so far, with all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def measure_adjust(folder: Path, home: Path, surveyed: dict[str, Any], calls: int) -> None:
    """Print what a change of weights takes over HTTP."""
    port, nobody = free_ports(2)
    kept = {name: one for name, one in os.environ.items() if not name.startswith(("PREFECT_", "RUNATLAS_"))}
    environment = kept | {
        "RUNATLAS_HOME": str(home),
        "RUNATLAS_API__PORT": str(port),
        "RUNATLAS_PREFECT__PORT": str(nobody),
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    rng = random.Random("weights")
    path, header = f"/api/adjust/{surveyed['dataset']}", {"Content-Type": "application/json"}
    took: list[float] = []
    with process(["-m", "api"], folder, environment) as api:
        until(lambda: call(port, "GET", "/health"), api)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        for at in range(WARM_UP + calls):
            if at == WARM_UP:
                cpu_before, began = cpu_s_of(api.pid), time.perf_counter()
            hill, weight = rng.randrange(surveyed["hills"]), round(rng.random(), 3)
            sent = time.perf_counter()
            connection.request("POST", path, json.dumps({"adjustments": {str(hill): weight}}), header)
            answer = connection.getresponse()
            body = answer.read()
            took.append(1e3 * (time.perf_counter() - sent))
            if answer.status != 200:
                raise SystemExit(f"{path} answered {answer.status}: {body[:300]!r}")
        wall_s, cpu_s = time.perf_counter() - began, cpu_s_of(api.pid) - cpu_before
    found = np.percentile(took[WARM_UP:], [50, 99])
    more = {"rows": surveyed["rows"], "hills": surveyed["hills"], "calls": calls, "load": round(os.getloadavg()[0], 1)}
    cpu_ms = round(1e3 * cpu_s / calls, 2)
    print_figure(
        "adjust_p50", float(found[0]), "ms, over HTTP", goal="<= 50", p99=round(found[1], 1), cpu_ms=cpu_ms, **more
    )
    print_figure("adjust_busy", cpu_s / wall_s, "of the time, the API process had a core")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000, help="of the made-up table")
    parser.add_argument("--calls", type=int, default=500, help="changes of weights")
    parser.add_argument("--csv", type=Path, help="a table in UTF-8 with commas, instead of the made-up one")
    parser.add_argument("--only", choices=("survey", "embed"), help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.only:
        print(json.dumps(survey_once(asked.csv, asked.home) if asked.only == "survey" else embed_once(asked.csv)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        home, file = folder / "home", asked.csv or folder / "table.csv"
        if not asked.csv:
            write_table(file, asked.rows)
        surveyed = fresh("benchmarks.survey", ["--only", "survey", "--csv", file, "--home", home])
        measure_adjust(folder, home, surveyed.output, asked.calls)
        embedded = fresh("benchmarks.survey", ["--only", "embed", "--csv", file])
        sizes = {**surveyed.output, **embedded.output, "load": round(os.getloadavg()[0], 1)}
        del sizes["dataset"]
        print_figure("survey_cpu_s", surveyed.cpu_s, "s CPU, from the file to the terrain", **sizes)
        print_figure("survey_over_embedding", surveyed.cpu_s / embedded.cpu_s, "x the CPU of embedding", goal="<= 3")


if __name__ == "__main__":
    main()
