"""What a search costs: warm and in fresh processes, by meaning, by words, and by both. Prints JSON lines.

    python -m benchmarks.search [--rows 100000] [--rounds 40] [--new 1000]

Texts are words drawn at random from 5,000, most of them rare. Their vectors are not computed: they are drawn around
centres, like those of `benchmarks.lists`, and stored as those of the default model, which then embeds the queries. Up to
131,072 rows the limit is a bare product of the same matrix with the same vector; above, searches read lists. At the end
`--new` records are added, loaded and indexed in fresh processes, with topics and what searches need.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.lists import milliseconds, vectors_of
from benchmarks.measure import Spent, command_spent, fresh, one_thread, peak_mb, print_figure
from components.pipeline import Pipeline
from components.search.opening import open_dataset
from components.search.search import Query, Searched, search
from components.search.vectors import RowVectors
from components.settings import LoadSettings, ProjectSettings, Settings
from components.store import lease_name
from components.text import digest
from components.wiring import open_embedder

chunk_rows = 10_000
vocabulary = np.array([f"word{n}" for n in range(5_000)])


def texts_of(start: int, n: int) -> list[str]:
    share = 1.0 / np.arange(1, len(vocabulary) + 1)
    drawn = np.random.default_rng(start).choice(vocabulary, (n, 40), p=share / share.sum())
    return [f"{' '.join(words)} n{start + at}" for at, words in enumerate(drawn)]


def settings_at(folder: Path) -> Settings:
    return Settings(
        home=folder / "home",
        load=LoadSettings(quiet_s=0),
        project=ProjectSettings(landmarks=20_000, young=1_000),
    )


def grow(pipeline: Pipeline, folder: Path, first: int, n: int) -> None:
    """Write logs of n records, and store the vectors of their texts."""
    embedder, store = open_embedder(pipeline.settings, "default"), pipeline.store
    model_id = store.vectors.model_id(embedder.identity, embedder.dim)
    fence = store.leases.acquire(lease_name("default"), "benchmark")
    (folder / "logs").mkdir(exist_ok=True)
    for start in range(first, first + n, chunk_rows):
        size = min(chunk_rows, first + n - start)
        texts = texts_of(start, size)
        with (folder / "logs" / f"{start:09d}.jsonl").open("w") as out:
            for at, text in enumerate(texts):
                kind = ("user", "error")[at % 100 == 0]
                out.write(json.dumps({"iteration": at, "idx": 0, "type": kind, "text": text}) + "\n")
        store.vectors.put(fence, model_id, [digest(text) for text in texts], vectors_of(start, size))
    store.leases.release(fence)


def child(step: str, folder: Path) -> Spent:
    """A load or an index in a process of its own."""
    return fresh("benchmarks.search", ["--child", step, "--folder", folder], one_thread)


def run_child(step: str, folder: Path) -> None:
    with Pipeline(settings_at(folder)) as pipeline:
        if step == "load":
            pipeline.load([folder / "logs"])
        else:
            pipeline.index()
    print(json.dumps({"peak_mb": peak_mb()}))


def opened(pipeline: Pipeline) -> Searched:
    return open_dataset(
        pipeline.store,
        pipeline.store.datasets.id("default"),
        output=pipeline.output(),
        cache=pipeline.settings.cache,
        open_embedder=lambda: open_embedder(pipeline.settings, "default"),
        in_memory=True,
    )


def measure_warm(searched: Searched, rounds: int, shape: dict[str, int]) -> list[str]:
    """Searches of one process that has opened the dataset; returns ids that were searched for."""
    rng = np.random.default_rng(1)
    rows = rng.choice(len(searched.vectors), rounds, replace=False)
    ids = searched.ids.at(rows)
    questions = [" ".join(vocabulary[rng.integers(50, 5_000, 3)]) for _ in range(rounds)]
    embedder = searched.open_embedder()
    warm = Searched(
        store=searched.store,
        dataset_id=searched.dataset_id,
        snapshot=searched.snapshot,
        ids=searched.ids,
        vectors=searched.vectors,
        open_embedder=lambda: embedder,
    )
    search(warm, Query(text=questions[0]))
    similar = [milliseconds(partial(search, warm, Query(like=(id,)))) for id in ids]
    both = [milliseconds(partial(search, warm, Query(text=text))) for text in questions]
    words = [milliseconds(partial(search, warm, Query(text=text, mode="words"))) for text in questions]
    print_figure("similar_p50", float(np.median(similar)), "ms", goal="<= 25 (100,000), 10 (1,000,000)", **shape)
    print_figure("both_p95", float(np.quantile(both, 0.95)), "ms", goal="<= 50", **shape)
    print_figure("words_p95", float(np.quantile(words, 0.95)), "ms", **shape)
    if isinstance(searched.vectors, RowVectors):
        matrix = np.concatenate([np.asarray(part, np.float32) for part in searched.vectors.parts])
        bare = [milliseconds(partial(np.matmul, matrix, matrix[row])) for row in rows]
        ratio = float(np.median(similar) / np.median(bare))
        print_figure("similar_against_a_bare_product", ratio, "x the time of the product alone", **shape)
    print_figure("search_peak", round(peak_mb()), "MB resident, at most", **shape)
    return ids


def measure_cold(home: Path, ids: Sequence[str], shape: dict[str, int]) -> None:
    """Whole commands of the shell, in fresh processes, and the most memory that one takes."""
    runatlas = [sys.executable, "-c", "from api.cli.main import main; main()"]
    environment = {"RUNATLAS_HOME": str(home)}
    for name, goal, commands in (
        ("words", 0.8, [["search", f"word{n} word{n + 1}", "--mode", "words"] for n in range(60, 67)]),
        ("id", 0.8, [["similar", id] for id in ids[:7]]),
        ("meaning", 1.6, [["search", f"word{n} word{n + 1}", "--mode", "meaning"] for n in range(60, 67)]),
    ):
        runs = [command_spent([*runatlas, *command], environment) for command in commands]
        wall_s = float(np.quantile([run.wall_s for run in runs], 0.95))
        cpu_s = float(np.quantile([run.cpu_s for run in runs], 0.95))
        print_figure(f"cold_by_{name}_p95", wall_s, "s", cpu_s=round(cpu_s, 2), goal=f"<= {goal}", **shape)
        peak = max(run.peak_mb for run in runs)
        print_figure(f"cold_by_{name}_peak", round(peak), "MB resident, at most", goal="<= 300", **shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--new", type=int, default=1_000)
    parser.add_argument("--child", choices=["load", "index"])
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.child:
        run_child(options.child, options.folder)
        return
    shape = {"rows": options.rows, "rounds": options.rounds}
    with tempfile.TemporaryDirectory(dir=options.folder) as made:
        folder = Path(made)
        with Pipeline(settings_at(folder)) as pipeline:
            grow(pipeline, folder, 0, options.rows)
            child("load", folder)
            first = child("index", folder)
            print_figure("index_of_known_texts", first.cpu_s, "CPU s", peak_mb=round(first.peak_mb), **shape)
            ids = measure_warm(opened(pipeline), options.rounds, shape)
            measure_cold(folder / "home", ids, shape)
            for start in (options.rows, options.rows + options.new):  # the first one compacts what the large one left
                grow(pipeline, folder, start, options.new)
                load, index = child("load", folder), child("index", folder)
        more = {"new": options.new, "load_cpu_s": round(load.cpu_s, 2), "peak_mb": round(index.peak_mb)}
        print_figure("index_of_new_records", index.cpu_s, "CPU s", **more, **shape)


if __name__ == "__main__":
    main()
