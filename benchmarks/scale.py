"""What a record costs as a dataset grows: CPU, memory and disk of each step, by size, for docs/scale.md.

Every step is a fresh process; CPU is what the kernel counts for it, memory the most it held. Texts are made up and all
different, the model is `hash://384`: the default model's 11 ms of a text are measured by `embed`.

    python -m benchmarks.scale [--rows 10000 100000] [--landmarks 100000]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks.index import hashing, open_pipeline, write_records
from benchmarks.measure import fresh, peak_mb, print_figure

steps = ("load", "index", "verify", "again")  # the last: an index with nothing to do


def child(asked: argparse.Namespace) -> None:
    """One step, in a process of its own."""
    with open_pipeline(asked) as pipeline:
        if asked.child == "load":
            pipeline.load([asked.folder / "logs"])
        elif asked.child == "verify":
            assert all(check.ok for check in pipeline.verify())
        else:
            pipeline.index()
    print(json.dumps({"peak_mb": peak_mb()}))


def measure(rows: int, landmarks: int, cache: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_records(folder / "logs", 0, rows)
        for step in steps:
            given = [
                "--child",
                step,
                "--folder",
                folder,
                "--cache",
                cache,
                "--landmarks",
                landmarks,
                "--model",
                hashing,
            ]
            spent = fresh("benchmarks.scale", given)
            print_figure(f"{step}_cpu_ms_a_row", 1e3 * spent.cpu_s / rows, unit="ms CPU a record", rows=rows)
            print_figure(f"{step}_peak_mb", spent.peak_mb, unit="MB resident, at most", rows=rows)
            print_figure(f"{step}_wall_s", spent.wall_s, unit="s", rows=rows)
        for what, found in (
            ("database", list((folder / "home").glob("runatlas.db*"))),
            ("output", [path for path in (folder / "home" / "output").rglob("*.parquet") if not path.is_symlink()]),
            ("cache", [path for path in (folder / "home" / "cache").rglob("*") if path.is_file()]),
        ):
            size = sum({(stat.st_dev, stat.st_ino): stat.st_size for stat in map(Path.stat, found)}.values())
            print_figure(f"{what}_bytes_a_row", size / rows, unit="bytes a record", rows=rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--landmarks", type=int, default=100_000)
    parser.add_argument("--young", type=int, default=10_000, help=argparse.SUPPRESS)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "runatlas-benchmark")
    parser.add_argument("--child", choices=steps, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--model", default=hashing, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        child(asked)
        return
    for rows in asked.rows:
        measure(rows, asked.landmarks, asked.cache)


if __name__ == "__main__":
    main()
