"""Placing new records on a map, each time in a fresh process: our folder and numpy against umap-learn's pickle.

Prints one JSON line a figure. CPU seconds are those of the whole process, interpreter and imports included, one thread,
as the kernel counts them for the child; rounds are interleaved, the median counts; an uncounted round of each goes
first, so that files are in the page cache and kernels compiled. Quality and recall are of the same maps.

    python -m benchmarks.place [--rows 100000] [--peer-rows 5000] [--new 100] [--rounds 5]
"""

from __future__ import annotations

import argparse
import pickle
import random
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.map_quality import quality_of_placed
from benchmarks.measure import Spent, fresh, one_thread, print_figure
from components.contracts import Positions, Vectors
from components.neighbors import knn
from components.neighbors.cores import cores
from components.projector.kernels import umap_kernels
from components.projector.layout import FittedMap, read_folder, write_folder
from components.projector.umap_projector import open_projector

bulk_rows = 8_192  # placed at once, where the cost of a row is meant and not of a process


def clustered(n: int, *, dim: int = 384, clusters: int = 250, seed: int = 0) -> Vectors:
    """Unit vectors in clusters of Zipf sizes, eight dimensions thick, with some noise between them."""
    random = np.random.default_rng(seed)
    share = 1 / np.arange(1, clusters + 1)
    centres = random.normal(size=(clusters, dim))
    axes = random.normal(size=(clusters, 8, dim)) * 0.3
    vectors = np.empty((n, dim), np.float32)
    for start in range(0, n, 20_000):
        rows = min(20_000, n - start)
        which = random.choice(clusters, rows, p=share / share.sum())
        inside = np.einsum("ni,nid->nd", random.normal(size=(rows, 8)), axes[which])
        some = centres[which] + inside + random.normal(size=(rows, dim)) * 0.4
        noise = random.random(rows) < 0.03
        some[noise] = random.normal(size=(int(noise.sum()), dim))
        vectors[start : start + rows] = some
    return knn.unit(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


class ExactSearch:
    """What umap asks of a search index, answered exactly: makes its `transform` an oracle."""

    _angular_trees = True

    def __init__(self, vectors: Vectors) -> None:
        lists = np.zeros(len(vectors), np.int32)
        self.index = knn.listed(vectors, lists, np.zeros((1, vectors.shape[1]), np.float32), 1)

    def query(self, queries: Vectors, k: int, epsilon: float) -> tuple[np.ndarray, np.ndarray]:  # noqa: ARG002
        near = self.index.nearest(knn.unit(queries), k)
        return near.rows.astype(np.int32), near.distances.astype(np.float32)


def oracle_places(layout: FittedMap, fitted: Vectors, new: Vectors, cache: Path) -> Positions:
    """Where `umap.transform` with exact neighbours puts `new` on our map."""
    search = ExactSearch(fitted)
    near = layout.index.nearest(fitted, layout.neighbors)
    knn_of_umap = (near.rows.astype(np.int32), near.distances.astype(np.float32), search)
    with umap_kernels(cache) as kernels:
        model = kernels.UMAP(metric="cosine", random_state=1, n_epochs=11, init="random", precomputed_knn=knn_of_umap)
        model.fit(fitted)
        model._knn_search_index, model._small_data, model.n_epochs = search, False, None  # noqa: SLF001
        model.embedding_ = layout.positions
        return np.asarray(model.transform(new), np.float32)


def child_ours(folder: Path) -> None:
    read_folder(folder / "map").transform(np.load(folder / "new.npy"))


def child_umap(folder: Path) -> None:
    with (folder / "umap.pickle").open("rb") as file:
        pickle.load(file).transform(np.load(folder / "new.npy"))


def child_nothing(folder: Path) -> None:
    np.load(folder / "new.npy")


children = {"ours": child_ours, "umap": child_umap, "nothing": child_nothing}


def measure(rows: int, peer_rows: int, n_new: int, rounds: int, folder: Path, cache: Path) -> None:
    from components.settings import ProjectSettings

    vectors = clustered(rows + max(n_new, bulk_rows))
    fitted, more = vectors[:rows], vectors[rows:]
    np.save(folder / "new.npy", more[:n_new])
    layout = open_projector(ProjectSettings(), cache).fit(fitted)
    write_folder(layout, folder / "map")
    with umap_kernels(cache) as kernels, (folder / "umap.pickle").open("wb") as file:
        pickle.dump(kernels.UMAP(metric="cosine", random_state=42).fit(fitted[:peer_rows]), file)
    costs: dict[str, list[Spent]] = {child: [] for child in children}
    for counted in range(rounds + 1):
        for child in children:
            spent = fresh("benchmarks.place", ["--child", child, "--folder", folder], one_thread)
            if counted:
                costs[child].append(spent)
    cpu = {child: statistics.median(spent.cpu_s for spent in all_spent) for child, all_spent in costs.items()}
    wall = {child: statistics.median(spent.wall_s for spent in all_spent) for child, all_spent in costs.items()}
    shape = {"new": n_new, "rows": rows, "peer_rows": peer_rows, "rounds": rounds}
    print_figure("place_cpu_s", cpu["ours"], unit="s CPU, fresh process", **shape)
    print_figure("place_wall_s", wall["ours"], unit="s, fresh process", goal="<= 1.5 on quiet cores", **shape)
    print_figure(
        "place_start_cpu_s", cpu["nothing"], unit="s CPU of the above before any work: imports of this script", **shape
    )
    print_figure("umap_transform_cpu_s", cpu["umap"], unit="s CPU, fresh process, unpickled, NNDescent query", **shape)
    print_figure("place_ratio", cpu["umap"] / cpu["ours"], unit="x less CPU than umap.transform", goal=">= 20", **shape)
    print_bulk(read_folder(folder / "map"), more[:bulk_rows], rounds)
    print_quality(layout, fitted, more[:1_000], cache)


def print_bulk(layout: FittedMap, new: Vectors, rounds: int) -> None:
    """What a row costs among many, once the process is warm, and how much of that is the search for its neighbours."""
    costs = {"place_row_cpu_ms": layout.transform, "place_row_neighbors_cpu_ms": partial(_neighbors, layout)}
    for name, do in costs.items():
        spent = []
        for _ in range(rounds + 1):
            started = time.process_time()
            do(new)
            spent.append(time.process_time() - started)
        unit = "ms CPU a row, all threads together, median"
        shape = {"rows": layout.n_fitted, "new": len(new), "rounds": rounds}
        goal = {"goal": "<= 0.25"} if name == "place_row_cpu_ms" else {}
        print_figure(name, 1e3 * statistics.median(spent[1:]) / len(new), unit=unit, **goal, **shape)


def _neighbors(layout: FittedMap, new: Vectors) -> None:
    knn.nearest_of_many(layout.index, knn.unit(new), layout.neighbors)


def measure_real(n_texts: int, cache: Path) -> None:
    """Quality on texts of real agent logs, or of the sample logs where none are at hand: every fifth is new."""
    from benchmarks.embed import AGENT_LOGS, SAMPLE, open_ours, read_texts
    from components.settings import ProjectSettings

    distinct = list(dict.fromkeys(read_texts(AGENT_LOGS if AGENT_LOGS.is_dir() else SAMPLE)))
    texts = random.Random(4).sample(distinct, min(n_texts, len(distinct)))
    vectors = open_ours(cores(), cache).embed(texts).vectors
    is_new = np.arange(len(vectors)) % 5 == 0
    layout = open_projector(ProjectSettings(), cache).fit(vectors[~is_new])
    print_quality(layout, vectors[~is_new], vectors[is_new], cache, of="real_")


def print_quality(layout: FittedMap, fitted: Vectors, new: Vectors, cache: Path, of: str = "") -> None:
    exact = ExactSearch(fitted).index
    found, truth = layout.index.nearest(new, 15), exact.nearest(new, 15)
    lists = {"lists": len(layout.index.centroids), "probed": layout.index.n_probed, "rows": len(fitted)}
    print_figure(
        f"{of}index_recall", knn.recall(found, truth), unit="recall@15 of the neighbours placing works from", **lists
    )
    ours = quality_of_placed(new, layout.transform(new).positions, fitted, layout.positions)
    theirs = quality_of_placed(new, oracle_places(layout, fitted, new, cache), fitted, layout.positions)
    for name, goal in (("trustworthiness", ">= 0.99"), ("recall", ">= 0.95")):
        one, other = getattr(ours, name), getattr(theirs, name)
        both = {"ours": round(one, 4), "oracle": round(other, 4), "rows": len(fitted), "new": len(new)}
        unit = "of exact-kNN umap.transform on the same map, @15"
        print_figure(f"{of}placed_{name}", one / other, unit=unit, goal=goal, **both)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000, help="vectors of our map")
    parser.add_argument("--peer-rows", type=int, default=5_000, help="vectors of umap's map, at most --rows")
    parser.add_argument("--new", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=5_000, help="of real logs, for the quality; 0: none")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "runatlas-benchmark")
    parser.add_argument("--child", choices=children, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        children[asked.child](asked.folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(asked.rows, asked.peer_rows, asked.new, asked.rounds, Path(folder), asked.cache)
    if asked.texts:
        measure_real(asked.texts, asked.cache)


if __name__ == "__main__":
    main()
