"""The nearest fitted rows of a vector: all of them compared, or only those of the closest lists where a map is large.

What is found for a vector never depends on the other vectors of the call. BLAS alone would not grant that: its sums
are ordered by the shape of the batch. So single precision only chooses candidates, with a margin for its error, and
candidates are ranked by sums that are exact in any order: vectors are laid on a grid of 2^-25, their products are
multiples of 2^-50, and no partial sum of unit vectors needs more than the 53 bits of a double.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from components.contracts import Vectors
from components.errors import EmbeddingFailed
from components.neighbors.cores import on_all_cores, products_on_one_core

Rows = NDArray[np.int64]

lists_from = 30_000  # fitted rows; below, comparing all of them is as quick
score_cells = 20_000_000  # single-precision scores held at once: 80 MB
rescored_rows = 32  # rows whose candidates are ranked at once: 3 MB at 384 dimensions; 25 MB took half as long again
spare = 17  # candidates beyond k: how near the k-th may lie to its followers before a row is looked at alone
list_rows_min = 64  # smaller lists are dissolved, so that a few of them always hold k rows
recall_wanted = 0.985
most_probed = (
    0.25  # of the lists; queries that need more are so evenly distributed that rows 1 % farther away serve as well
)
groups = 1_024  # of scores, whose maxima bound from below what is among the best
searched_rows = 2_048  # at once, on each core
grid = 2.0**25


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbors:
    """Of each of n vectors the k nearest rows (n, k), nearest first, and their cosine distances (n, k) in double."""

    rows: Rows
    distances: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorIndex:
    """Vectors of a map cut into lists of like ones; a vector is compared with the `n_probed` closest lists.

    `vectors` (n, dim) lie list after list, list i at `offsets[i]:offsets[i + 1]`; `order` (n,) gives each its row in
    the map. With one list every search is exhaustive, and `centroids` (lists, dim) carry no information.
    """

    vectors: Vectors
    order: Rows
    offsets: Rows
    centroids: Vectors
    n_probed: int

    @property
    def lists(self) -> NDArray[np.int32]:
        """The list of each row of the map, (n,)."""
        lists = np.empty(len(self.order), np.int32)
        lists[self.order] = np.repeat(np.arange(len(self.offsets) - 1, dtype=np.int32), np.diff(self.offsets))
        return lists

    def nearest(self, queries: Vectors, k: int) -> Neighbors:
        """The k nearest rows of each query; ties by row. k is at most the number of rows."""
        rows = np.empty((len(queries), k), np.int64)
        distances = np.empty((len(queries), k), np.float64)
        n_probed = min(len(self.centroids), max(self.n_probed, -(-k // list_rows_min)))
        probed = closest_centroids(queries, self.centroids, n_probed)
        for chunk in self._chunks(probed):
            scan = self._scan(queries[chunk], probed[chunk])
            for part in _slices(len(chunk), rescored_rows):
                rows[chunk[part]], distances[chunk[part]] = self._rank(queries[chunk[part]], scan.part(part), k)
        return Neighbors(rows=rows, distances=distances)

    def _chunks(self, probed: Rows) -> Iterator[Rows]:
        """Queries in groups whose scores fit into memory; queries of one list come together."""
        order = np.argsort(probed[:, 0], kind="stable")
        cells = np.diff(self.offsets)[probed].sum(axis=1)[order]
        start = 0
        while start < len(order):
            widest = np.maximum.accumulate(cells[start : start + score_cells])
            fits = widest * np.arange(1, len(widest) + 1) <= score_cells
            stop = start + max(1, int(np.count_nonzero(fits)))
            yield order[start:stop]
            start = stop

    def _scan(self, queries: Vectors, probed: Rows) -> _Scan:
        """Scores of every query against all rows of its lists, list by list so that each is read once."""
        firsts = self.offsets[probed]
        sizes = self.offsets[probed + 1] - firsts
        starts = np.cumsum(sizes, axis=1) - sizes
        if len(self.centroids) == 1:
            return _Scan(scores=queries @ self.vectors.T, starts=starts, firsts=firsts)
        scores = np.full((len(queries), int(sizes.sum(axis=1).max())), -np.inf, np.float32)
        pairs = np.argsort(probed, axis=None, kind="stable")
        bounds = np.searchsorted(probed.ravel()[pairs], np.arange(len(self.centroids) + 1))
        for i in np.flatnonzero(np.diff(bounds)):
            row, probe = np.divmod(pairs[bounds[i] : bounds[i + 1]], probed.shape[1])
            listed = self.vectors[self.offsets[i] : self.offsets[i + 1]]
            runs = sliding_window_view(
                scores.reshape(-1), len(listed), writeable=True
            )  # whole runs are copied quickest
            runs[row * scores.shape[1] + starts[row, probe]] = queries[row] @ listed.T
        return _Scan(scores=scores, starts=starts, firsts=firsts)

    def _rank(self, queries: Vectors, scan: _Scan, k: int) -> tuple[Rows, NDArray[np.float64]]:
        """Rows and distances of the k nearest; where single precision can't decide, from a wider choice."""
        width = min(k + spare, scan.scores.shape[1])
        columns = largest(scan.scores, width)
        picked = np.take_along_axis(scan.scores, columns, axis=1)
        floor = np.partition(picked, -k, axis=1)[:, -k] - _slack(self.vectors.shape[1])
        rows, distances = self._rescore(queries, scan.positions(columns), k)
        unsure = picked.min(axis=1) >= floor if width < scan.scores.shape[1] else np.zeros(len(queries), np.bool_)
        for i in np.flatnonzero(unsure):
            wide = np.flatnonzero(scan.scores[i] >= floor[i])[None, :]
            one = scan.part(slice(i, i + 1))
            rows[i], distances[i] = (found[0] for found in self._rescore(queries[i : i + 1], one.positions(wide), k))
        return rows, distances

    def _rescore(self, queries: Vectors, positions: Rows, k: int) -> tuple[Rows, NDArray[np.float64]]:
        """The k nearest among the rows at `positions` (n, m), by exact similarity; padding is infinitely far."""
        candidates = on_grid(self.vectors[np.maximum(positions, 0)])
        similarity = np.matmul(candidates, on_grid(queries)[:, :, None])[:, :, 0] / grid**2
        distances = np.where(positions < 0, np.inf, np.maximum(1.0 - similarity, 0.0))
        rows = self.order[np.maximum(positions, 0)]
        nearest = np.lexsort((rows, distances), axis=1)[:, :k]
        return np.take_along_axis(rows, nearest, axis=1), np.take_along_axis(distances, nearest, axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scan:
    """Scores (n, m) of n queries, list after list, -inf behind the last.

    `starts` and `firsts` (n, probed): the column where each probed list begins, and its first vector.
    """

    scores: NDArray[np.float32]
    starts: Rows
    firsts: Rows

    def part(self, rows: slice) -> _Scan:
        return _Scan(scores=self.scores[rows], starts=self.starts[rows], firsts=self.firsts[rows])

    def positions(self, columns: Rows) -> Rows:
        """Which vector each column (n, m) represents; -1 for padding."""
        probe = (columns[:, :, None] >= self.starts[:, None, :]).sum(axis=2) - 1
        offset = columns - np.take_along_axis(self.starts, probe, axis=1)
        found = np.take_along_axis(self.firsts, probe, axis=1) + offset
        return np.where(np.isneginf(np.take_along_axis(self.scores, columns, axis=1)), -1, found)


def largest(scores: NDArray[np.float32], k: int) -> Rows:
    """The columns of the k largest of each row of scores (n, m), in no order.

    The k-th largest of the maxima of many groups of columns is a bound that few but the k largest reach: looking for
    those takes a tenth of what sorting all columns into two takes.
    """
    n, m = scores.shape
    if m < 4 * groups or k > groups // 4:
        return np.argpartition(scores, -k, axis=1)[:, -k:]
    grouped = scores[:, : m // groups * groups].reshape(n, m // groups, groups)  # neighbours in different groups
    bound = np.partition(grouped.max(axis=1), -k, axis=1)[:, -k]
    row, column = np.divmod(np.flatnonzero(scores >= bound[:, None]), m)
    found = np.bincount(row, minlength=n)
    if found.max(initial=0) > groups:
        return np.argpartition(scores, -k, axis=1)[:, -k:]
    at = np.arange(len(row)) - np.repeat(np.cumsum(found) - found, found)
    columns = np.zeros((n, int(found.max(initial=k))), np.int64)
    columns[row, at] = column
    kept = np.full(columns.shape, -np.inf, np.float32)
    kept[row, at] = scores[row, column]
    return np.take_along_axis(columns, np.argpartition(kept, -k, axis=1)[:, -k:], axis=1)


def unit(vectors: Vectors) -> Vectors:
    """The vectors (n, dim) at unit length to the last bit of single precision.

    Raises `EmbeddingFailed` for the first that is not finite or not of about unit length.
    """
    scaled = np.empty(vectors.shape, np.float32)
    for rows in _slices(len(vectors), 4_096):
        points = on_grid(vectors[rows])
        with np.errstate(invalid="ignore"):
            length = np.sqrt(np.einsum("nd,nd->n", points, points)) / grid
        bad = np.flatnonzero(~(np.abs(length - 1.0) < 0.02))
        if len(bad):
            raise EmbeddingFailed(
                f"Vector {rows.start + bad[0]} has length {length[bad[0]]:.4g} and can't be placed on a map: vectors "
                "have unit length. Its model gave no usable vector for this text; embed it again."
            )
        scaled[rows] = vectors[rows] / length[:, None]
    return scaled


def on_grid(vectors: Vectors) -> NDArray[np.float64]:
    """The vectors in steps of 2^-25, as whole numbers: sums of their products are exact in any order."""
    points = vectors * np.float32(grid)  # no rounding yet: a power of two
    with np.errstate(invalid="ignore"):
        np.rint(points, out=points)
    return points.astype(np.float64)


def closest_centroids(queries: Vectors, centroids: Vectors, n: int) -> Rows:
    """The n closest centroids of each query, closest first, by exact similarity."""
    if len(centroids) == 1:
        return np.zeros((len(queries), 1), np.int64)
    points = on_grid(centroids).T
    found = np.empty((len(queries), n), np.int64)
    for rows in _slices(len(queries), 4_096):
        apart = np.negative(on_grid(queries[rows]) @ points)
        if n < len(centroids):
            columns = np.sort(np.argpartition(apart, n - 1, axis=1)[:, :n], axis=1)  # sorting all takes longer
        else:
            columns = np.broadcast_to(np.arange(n), apart.shape)
        nearest = np.argsort(np.take_along_axis(apart, columns, axis=1), axis=1, kind="stable")
        found[rows] = np.take_along_axis(columns, nearest, axis=1)
    return found


def index_of(vectors: Vectors, *, seed: int) -> VectorIndex:
    """An index over the rows of a map; in lists from `lists_from` rows on, probed as widely as recall asks."""
    if len(vectors) < lists_from:
        return listed(vectors, np.zeros(len(vectors), np.int32), np.zeros((1, vectors.shape[1]), np.float32), 1)
    with products_on_one_core():
        centroids = centroids_of(vectors, round(1.5 * len(vectors) ** 0.5), seed)
        lists = closest_of(vectors, centroids)
        kept = np.bincount(lists, minlength=len(centroids)) >= list_rows_min
        centroids = centroids[kept]
        index = listed(vectors, closest_of(vectors, centroids), centroids, min(4, len(centroids)))
        return _widened(index, seed)


def listed(vectors: Vectors, lists: NDArray[np.int32], centroids: Vectors, n_probed: int) -> VectorIndex:
    """The index of vectors whose lists are known; `vectors` and `lists` in the order of the map's rows."""
    order = np.argsort(lists, kind="stable")
    return VectorIndex(
        vectors=vectors if len(centroids) == 1 else vectors[order],
        order=order,
        offsets=list_offsets(lists, len(centroids)),
        centroids=centroids,
        n_probed=n_probed,
    )


def list_offsets(lists: NDArray[np.int32], n_lists: int) -> Rows:
    """Where each list begins once rows are sorted by list, and the end of the last: (n_lists + 1,)."""
    return np.concatenate([[0], np.cumsum(np.bincount(lists, minlength=n_lists))]).astype(np.int64)


def nearest_of_many(index: VectorIndex, vectors: Vectors, k: int) -> Neighbors:
    """As `index.nearest`, on all cores."""
    parts = list(on_all_cores(lambda rows: index.nearest(vectors[rows], k), _slices(len(vectors), searched_rows)))
    return Neighbors(
        rows=np.concatenate([np.empty((0, k), np.int64), *(part.rows for part in parts)]),
        distances=np.concatenate([np.empty((0, k)), *(part.distances for part in parts)]),
    )


def around(index: VectorIndex, vectors: Vectors, k: int) -> Neighbors:
    """The k nearest of each row of the map, itself first at distance 0 and counted, as umap wants them.

    `vectors` are the index's own, in the order of the map's rows; k is less than their number.
    """
    found = nearest_of_many(index, vectors, k)
    own = np.arange(len(vectors))[:, None]
    others = np.argsort(found.rows == own, axis=1, kind="stable")[:, : k - 1]
    rows = np.hstack([own, np.take_along_axis(found.rows, others, axis=1)])
    distances = np.take_along_axis(found.distances, others, axis=1)
    return Neighbors(rows=rows, distances=np.hstack([np.zeros_like(own, np.float64), distances]))


def centroids_of(vectors: Vectors, n: int, seed: int) -> Vectors:
    """Spherical k-means of a sample, seeded; a centroid that nothing is close to is replaced by a random one."""
    random = np.random.default_rng(seed)
    sample = vectors[np.sort(random.choice(len(vectors), min(len(vectors), 32 * n), replace=False))]
    centroids = sample[random.choice(len(sample), n, replace=False)]
    for _ in range(8):
        closest = closest_of(sample, centroids)
        sums = np.zeros((n, vectors.shape[1]), np.float64)
        order = np.argsort(closest, kind="stable")
        present, first = np.unique(closest[order], return_index=True)
        sums[present] = np.add.reduceat(sample[order].astype(np.float64), first, axis=0)
        length = np.linalg.norm(sums, axis=1)
        lost = length < 1e-6
        sums[lost], length[lost] = sample[random.choice(len(sample), int(lost.sum()))], 1.0
        centroids = (sums / length[:, None]).astype(np.float32)
    return centroids


def closest_of(vectors: Vectors, centroids: Vectors) -> NDArray[np.int32]:
    """The closest centroid of each vector (n,), in single precision: a list may be any that is about the closest."""
    found = np.empty(len(vectors), np.int32)
    for rows in _slices(len(vectors), 8_192):
        found[rows] = np.argmax(vectors[rows] @ centroids.T, axis=1)
    return found


def _widened(index: VectorIndex, seed: int) -> VectorIndex:
    """The same index, probing as many lists as a sample of its own rows needs to find its neighbours, or the most."""
    sample = np.sort(np.random.default_rng(seed).choice(len(index.order), 256, replace=False))
    queries = index.vectors[sample]
    truth = _probing(index, n_probed=len(index.centroids)).nearest(queries, 16)
    most = max(1, round(most_probed * len(index.centroids)))
    for n_probed in (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128):
        probing = _probing(index, n_probed=n_probed)
        if n_probed < most and recall(probing.nearest(queries, 16), truth) >= recall_wanted:
            return probing
    return _probing(index, n_probed=most)


def _probing(index: VectorIndex, *, n_probed: int) -> VectorIndex:
    return VectorIndex(
        vectors=index.vectors,
        order=index.order,
        offsets=index.offsets,
        centroids=index.centroids,
        n_probed=n_probed,
    )


def recall(found: Neighbors, truth: Neighbors) -> float:
    """The share of the true neighbours that were found."""
    hits = (found.rows[:, :, None] == truth.rows[:, None, :]).any(axis=1)
    return float(hits.mean())


def _slack(dim: int) -> np.float32:
    """How far two single-precision scores of unit vectors can be from their true order: dim roundings each."""
    return np.float32(2 * dim * 2.0**-24)


def _slices(n: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, n, size))
