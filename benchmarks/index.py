"""What an index costs: from nothing, of a few new records on small and large maps, and of nothing at all.

    python -m benchmarks.index [--small 10000] [--large 50000] [--landmarks 20000] [--rounds 3] [--peer-rows 300]
    python -m benchmarks.index --full          # 10,000 against 1,000,000; 100 new on 100,000; default landmarks

Every load and every index is a fresh process; CPU is what the kernel counts for all of it, interpreter and
imports included. Texts are made up and all different; the model is `hash://384`, whose vectors are evenly spread:
the worst case for neighbour search. Small and large take turns, the median counts.

Embedding Atlas' own pipeline (`embedding_atlas.projection.compute_projection`, the same model) runs on few records, from
scratch, as it must whenever records come. Its cost for many is extrapolated in a straight line from a second run in the
same process, loading and compiling left out; UMAP grows faster than that, so the true ratio is larger.
"""

from __future__ import annotations

import argparse
import json
import pickle
import random
import statistics
import tempfile
import time
import warnings
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.measure import Spent, fresh, one_thread, peak_mb, print_figure
from components.pipeline import Pipeline
from components.settings import LoadSettings, ProjectSettings, Settings

file_records = 5_000
words = [f"{a}{b}" for a in ("re", "un", "pre", "out", "over", "mis") for b in ("try", "load", "build", "test", "plan")]
hashing = "hash://384"
default_model = "all-MiniLM-L6-v2"


# --- data


def text_of(i: int) -> str:
    return f"step {i}: " + " ".join(random.Random(i).choices(words, k=24))


def write_records(folder: Path, first: int, n: int) -> None:
    """Records number `first` to `first + n - 1`, in files of 5,000."""
    folder.mkdir(exist_ok=True)
    for at in range(first, first + n, file_records):
        with (folder / f"{at:09d}.jsonl").open("w") as file:
            for i in range(at, min(at + file_records, first + n)):
                row = {"iteration": i % 200, "idx": 0, "type": "assistant", "text": text_of(i)}
                file.write(json.dumps(row) + "\n")


class World:
    """One dataset in a folder of its own; every step of it is a fresh process."""

    def __init__(self, folder: Path, model: str, landmarks: int, cache: Path, *, young: int = 10_000) -> None:
        self.folder, self.model, self.landmarks, self.cache = folder, model, landmarks, cache
        self.young = young
        self.n = 0
        folder.mkdir()

    def grow(self, n: int) -> Spent:
        """Write `n` more records and load them."""
        write_records(self.folder / "logs", self.n, n)
        self.n += n
        return self.run("load")

    def index(self, *, threads: bool = False) -> Spent:
        return self.run("index", {} if threads else one_thread)

    def run(self, child: str, environment: dict[str, str] | None = None) -> Spent:
        given = ["--child", child, "--folder", self.folder, "--model", self.model]
        given += ["--landmarks", self.landmarks, "--young", self.young, "--cache", self.cache]
        return fresh("benchmarks.index", given, environment)


# --- children


def open_pipeline(asked: argparse.Namespace) -> Pipeline:
    settings = Settings(
        home=asked.folder / "home",
        shared_cache=asked.cache,
        model=asked.model,
        load=LoadSettings(quiet_s=0),
        project=ProjectSettings(landmarks=asked.landmarks, young=asked.young),
    )
    return Pipeline(settings)


def child_load(asked: argparse.Namespace) -> None:
    with open_pipeline(asked) as pipeline:
        report = asdict(pipeline.load([asked.folder / "logs"]))
        print(json.dumps({**report, "peak_mb": peak_mb()}))


def child_index(asked: argparse.Namespace) -> None:
    start, embedded_cpu_s = time.perf_counter(), 0.0

    def note(step: str, *_: int) -> None:
        nonlocal embedded_cpu_s
        if step in {"fetch", "embed"}:
            embedded_cpu_s = time.process_time()

    with open_pipeline(asked) as pipeline:
        report = asdict(pipeline.index(progress=note))
        wall_s = time.perf_counter() - start
        after_cpu_s = time.process_time() - embedded_cpu_s
        print(json.dumps({**report, "wall_s": wall_s, "after_embedding_cpu_s": after_cpu_s, "peak_mb": peak_mb()}))


def child_embed(asked: argparse.Namespace) -> None:
    from components.wiring import open_embedder

    with open_pipeline(asked) as pipeline:
        open_embedder(pipeline.settings, "default").embed([text_of(i) for i in range(100)])


def child_umap_fit(asked: argparse.Namespace) -> None:
    """Plain umap-learn on as many hash vectors as `--n` says, pickled, and 100 new ones beside it."""
    warnings.simplefilter("ignore")
    from components.embedders.hashing import hash_vector
    from components.projector.kernels import umap_kernels

    vectors = np.stack([hash_vector(text_of(i), 384) for i in range(asked.n + 100)])
    np.save(asked.folder / "new.npy", vectors[asked.n :])
    with umap_kernels(asked.cache) as kernels, (asked.folder / "umap.pickle").open("wb") as file:
        pickle.dump(kernels.UMAP(metric="cosine", random_state=42).fit(vectors[: asked.n]), file)


def child_atlas(asked: argparse.Namespace) -> None:
    """Embedding Atlas from scratch, then once more in the same process, where all is loaded and compiled."""
    warnings.simplefilter("ignore")
    import polars as pl
    from embedding_atlas.projection import compute_projection

    from components.embedders.bert import default_folder

    frame = pl.DataFrame({"text": [text_of(i) for i in range(asked.n)]})
    took = []
    for _ in range(2):
        started = time.process_time()
        with tempfile.TemporaryDirectory() as nowhere:
            compute_projection(frame, inputs="text", modality="text", model=str(default_folder()), cache_root=nowhere)
        took.append(time.process_time() - started)
    print(json.dumps({"first_cpu_s": took[0], "again_cpu_s": took[1]}))


children = {
    "load": child_load,
    "index": child_index,
    "embed": child_embed,
    "umap_fit": child_umap_fit,
    "atlas": child_atlas,
}


# --- figures


def from_nothing(name: str, world: World, n: int, goal: dict[str, str]) -> None:
    """Load and index `n` records; print_figure what both took."""
    loaded, indexed = world.grow(n), world.index(threads=True)
    assert indexed.output["rows"] == n, indexed.output
    shape = {"rows": n, "fitted": min(n, world.landmarks)}
    print_figure(f"load_{name}_cpu", loaded.cpu_s, "s CPU, fresh process", rows=n)
    print_figure(f"load_{name}_peak", loaded.peak_mb, "MB resident, at most", rows=n)
    seconds = {step: round(s, 2) for step, s in indexed.output["seconds"].items()}
    print_figure(f"index_{name}_cpu", indexed.cpu_s, "s CPU, fresh process", seconds=seconds, **shape)
    print_figure(f"index_{name}_peak", indexed.peak_mb, "MB resident, at most", **goal, **shape)
    output = world.folder / "home" / "output" / "default" / "current"
    size = sum(path.stat().st_size for path in (output / "embeddings").glob("*.parquet"))
    print_figure(f"output_{name}_bytes", size / n, "bytes a vector in the output", goal="<= 800", **shape)
    tell_store(name, world, n)


def tell_store(name: str, world: World, n: int) -> None:
    """What the vectors take in the database, their index included: its size with them and after they are gone."""
    import sqlite3

    copy = world.folder / "copy.db"
    with sqlite3.connect(world.folder / "home" / "runatlas.db") as store, sqlite3.connect(copy) as taken:
        store.backup(taken)
    store.close()
    before = copy.stat().st_size
    free = taken.execute("pragma freelist_count").fetchone()[0]
    taken.execute("pragma foreign_keys=off")
    taken.execute("drop table vector")
    taken.commit()
    freed = taken.execute("pragma freelist_count").fetchone()[0] - free
    page = taken.execute("pragma page_size").fetchone()[0]
    taken.close()
    print_figure(f"store_{name}_bytes", freed * page / n, "bytes a vector in the store", goal="<= 1000", rows=n)
    print_figure(f"database_{name}_bytes", before / n, "bytes a record in the database, its text and all", rows=n)
    copy.unlink()


def in_turns(worlds: list[World], n: int, rounds: int) -> list[list[Spent]]:
    """`n` new records, loaded uncounted and indexed, on each world in turn; a first round is not counted."""
    spent: list[list[Spent]] = [[] for _ in worlds]
    for turn in range(rounds + 1):
        for each, world in zip(spent, worlds, strict=True):
            world.grow(n)
            one = world.index()
            assert one.output["step"] == "transform", one.output
            if turn:
                each.append(one)
    return spent


def median_cpu(spent: list[Spent]) -> float:
    return statistics.median(one.cpu_s for one in spent)


def steps_of(spent: list[Spent]) -> dict[str, float]:
    names = ("fetch", "embed", "project", "publish")
    return {name: round(statistics.median(one.output["seconds"][name] for one in spent), 3) for name in names}


def a_thousand(small: World, large: World, rounds: int) -> None:
    sizes = (small.n, large.n)
    few, many = in_turns([small, large], 1_000, rounds)
    for name, n, spent in (("small", sizes[0], few), ("large", sizes[1], many)):
        print_figure(
            f"thousand_new_on_{name}",
            median_cpu(spent),
            "s CPU, fresh process",
            rows=n,
            rounds=rounds,
            seconds=steps_of(spent),
            wall_s=round(statistics.median(one.output["wall_s"] for one in spent), 2),
        )
    print_figure(
        "thousand_new_large_over_small",
        median_cpu(many) / median_cpu(few),
        "x the CPU",
        goal="<= 2",
        rows=sizes[1],
        small_rows=sizes[0],
        rounds=rounds,
    )


def nothing(world: World, rounds: int) -> None:
    spent = [world.index() for _ in range(rounds)]
    assert all(one.output["step"] == "none" for one in spent)
    print_figure(
        "nothing_to_do_cpu", median_cpu(spent), "s CPU, fresh process", goal="<= 2", rows=world.n, rounds=rounds
    )
    wall = statistics.median(one.output["wall_s"] for one in spent)
    print_figure("nothing_to_do_wall", wall, "s, imports left out", rows=world.n, rounds=rounds)


def a_hundred(world: World, peer_rows: int, rounds: int, folder: Path) -> float:
    """100 new on a large map, placed and published, against `umap.transform` in a fresh process; the CPU seconds of
    our whole process come back.
    """
    rows = world.n
    (spent,) = in_turns([world], 100, rounds)
    fresh("benchmarks.index", ["--child", "umap_fit", "--folder", folder, "--n", peer_rows, "--cache", world.cache])
    peers = [fresh("benchmarks.place", ["--child", "umap", "--folder", folder], one_thread) for _ in range(rounds + 1)][
        1:
    ]
    ours, theirs = median_cpu(spent), median_cpu(peers)
    shape = {"rows": rows, "rounds": rounds}
    print_figure("hundred_new_cpu", ours, "s CPU, fresh process, whole index", seconds=steps_of(spent), **shape)
    wall = statistics.median(one.output["seconds"]["project"] + one.output["seconds"]["publish"] for one in spent)
    print_figure("hundred_new_place_and_publish_wall", wall, "s", goal="<= 1.5 on quiet cores", **shape)
    print_figure("umap_transform_cpu", theirs, "s CPU, fresh process, unpickled", peer_rows=peer_rows, rounds=rounds)
    after = statistics.median(one.output["after_embedding_cpu_s"] for one in spent)
    print_figure("hundred_new_place_and_publish_cpu", after, "s CPU, fresh process, from the last vector on", **shape)
    print_figure("hundred_new_against_umap", theirs / after, "x less CPU than umap.transform", goal=">= 20", **shape)
    print_figure(
        "hundred_new_whole_against_umap", theirs / ours, "x less CPU, interpreter and imports counted", **shape
    )
    return ours


def against_atlas(large_rows: int, ours_on_large: float, n: int, folder: Path, cache: Path) -> None:
    """100 new records here against all of them again there."""
    world = World(folder / "atlas", default_model, 100_000, cache, young=0)
    world.grow(n)
    world.index()
    world.grow(100)
    ours = world.index()
    offline = one_thread | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    atlas = fresh("benchmarks.index", ["--child", "atlas", "--n", n + 100, "--folder", folder], offline)
    from_scratch = atlas.cpu_s - atlas.output["again_cpu_s"]
    print_figure(f"atlas_{n}_cpu", from_scratch, "s CPU, Embedding Atlas from scratch, fresh process", rows=n + 100)
    print_figure(f"ours_{n}_cpu", ours.cpu_s, "s CPU, index of 100 new, same model, fresh process", rows=n + 100)
    print_figure(
        f"against_atlas_{n}", from_scratch / ours.cpu_s, "x less CPU than Embedding Atlas from scratch", rows=n + 100
    )
    a_record = atlas.output["again_cpu_s"] / (n + 100)
    embed = fresh(
        "benchmarks.index",
        ["--child", "embed", "--model", default_model, "--folder", folder, "--cache", cache],
        one_thread,
    )
    print_figure(
        "against_atlas_large",
        a_record * large_rows / (ours_on_large + embed.cpu_s),
        "x less CPU than Embedding Atlas from scratch",
        goal=">= 100" if large_rows >= 100_000 else ">= 100 on 100,000",
        rows=large_rows,
        how=f"extrapolated from {n + 100} records in a process where all is loaded and compiled",
        atlas_cpu_s_a_record=round(a_record, 5),
        ours_cpu_s=round(ours_on_large + embed.cpu_s, 2),
    )


def measure(asked: argparse.Namespace, folder: Path) -> None:
    small, large = asked.small, asked.large or (1_000_000 if asked.full else 50_000)
    landmarks = asked.landmarks or (100_000 if asked.full else 20_000)
    cache = asked.cache
    young = min(10_000, small, landmarks)  # new records are placed on every map here, none is fitted again
    worlds = [World(folder / name, hashing, landmarks, cache, young=young) for name in ("small", "large")]
    from_nothing("small", worlds[0], small, {})
    from_nothing("large", worlds[1], large, {"goal": "<= 2500"} if large >= 1_000_000 else {})
    a_thousand(worlds[0], worlds[1], asked.rounds)
    nothing(worlds[1], asked.rounds)
    middle = worlds[1]
    if asked.full:  # the goal is said for 100,000
        middle = World(folder / "middle", hashing, landmarks, cache, young=young)
        from_nothing("middle", middle, 100_000, {})
    peer_rows = asked.umap_rows or (100_000 if asked.full else 5_000)
    ours = a_hundred(middle, peer_rows, asked.rounds, folder)
    if asked.peer_rows or asked.full:
        against_atlas(middle.n, ours, asked.peer_rows or 1_000, folder, cache)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--small", type=int, default=10_000)
    parser.add_argument("--large", type=int)
    parser.add_argument("--landmarks", type=int)
    parser.add_argument("--umap-rows", type=int, help="rows of umap's own map")
    parser.add_argument("--peer-rows", type=int, default=300, help="records for Embedding Atlas; 0: leave it out")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "runatlas-benchmark")
    parser.add_argument("--child", choices=children, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--model", default=hashing, help=argparse.SUPPRESS)
    parser.add_argument("--n", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--young", type=int, default=10_000, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        asked.landmarks = asked.landmarks or 100_000
        children[asked.child](asked)
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(asked, Path(folder))


if __name__ == "__main__":
    main()
