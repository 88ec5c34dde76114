"""What a search of a large snapshot costs, in inverted lists against comparing all vectors. Prints JSON lines.

    python -m benchmarks.lists [--rows 1000000] [--rounds 60]

Vectors are drawn around centres of unequal weight, in subspaces of a few dimensions, like those of texts about many
things; what is searched for are vectors of the same kind that are not among them. The peer is the exact comparison.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.measure import peak_mb, print_figure
from components.publish.install import install_snapshot
from components.publish.parts import write_embeddings_part
from components.publish.tables import embeddings_table
from components.search.lists import ListedVectors, open_lists
from components.search.vectors import Accepted, RowVectors, open_rows
from components.snapshot.manifest import Manifest
from components.snapshot.parts import Part
from components.snapshot.read import open_snapshot

dim = 384
part_rows = 250_000
batch_rows = 10_000
centres = 3_000
thickness = 24  # dimensions of a centre's own subspace


def vectors_of(start: int, n: int) -> np.ndarray:
    fixed, random = np.random.default_rng(7), np.random.default_rng(start)
    middle = fixed.normal(size=(centres, dim)).astype(np.float32)
    middle += 1.5 * middle[fixed.integers(0, 60, centres)]  # themes of like centres
    share = 1 / np.arange(1, centres + 1) ** 0.6
    which = random.choice(centres, n, p=share / share.sum())
    axes = fixed.integers(0, dim, (centres, thickness))
    vectors = middle[which] / 12 + random.normal(scale=0.02, size=(n, dim)).astype(np.float32)
    np.add.at(vectors, (np.arange(n)[:, None], axes[which]), random.normal(scale=0.12, size=(n, thickness)))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def tables(start: int, n: int) -> Iterator[pa.Table]:
    for at in range(start, start + n, batch_rows):
        size = min(batch_rows, start + n - at)
        yield embeddings_table([f"{i:032x}" for i in range(at, at + size)], vectors_of(at, size).astype(np.float16))


def publish(output: Path, rows: int) -> None:
    parts: list[Part] = []
    for start in range(0, rows, part_rows):
        n = min(part_rows, rows - start)
        parts.append(write_embeddings_part(output / "parts", f"{start:09d}", tables(start, n)))
    manifest = Manifest(
        snapshot=1,
        dataset="bench",
        layout=1,
        model=f"hash://{dim}",
        text_settings="",
        dim=dim,
        rows=rows,
        parts=parts,
        created=datetime.now(UTC),
    )
    install_snapshot(output, manifest, output / "parts", [])


def milliseconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return 1_000 * (time.perf_counter() - began)


def recall(exact: RowVectors, lists: ListedVectors, queries: np.ndarray, accepted: Accepted) -> float:
    hits = [
        len(np.intersect1d(exact.best(query, 10, accepted).rows, lists.best(query, 10, accepted).rows)) / 10
        for query in queries
    ]
    return float(np.mean(hits))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    shape = {"rows": options.rows, "rounds": options.rounds}
    with tempfile.TemporaryDirectory() as folder:
        output, cache = Path(folder) / "bench", Path(folder) / "cache"
        publish(output, options.rows)
        snapshot = open_snapshot(output)
        began, cpu = time.perf_counter(), time.process_time()
        lists = open_lists(snapshot, cache)
        print_figure("lists_built", time.process_time() - cpu, "CPU s", wall_s=time.perf_counter() - began, **shape)
        opening = milliseconds(partial(open_lists, snapshot, cache))
        print_figure("lists_opened", opening, "ms", lists=len(lists.centroids), probed=lists.n_probed, **shape)
        queries = vectors_of(10**9, options.rounds)
        for query in queries:
            lists.best(query, 10, None)
        quick = [milliseconds(partial(lists.best, query, 10, None)) for query in queries]
        print_figure("similar_in_lists_p50", float(np.median(quick)), "ms", goal="<= 10", **shape)
        exact = open_rows(snapshot, cache)
        slow = [milliseconds(partial(exact.best, query, 10, None)) for query in queries[:10]]
        ratio = float(np.median(slow) / np.median(quick))
        print_figure("lists_against_comparing_all", ratio, "x quicker", **shape)
        print_figure("recall_in_lists", recall(exact, lists, queries, None), "of 10", goal=">= 0.98", **shape)
        for share in (0.01, 0.1):
            accepted = np.random.default_rng(3).random(options.rows) < share
            found = recall(exact, lists, queries[:30], accepted)
            took = [milliseconds(partial(lists.best, query, 10, accepted)) for query in queries[:30]]
            print_figure(
                "recall_filtered",
                found,
                "of 10",
                goal=">= 0.98",
                accepted=share,
                p50_ms=float(np.median(took)),
                **shape,
            )
        print_figure("lists_peak", round(peak_mb()), "MB resident, at most", **shape)


if __name__ == "__main__":
    main()
