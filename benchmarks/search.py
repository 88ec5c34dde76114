"""What a search costs: warm and in fresh processes, by meaning and by words. Prints JSON lines.

    python -m benchmarks.search [--rows 100000] [--rounds 40]

Texts are words drawn at random from 5,000, most of them rare; vectors are those of `hash://384`, which no search can
tell from a model's. The limit is a bare product of the same matrix with the same vector.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.measure import peak_mb, print_figure
from components.pipeline import Pipeline
from components.search.opening import open_dataset
from components.search.search import Query, search
from components.settings import LoadSettings, ProjectSettings, Settings
from components.wiring import open_embedder

dim = 384


def write_log(path: Path, rows: int) -> None:
    rng = np.random.default_rng(0)
    words = np.array([f"word{n}" for n in range(5_000)])
    share = 1.0 / np.arange(1, len(words) + 1)
    with path.open("w") as out:
        for row in range(rows):
            text = " ".join(rng.choice(words, 40, p=share / share.sum()))
            item = {"iteration": row, "idx": 0, "type": ("user", "error")[row % 100 == 0], "text": f"{text} n{row}"}
            out.write(json.dumps(item) + "\n")


def seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def measure_warm(pipeline: Pipeline, rounds: int, shape: dict[str, int]) -> list[str]:
    """Searches of one process that has opened the dataset; returns ids that were searched for."""
    settings, store = pipeline.settings, pipeline.store
    opened = open_dataset(
        store,
        store.datasets.id("default"),
        output=pipeline.output(),
        cache=settings.cache,
        embedder=open_embedder(settings, "default"),
        in_memory=True,
    )
    rng = np.random.default_rng(1)
    rows = rng.choice(len(opened.vectors), rounds, replace=False).tolist()
    ids = [id.decode() for id in opened.ids[rows].tolist()]
    similar, bare, both, words = [], [], [], []
    matrix = np.concatenate([np.asarray(part, np.float32) for part in opened.vectors.parts])
    for row, record_id in zip(rows, ids, strict=True):
        text = " ".join(f"word{k}" for k in rng.integers(50, 5_000, 3))
        similar.append(seconds(partial(search, opened, Query(like=(record_id,)))))
        bare.append(seconds(partial(np.matmul, matrix, matrix[row])))
        both.append(seconds(partial(search, opened, Query(text=text))))
        words.append(seconds(partial(search, opened, Query(text=text, mode="words"))))
    print_figure("similar_p50", 1_000 * float(np.median(similar)), "ms", goal="<= 25 at 100,000 rows", **shape)
    ratio = float(np.median(similar) / np.median(bare))
    print_figure("similar_against_a_bare_product", ratio, "x the time of the product alone", **shape)
    print_figure("both_p95", 1_000 * float(np.quantile(both, 0.95)), "ms", goal="<= 50", **shape)
    print_figure("words_p95", 1_000 * float(np.quantile(words, 0.95)), "ms", **shape)
    print_figure("search_peak", round(peak_mb()), "MB resident, at most, with all vectors in memory", **shape)
    return ids


def measure_cold(home: Path, ids: list[str], shape: dict[str, int]) -> None:
    """Whole commands of the shell."""
    runatlas = [sys.executable, "-c", "from api.cli.main import main; main()"]
    environment = {"RUNATLAS_HOME": str(home), "RUNATLAS_MODEL": f"hash://{dim}", "RUNATLAS_CONFIG": "", "PATH": ""}

    def run(*arguments: str) -> float:
        command = [*runatlas, *arguments]
        return seconds(lambda: subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL))

    by_words = [run("search", f"word{n} word{n + 1}", "--mode", "words") for n in range(60, 67)]
    by_id = [run("similar", id) for id in ids[:7]]
    print_figure("cold_by_words_p95", float(np.quantile(by_words, 0.95)), "s", goal="<= 0.8", **shape)
    print_figure("cold_by_id_p95", float(np.quantile(by_id, 0.95)), "s", goal="<= 0.8", **shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    shape = {"rows": options.rows, "rounds": options.rounds}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        settings = Settings(
            home=home,
            model=f"hash://{dim}",
            load=LoadSettings(quiet_s=0),
            project=ProjectSettings(landmarks=2_000, young=1_000),
        )
        write_log(Path(folder) / "log.jsonl", options.rows)
        with Pipeline(settings) as pipeline:
            pipeline.load([Path(folder) / "log.jsonl"])
            pipeline.index()
            ids = measure_warm(pipeline, options.rounds, shape)
        measure_cold(home, ids, shape)


if __name__ == "__main__":
    main()
