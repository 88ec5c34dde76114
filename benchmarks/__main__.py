"""Run the benchmarks one after another, each in a fresh process, and write the page of numbers from what they print.

    python -m benchmarks                     # all, quick: some minutes
    python -m benchmarks --full              # as the goals are said: an hour or two of two quiet cores
    python -m benchmarks load index          # these; the page keeps the last figures of the others
    python -m benchmarks --page              # only the page and the plots, from the last figures

The figures land in `benchmarks/results/NAME.jsonl`, the page is `benchmarks/README.md`. Exit code 1 if one failed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.report import Run, draw_all, machine, parse_lines, read_runs, write_page, write_run

here = Path(__file__).parent
results = here / "results"

# name -> arguments of a quick run, and of a full one; the order is that of the page
benchmarks: dict[str, tuple[list[str], list[str]]] = {
    "read": ([], ["--full"]),
    "load": ([], ["--full"]),
    "fma_peak": ([], []),
    "embed": (["--rounds", "3", "--texts", "200"], ["--rounds", "5", "--texts", "300"]),
    "cold_start": ([], []),
    "place": (["--rows", "20000", "--rounds", "3", "--texts", "1000"], ["--peer-rows", "100000"]),
    "fit": (["--rows", "2000"], ["--rows", "20000"]),
    "publish": (["--large", "100000", "--rounds", "4"], []),
    "index": (["--large", "40000", "--peer-rows", "100"], ["--full"]),
    "scale": (["--rows", "10000"], ["--rows", "10000", "100000", "1000000"]),
    "search": (["--rows", "20000"], ["--rows", "100000"]),
    "lists": (["--rows", "200000", "--rounds", "20"], []),
    "topics": ([], []),
    "survey": (["--rows", "2000", "--calls", "300"], []),
    "frames": (["--seconds", "2"], []),
    "compare": (
        ["--runs", "120", "--trials", "4", "--power-trials", "2", "--halves", "100", "--length-trials", "4"],
        ["--runs", "1200", "--half", "held-out", "--large", "1000000"],
    ),
    "health": (["--runs", "150"], ["--runs", "600"]),
}


def there() -> list[str]:
    """The benchmarks of this checkout."""
    return [name for name in benchmarks if (here / f"{name}.py").is_file()]


def run(name: str, *, is_full: bool) -> Run | None:
    """One benchmark and its figures; None if it failed, whose last figures then stay."""
    arguments = benchmarks[name][is_full]
    load, started = os.getloadavg()[0], time.monotonic()
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    environment = os.environ | {"TQDM_DISABLE": "1"}
    done = subprocess.run(command, cwd=here.parent, stdout=subprocess.PIPE, text=True, check=False, env=environment)
    figures = parse_lines(done.stdout)
    if done.returncode or not figures:
        print(f"{name}: failed with exit code {done.returncode}, {len(figures)} figures", file=sys.stderr, flush=True)
        return None
    about = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "arguments": arguments,
        "wall_s": round(time.monotonic() - started, 1),
        "load": round(load, 1),
        "machine": machine(),
    }
    return Run(name=name, about=about, figures=figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(benchmarks))
    parser.add_argument("--full", action="store_true", help="at the sizes that the goals are said for")
    parser.add_argument("--page", action="store_true", help="run nothing")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(benchmarks):
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}; there are: {', '.join(benchmarks)}")
    failed = []
    for name in [] if asked.page else asked.names or there():
        print(f"{name} ...", file=sys.stderr, flush=True)
        done = run(name, is_full=asked.full)
        if done:
            write_run(results, done)
        else:
            failed.append(name)
    runs = read_runs(results, benchmarks)
    draw_all(results, runs)
    write_page(here / "README.md", runs)
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
