"""What comparisons cost: CPU of a first and of a further pair of sets, and memory. Vectors are made from a seed."""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from benchmarks.lists import publish
from benchmarks.measure import fresh, peak_mb, print_figure
from components.compare import graph as graphs
from components.compare.evidence import reach_of, speakers_of
from components.compare.material import texts_of
from components.compare.permute import chance_of, lists_of, null_of
from components.compare.stored import whole_graph
from components.search.lists import open_vectors
from components.search.vectors import RowVectors, digests_of
from components.snapshot.read import Snapshot, open_snapshot

ITEMS = 20
MODULE = "benchmarks.compare_cost"
TEXTS_A_RUN = 100
RUNS_A_TASK = 10


def measure_cost(n: int, runs: int = 400) -> None:
    """CPU of a first and of a second comparison of so many texts."""
    draw = np.random.default_rng(0)
    centres = draw.normal(size=(n // 40 + 1, 384))
    vectors = centres[draw.integers(0, len(centres), n)] + draw.normal(size=(n, 384))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    digests = digests_of(vectors)
    order = np.argsort(digests)
    where = graphs.NodeVectors(vectors=RowVectors(parts=[vectors], dim=384), rows=order)
    run, tasks = draw.integers(0, runs, n), np.arange(runs)
    shape = {"texts": n, "runs": runs}
    began = time.process_time()
    graph = graphs.build(digests[order], where)
    made = time.process_time() - began
    seconds = [compared(graph, np.arange(n), run, tasks, seed, within=False) for seed in range(2)]
    print_figure("first_comparison", made + seconds[0], "s CPU", **shape, **({"goal": "<= 25"} if n == 10_000 else {}))
    print_figure("second_comparison", seconds[1], "s CPU", **shape, **({"goal": "<= 20"} if n == 10_000 else {}))
    print_figure("comparison_peak", peak_mb(), "MB resident, at most", **shape)


def compared(
    graph: graphs.Graph, node: np.ndarray, run: np.ndarray, task: np.ndarray, seed: int, *, within: bool
) -> float:
    """CPU seconds of a comparison of random halves on a graph that is there; `within`: labels permuted within tasks too."""
    began = time.process_time()
    is_a = np.random.default_rng(seed).permutation(len(task)) < len(task) // 2
    speakers = speakers_of(node, run, n_nodes=len(graph.digests), n_runs=len(task))
    reach = reach_of(graph, speakers, task)
    chance = chance_of(reach, speakers, is_a)
    lists_of(reach, speakers, is_a, chance, ITEMS)
    null_of(reach, speakers, is_a, np.zeros(len(task), np.int64), chance, most=ITEMS)
    if within:
        null_of(reach, speakers, is_a, task, chance, most=ITEMS)
    return time.process_time() - began


def measure_large(n: int) -> None:
    """A comparison of all rows of a snapshot that is searched in lists, with both permutations, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        output, cache = Path(folder) / "bench", Path(folder) / "cache"
        publish(output, n)
        given = ["--folder", folder]
        fresh(MODULE, [*given, "--child", "lists"])  # what `index` makes for searches
        first = fresh(MODULE, [*given, "--child", "compare"])
        second = fresh(MODULE, [*given, "--child", "compare"])
        assert (cache / "compare").exists()
    goal = n == 1_000_000
    shape = {
        "texts": n,
        "runs": n // TEXTS_A_RUN,
        **{name: first.output[name] for name in ("centres", "lists", "probed")},
    }
    print_figure(
        "first_comparison",
        first.cpu_s,
        "s CPU",
        wall_s=round(first.wall_s, 1),
        **shape,
        **({"goal": "<= 300"} if goal else {}),
    )
    print_figure("second_comparison", second.cpu_s, "s CPU", wall_s=round(second.wall_s, 1), **shape)
    for name, spent in (("first", first), ("second", second)):
        parts = {part: round(spent.output[part], 1) for part in ("texts_s", "graph_s", "rounds_s")}
        print_figure(
            f"{name}_comparison_peak",
            float(spent.output["own_mb"]),
            "MB of its own, at most",
            with_mapped_files_mb=round(spent.peak_mb),
            **parts,
            **shape,
            **({"goal": "<= 1024"} if goal else {}),
        )


class OwnMemory:
    """The most memory that is the process's own, sampled: pages of mapped files can be dropped at any time."""

    def __init__(self) -> None:
        self.most_mb = 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            found = re.search(r"^RssAnon:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
            self.most_mb = max(self.most_mb, int(found[1]) / 1024 if found else peak_mb())
            time.sleep(0.05)


def compare_all(snapshot: Snapshot, cache: Path) -> dict[str, float]:
    """What the product does with the rows of two sets, each run with as many of them."""
    vectors = open_vectors(snapshot, cache / "search")
    n = snapshot.manifest.rows
    at = [time.process_time()]
    texts = texts_of(vectors, np.arange(n))
    at.append(time.process_time())
    graph = whole_graph(snapshot, vectors, texts, cache / "compare")
    at.append(time.process_time())
    run = np.random.default_rng(1).permutation(n) % (n // TEXTS_A_RUN)
    task = np.arange(n // TEXTS_A_RUN) // RUNS_A_TASK
    rounds_s = compared(graph, texts.node, run, task, 1, within=True)
    return {
        "texts_s": at[1] - at[0],
        "graph_s": at[2] - at[1],
        "rounds_s": rounds_s,
        "centres": len(graph.near),
        "lists": len(getattr(vectors, "centroids", ())),
        "probed": getattr(vectors, "n_probed", 0),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", choices=["lists", "compare"], required=True)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    snapshot, cache = open_snapshot(options.folder / "bench"), options.folder / "cache"
    own = OwnMemory()
    found: dict[str, float] = {}
    if options.child == "compare":
        found = compare_all(snapshot, cache)
    else:
        open_vectors(snapshot, cache / "search")
    print(json.dumps({**found, "peak_mb": peak_mb(), "own_mb": own.most_mb}))


if __name__ == "__main__":
    main()
