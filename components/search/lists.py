"""Inverted lists: the vectors of a large snapshot sorted into lists of like ones, of which a search reads a few.

The lists of a part are made once, since parts never change, and memory-mapped. How many lists a search reads follows from
a sample of the snapshot's own vectors, so that it finds nearly all of what comparing all of them would find.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.atomic import disk_errors
from components.cached_folder import atomic_folder, is_intact
from components.contracts import Check, Vectors
from components.neighbors.cores import on_all_cores, products_on_one_core
from components.neighbors.knn import centroids_of, closest_of, list_offsets
from components.search.vectors import (
    Accepted,
    Best,
    Rows,
    RowVectors,
    by_part,
    chunk_rows,
    distinct,
    embeddings_of,
    f16,
    floats,
    open_rows,
    remove_unpacked,
    similarities,
    unpacked,
    unpacked_file,
)
from components.snapshot.parts import Part
from components.snapshot.read import Snapshot

LISTS_FROM = 131_072  # rows; below, comparing all of them is as quick
ROWS_A_LIST = 500  # about, when the lists are made
GROWTH = 4  # lists are made anew when a snapshot has grown so many times
SAMPLE_ROWS = 32  # for each list, from which the centroids are made
RECALL = 0.99  # of the ten nearest of the sample
SAMPLE_QUERIES = 128
MOST_PROBED = 0.25  # of the lists
EXACT_ROWS = 20_000  # that filters accept: so few are all compared
SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedPart:
    """The vectors of a part (rows, dim), list after list: list i is at `offsets[i]:offsets[i + 1]`.

    `order` (rows,) gives each its row in the part, `place` (rows,) each row its place here.
    """

    vectors: NDArray[np.float16]
    order: NDArray[np.int32]
    place: NDArray[np.int32]
    offsets: Rows

    def slices_of(self, lists: Rows) -> list[slice]:
        """The places of the vectors in each of these lists."""
        return [slice(int(self.offsets[one]), int(self.offsets[one + 1])) for one in lists.tolist()]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedVectors:
    """The vectors of a snapshot in lists around `centroids` (lists, dim), of which a search reads `n_probed`."""

    parts: Sequence[ListedPart]
    centroids: Vectors
    n_probed: int

    @property
    def dim(self) -> int:
        return int(self.centroids.shape[1])

    def __len__(self) -> int:
        return sum(self._lengths())

    def at(self, rows: Rows) -> NDArray[np.float16]:
        """The vectors of these rows (n, dim), as they are published."""
        found = np.empty((len(rows), self.dim), f16)
        for number, here, inside in by_part(rows, self._lengths()):
            part = self.parts[number]
            found[here] = part.vectors[part.place[inside]]
        return found

    def best(self, direction: NDArray[np.float32], n: int, accepted: Accepted) -> Best:
        """The n distinct vectors most similar to a direction, nearly always: those in the lists closest to it.

        Where filters accept few rows, these are all compared; where they accept a part, more lists are read.
        """
        n_accepted = len(self) if accepted is None else int(accepted.sum())
        if accepted is not None and n_accepted <= EXACT_ROWS:
            rows = np.flatnonzero(accepted)
            return self._best_of(rows, np.vecdot(floats(self.at(rows)), direction), n)
        closest = self._closest(direction)
        n_probed = min(len(closest), -(-self.n_probed * len(self) // max(1, n_accepted)))
        while True:
            rows, scores = self._scan(closest[:n_probed], direction, accepted)
            found = self._best_of(rows, scores, n)
            if len(found.rows) >= n or n_probed == len(closest):
                return found
            n_probed = min(len(closest), 4 * n_probed)

    def equal_rows(
        self,
        wanted: Vectors,
        accepted: Accepted,
        direction: NDArray[np.float32] | None,  # noqa: ARG002 - for other ways to search
        best: Best | None,  # noqa: ARG002
    ) -> list[Rows]:
        """The accepted rows that have each of these vectors; equal ones are in one list, or in the next by rounding."""
        found = [self._equal(self._closest_two(vector), vector.astype(f16)) for vector in wanted]
        return [rows if accepted is None else rows[accepted[rows]] for rows in found]

    def rows_of(self, one: int) -> Rows:
        """The rows of a list."""
        found = [part.order[part.offsets[one] : part.offsets[one + 1]] + first for first, part in self._numbered()]
        return np.concatenate([np.empty(0, np.int64), *found])

    def _lengths(self) -> list[int]:
        return [len(part.order) for part in self.parts]

    def _closest(self, direction: NDArray[np.float32]) -> Rows:
        """All lists, the closest first."""
        return np.argsort(-np.vecdot(self.centroids, direction), kind="stable")

    def _closest_two(self, direction: NDArray[np.float32]) -> Rows:
        """The first two of `_closest`, without sorting the others."""
        scores = np.vecdot(self.centroids, direction)
        first = int(np.argmax(scores))
        scores[first] = -np.inf
        return np.array([first, int(np.argmax(scores))][: len(scores)], np.int64)

    def _best_of(self, rows: Rows, scores: NDArray[np.float32], n: int) -> Best:
        order = np.argsort(rows, kind="stable")  # equal scores by row, whatever the lists
        rows, scores = rows[order], scores[order]
        chosen = distinct(self.at, rows, scores, n)
        return Best(rows=chosen, scores=scores[np.searchsorted(rows, chosen)])

    def _scan(
        self, lists: Rows, direction: NDArray[np.float32], accepted: Accepted
    ) -> tuple[Rows, NDArray[np.float32]]:
        """The accepted rows of these lists and their similarities."""
        rows, vectors = [np.empty(0, np.int64)], [np.empty((0, self.dim), f16)]
        for first, part in self._numbered():
            for places in part.slices_of(lists):
                here, found = part.order[places].astype(np.int64) + first, part.vectors[places]
                if accepted is not None:
                    is_kept = accepted[here]
                    here, found = here[is_kept], found[is_kept]
                rows.append(here)
                vectors.append(found)
        return np.concatenate(rows), np.vecdot(floats(np.concatenate(vectors)), direction)

    def _equal(self, lists: Rows, vector: NDArray[np.float16]) -> Rows:
        """The rows of these lists that have this vector, ascending; its bits are compared, numpy's floats of 16 are slow."""
        rows, wanted = [np.empty(0, np.int64)], vector.view(np.uint16)
        for first, part in self._numbered():
            vectors = part.vectors.view(np.uint16)
            for places in part.slices_of(lists):
                some = np.flatnonzero(vectors[places, 0] == wanted[0]) + places.start  # few differ further on
                is_equal = (vectors[some] == wanted).all(axis=1)
                rows.append(part.order[some[is_equal]].astype(np.int64) + first)
        return np.sort(np.concatenate(rows))

    def _numbered(self) -> Iterator[tuple[int, ListedPart]]:
        """Each part with the number of its first row."""
        first = 0
        for part in self.parts:
            yield first, part
            first += len(part.order)


# --- making and opening


def open_lists(snapshot: Snapshot, cache: Path) -> ListedVectors:
    """The lists of a snapshot, made first where they are missing or damaged; `cache` is their folder.

    Raises `DiskFailed` if a part can't be read or its lists can't be written.
    """
    folder = _centroids_folder(snapshot, cache)
    with disk_errors(cache):
        centroids, n_probed = _centroids(snapshot, folder, cache)
        name = _name_of(centroids)
        parts = [_open_part(file, cache, part, centroids, name) for file, part in embeddings_of(snapshot)]
        _remove_unused(snapshot, cache, folder, name)
    return ListedVectors(parts=parts, centroids=centroids, n_probed=n_probed)


def search_cache(cache: Path, output: Path) -> Path:
    """The folder of what makes searches of the dataset with this `output` quick."""
    return cache / "search" / output.name


def needs_lists(rows: int) -> bool:
    """Is a snapshot of so many rows searched in lists?"""
    return rows >= LISTS_FROM


def damaged_lists(snapshot: Snapshot, cache: Path) -> list[str]:
    """The folders of lists of a snapshot that are there and damaged; a search or an index makes them again."""
    centroids = _centroids_folder(snapshot, cache)
    if not centroids.exists():
        return []  # lists that nothing leads to are made again too
    if not is_intact(centroids):
        return [centroids.name]
    name = _name_of(np.load(centroids / "centroids.npy"))
    folders = [_part_folder(cache, part, name) for _, part in embeddings_of(snapshot)]
    return [folder.name for folder in folders if folder.exists() and not is_intact(folder)]


def check_lists(snapshot: Snapshot, cache: Path) -> Check:
    """Are the lists that a snapshot has undamaged? A small one has none."""
    damaged = damaged_lists(snapshot, cache) if needs_lists(snapshot.manifest.rows) else []
    detail = f"{', '.join(damaged)} in {cache}: damaged; the next search or index makes them again" if damaged else ""
    return Check(name="search lists are undamaged", ok=not damaged, detail=detail)


def _centroids_folder(snapshot: Snapshot, cache: Path) -> Path:
    """The centroids of a snapshot's layout, made anew when it has grown by `GROWTH`."""
    manifest = snapshot.manifest
    tier = int(np.log(max(manifest.rows, LISTS_FROM) / LISTS_FROM) / np.log(GROWTH))
    return cache / f"centroids-{manifest.layout}-{manifest.dim}-{tier}"


def _name_of(centroids: Vectors) -> str:
    """Lists are named by their centroids: those made again may differ, and lists around others would hide vectors."""
    return hashlib.sha256(centroids.tobytes()).hexdigest()[:16]


def _part_folder(cache: Path, part: Part, name: str) -> Path:
    return cache / f"{part.file_name}.lists-{name}"


def _centroids(snapshot: Snapshot, folder: Path, cache: Path) -> tuple[Vectors, int]:
    if not is_intact(folder):
        vectors = open_rows(snapshot, cache)
        n = max(1, len(vectors) // ROWS_A_LIST)
        sample = _sample(vectors, SAMPLE_ROWS * n)
        with products_on_one_core():
            made = centroids_of(sample, n, SEED)
        with atomic_folder(folder) as aside:
            np.save(aside / "centroids.npy", made)
            np.save(aside / "n_probed.npy", np.array(_needed(vectors, made)))
    return np.load(folder / "centroids.npy"), int(np.load(folder / "n_probed.npy"))


def _sample(vectors: RowVectors, n: int) -> Vectors:
    """At most n vectors, evenly spread over the rows."""
    rows = np.unique(np.linspace(0, len(vectors) - 1, min(n, len(vectors))).astype(np.int64))
    return floats(vectors.at(rows))


def _needed(vectors: RowVectors, centroids: Vectors) -> int:
    """How many of the closest lists hold the ten nearest of a sample of the vectors, with `RECALL`."""
    queries = _sample(vectors, SAMPLE_QUERIES)
    nearest = _nearest(vectors, queries, 11)  # the vector itself and ten others
    lists = closest_of(floats(vectors.at(nearest.ravel())), centroids).reshape(nearest.shape)
    order = np.argsort(-(queries @ centroids.T), axis=1, kind="stable")
    rank = np.argmax(order[:, None, :] == lists[:, :, None], axis=2)
    needed = int(np.quantile(rank, RECALL)) + 1
    return min(max(4, needed), max(4, round(MOST_PROBED * len(centroids))))


def _nearest(vectors: RowVectors, queries: Vectors, k: int) -> Rows:
    """The k nearest rows of each query (n, k), in no order; the vectors are read once, in chunks."""
    rows = np.empty((0, len(queries)), np.int64)
    scores = np.empty((0, len(queries)), np.float32)
    for start in range(0, len(vectors), chunk_rows):
        here = np.arange(start, min(start + chunk_rows, len(vectors)))
        found = similarities(vectors.at(here), queries)
        rows = np.concatenate([rows, np.broadcast_to(here[:, None], found.shape)])
        scores = np.concatenate([scores, found])
        if len(scores) > k:
            best = np.argpartition(-scores, k - 1, axis=0)[:k]
            rows, scores = np.take_along_axis(rows, best, 0), np.take_along_axis(scores, best, 0)
    return rows.T


def _open_part(file: Path, cache: Path, part: Part, centroids: Vectors, name: str) -> ListedPart:
    folder = _part_folder(cache, part, name)
    if not is_intact(folder, thorough=False):
        _write_part(unpacked(file, cache, part, centroids.shape[1]), centroids, folder)
    vectors, order, place, offsets = (
        np.load(folder / f"{name}.npy", mmap_mode="r").view(np.ndarray)  # whose slices are made much faster
        for name in ("vectors", "order", "place", "offsets")
    )
    return ListedPart(vectors=vectors, order=order, place=place, offsets=np.array(offsets))


def _write_part(vectors: NDArray[np.float16], centroids: Vectors, folder: Path) -> None:
    starts = range(0, len(vectors), chunk_rows)
    found = on_all_cores(lambda start: closest_of(floats(vectors[start : start + chunk_rows]), centroids), starts)
    lists = np.concatenate([np.empty(0, np.int32), *found])
    order = np.argsort(lists, kind="stable").astype(np.int32)
    place = np.empty_like(order)
    place[order] = np.arange(len(order), dtype=np.int32)
    with atomic_folder(folder) as aside:
        target = np.lib.format.open_memmap(aside / "vectors.npy", mode="w+", dtype=f16, shape=vectors.shape)
        for start in starts:
            target[start : start + chunk_rows] = vectors[order[start : start + chunk_rows]]
        target.flush()
        del target
        for name, array in (("order", order), ("place", place), ("offsets", list_offsets(lists, len(centroids)))):
            np.save(aside / f"{name}.npy", array)


def _remove_unused(snapshot: Snapshot, cache: Path, centroids: Path, name: str) -> None:
    """Delete lists of earlier snapshots, and unpacked parts, which lists replace."""
    remove_unpacked(cache, used=set())
    used = {_part_folder(cache, part, name) for _, part in embeddings_of(snapshot)} | {centroids}
    for folder in (*cache.glob("*.lists-*"), *cache.glob("centroids-*")):
        if folder not in used:
            with suppress(OSError):
                shutil.rmtree(folder)


def open_vectors(snapshot: Snapshot, cache: Path, *, in_memory: bool = False) -> RowVectors | ListedVectors:
    """The vectors of a snapshot, ready to be searched: all compared, or in lists where there are many.

    `in_memory`: for many searches, if they fit. Raises `DiskFailed` if a part can't be read.
    """
    if needs_lists(snapshot.manifest.rows):
        return open_lists(snapshot, cache)
    rows = open_rows(snapshot, cache, in_memory=in_memory)
    remove_unpacked(cache, used={unpacked_file(cache, part) for _, part in embeddings_of(snapshot)})
    return rows
