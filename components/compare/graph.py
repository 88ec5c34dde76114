"""The graph of neighbours that comparisons walk: distinct texts, and the nearest ones of each.

It knows no runs and no labels, so it serves every pair of sets. A text is known by a digest of its vector; nodes are in
the order of their digests, which is random, so the first ones are a sample: where there are many nodes, only these are
centres, and they stay centres while others arrive.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.contracts import Vectors
from components.neighbors.cores import on_all_cores
from components.neighbors.knn import largest
from components.search.lists import LISTS_FROM, ListedVectors
from components.search.vectors import Digests, Rows, SearchVectors, floats

NEAR = 64  # nodes around a centre, itself first
MOST_CENTRES = 20_000
centre_block, node_block = 1_024, 16_384  # scored at once: 64 MB of scores on each core
more_lists = 2  # times as many lists are read as a search for ten reads

Nodes = NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Nodes by `digests` (n,), ascending; the first c are centres. `near` (c, k) are the nearest nodes of each.

    A centre is its own nearest node. `similarity` (c, k) are cosine similarities, descending; nodes that are missing are -1.
    """

    digests: Digests
    near: Nodes
    similarity: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeVectors:
    """Where the vectors of nodes are: node i is row `rows[i]` of a snapshot."""

    vectors: SearchVectors
    rows: Rows

    def at(self, nodes: NDArray[np.integer] | slice) -> Vectors:
        """The vectors of these nodes (n, dim), of unit length."""
        found = floats(self.vectors.at(self.rows[nodes]))
        found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-6)
        return found


def n_centres(n_nodes: int) -> int:
    """How many of so many nodes are centres."""
    return min(n_nodes, MOST_CENTRES)


def build(digests: Digests, where: NodeVectors) -> Graph:
    """The graph of these nodes, ascending by digest."""
    centres = np.arange(n_centres(len(digests)), dtype=np.int32)
    near, similarity = _nearest(centres, where, len(digests))
    return Graph(digests=digests, near=near, similarity=similarity)


def merge(known: Graph, digests: Digests, where: NodeVectors) -> Graph:
    """The graph of these nodes, from that of an earlier set of nodes: only what is new is compared.

    A centre that is new, or that has lost a neighbour, is compared with all nodes, any other one with the new nodes.
    """
    n, width = len(digests), min(NEAR, len(digests))
    moved = _positions(known.digests, digests)  # old node -> new node, -1 for one that is gone
    centres = np.arange(n_centres(n), dtype=np.int32)
    before = np.full(n, -1, np.int64)
    before[moved[: len(known.near)][moved[: len(known.near)] >= 0]] = np.flatnonzero(moved[: len(known.near)] >= 0)
    old = before[centres]
    near = np.full((len(centres), width), -1, np.int32)
    similarity = np.full((len(centres), width), -np.inf, np.float32)
    kept = np.flatnonzero(old >= 0)
    columns = min(width, known.near.shape[1])
    near[kept, :columns] = moved[known.near[old[kept], :columns]]
    similarity[kept, :columns] = known.similarity[old[kept], :columns]
    is_whole = np.zeros(len(centres), np.bool_)
    is_whole[kept] = (near[kept, :columns] >= 0).all(axis=1)
    fresh = np.setdiff1d(np.arange(n, dtype=np.int32), moved[moved >= 0])
    if len(fresh) and is_whole.any():
        rows = np.flatnonzero(is_whole)
        near[rows], similarity[rows] = _compared(centres[rows], fresh, where, width, (near[rows], similarity[rows]))
    rows = np.flatnonzero(~is_whole)
    if len(rows):
        near[rows], similarity[rows] = _nearest(centres[rows], where, n)
    return Graph(digests=digests, near=near, similarity=similarity)


def _positions(of: Digests, among: Digests) -> Rows:
    """Where each of these digests is among others, which ascend; -1 for one that is not there."""
    if not len(among):
        return np.full(len(of), -1, np.int64)
    at = np.minimum(np.searchsorted(among, of), len(among) - 1)
    return np.where(among[at] == of, at, -1)


Found = tuple[Nodes, NDArray[np.float32]]


def _nearest(centres: Nodes, where: NodeVectors, n: int) -> Found:
    """The nearest of all n nodes of each centre, itself first, and their similarities."""
    width = min(NEAR, n)
    if not len(centres):
        return np.zeros((0, width), np.int32), np.zeros((0, width), np.float32)
    if isinstance(where.vectors, ListedVectors) and n >= LISTS_FROM:
        return _itself_first(centres, *_in_lists(centres, where, where.vectors, width))
    return _itself_first(centres, *_compared(centres, np.arange(n, dtype=np.int32), where, width, None))


def _compared(centres: Nodes, nodes: Nodes, where: NodeVectors, width: int, known: Found | None) -> Found:
    """The nearest of these nodes, and of those that are known already, by comparing all."""
    near = np.full((len(centres), width), -1, np.int32)
    similarity = np.full((len(centres), width), -np.inf, np.float32)
    if known is not None:
        near[:], similarity[:] = known
    own = where.at(centres)
    for start in range(0, len(nodes), node_block):
        some = nodes[start : start + node_block]
        others = where.at(some)

        def compare(rows: slice, some: Nodes = some, others: Vectors = others) -> None:
            scores = own[rows] @ others.T
            if scores.shape[1] > width:
                columns = largest(scores, width)
                scores, found = np.take_along_axis(scores, columns, axis=1), some[columns]
            else:
                found = np.broadcast_to(some, scores.shape)
            near[rows], similarity[rows] = _best(near[rows], similarity[rows], found, scores)

        for _ in on_all_cores(compare, _slices(len(centres), centre_block)):
            pass
    return near, similarity


def _best(near: Nodes, similarity: NDArray[np.float32], more: Nodes, scores: NDArray[np.float32]) -> Found:
    """The best of two choices, as many as the first has, in order."""
    nodes, both = np.hstack([near, more]), np.hstack([similarity, scores])
    order = np.argsort(-both, axis=1, kind="stable")[:, : near.shape[1]]
    return np.take_along_axis(nodes, order, axis=1), np.take_along_axis(both, order, axis=1)


def _itself_first(centres: Nodes, near: Nodes, similarity: NDArray[np.float32]) -> Found:
    """Each centre at the head of its list; rounding may have put an equal one before it, or left it out."""
    is_self = near == centres[:, None]
    lost = ~is_self.any(axis=1)
    near[lost, -1], is_self[lost, -1] = centres[lost], True
    similarity = np.where(is_self, np.float32(1.0), np.minimum(similarity, np.float32(1.0)))
    order = np.argsort(~is_self, axis=1, kind="stable")
    return np.take_along_axis(near, order, axis=1), np.take_along_axis(similarity, order, axis=1)


def _in_lists(centres: Nodes, where: NodeVectors, listed: ListedVectors, width: int) -> Found:
    """The nearest of all nodes, nearly always, in the lists closest to each centre; each list is read once."""
    node_of = np.full(len(listed), -1, np.int32)
    node_of[where.rows] = np.arange(len(where.rows), dtype=np.int32)
    near = np.full((len(centres), width), -1, np.int32)
    similarity = np.full((len(centres), width), -np.inf, np.float32)
    own = where.at(centres)
    n_probed = min(len(listed.centroids), more_lists * listed.n_probed)
    probed = np.concatenate(
        [
            np.argpartition(-(own[rows] @ listed.centroids.T), n_probed - 1, axis=1)[:, :n_probed]
            for rows in _slices(len(own), centre_block)
        ]
    )
    pairs = np.argsort(probed, axis=None, kind="stable")
    bounds = np.searchsorted(probed.ravel()[pairs], np.arange(len(listed.centroids) + 1))
    for one in np.flatnonzero(np.diff(bounds)).tolist():
        asking = pairs[bounds[one] : bounds[one + 1]] // n_probed
        rows = listed.rows_of(one)
        nodes = node_of[rows]
        rows, nodes = rows[nodes >= 0], nodes[nodes >= 0]
        if not len(rows):
            continue
        scores = own[asking] @ where.at(nodes).T
        columns = (
            np.argpartition(-scores, width - 1, axis=1)[:, :width]
            if len(rows) > width
            else np.broadcast_to(np.arange(len(rows)), scores.shape)
        )
        best = _best(near[asking], similarity[asking], nodes[columns], np.take_along_axis(scores, columns, axis=1))
        near[asking], similarity[asking] = best
    return near, similarity


def _slices(n: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, n, size))
