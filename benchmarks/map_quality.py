"""How much of the neighbourhoods in many dimensions a map keeps: the two figures that maps are compared by.

For maps of more than 2 k rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.contracts import Positions, Vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Both in 0..1, 1 is best, of k neighbours.

    `trustworthiness` falls with the ranks of rows that are neighbours on the map and not among the vectors (Venna and
    Kaski 2001); `recall` is the share of the vectors' neighbours that are neighbours on the map.
    """

    trustworthiness: float
    recall: float


def quality_of_placed(
    vectors: Vectors, positions: Positions, fitted: Vectors, fitted_places: Positions, *, k: int = 15
) -> Quality:
    """Of new rows (n) among the rows of a map (m), on which they are not."""
    return _quality(vectors, positions, fitted, fitted_places, np.full(len(vectors), -1), k)


def quality_of_map(
    vectors: Vectors, positions: Positions, *, k: int = 15, sample: int = 1_500, seed: int = 0
) -> Quality:
    """Of a seeded sample of a map's rows among all its rows (n)."""
    rows = np.random.default_rng(seed).permutation(len(vectors))[:sample]
    return _quality(vectors[rows], positions[rows], vectors, positions, rows, k)


def _quality(
    vectors: Vectors, positions: Positions, fitted: Vectors, fitted_places: Positions, own: NDArray[np.int64], k: int
) -> Quality:
    penalty, kept, n = 0, 0, len(vectors)
    m = len(fitted) - int(own[0] >= 0)
    for start in range(0, n, 64):
        rows = slice(start, start + 64)
        flat = ((positions[rows, None, :] - fitted_places[None, :, :]) ** 2).sum(axis=2)
        ranks = _ranks(-(vectors[rows] @ fitted.T), own[rows])
        near = np.argpartition(np.where(_is(own[rows], len(fitted)), np.inf, flat), k, axis=1)[:, :k]
        near_ranks = np.take_along_axis(ranks, near, axis=1)
        penalty += int(np.maximum(near_ranks - k, 0).sum())
        kept += int((near_ranks <= k).sum())
    worst = n * k * (2 * m - 3 * k + 1) / 2  # with m others, ranks 1..m
    return Quality(trustworthiness=1.0 - penalty / worst, recall=kept / (n * k))


def _ranks(distances: NDArray[np.float32], own: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rank of each row of the map by distance, nearest 1, (n, m); a row is not its own neighbour."""
    distances = np.where(_is(own, distances.shape[1]), np.inf, distances)
    order = np.argsort(distances, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(1, distances.shape[1] + 1)[None, :], axis=1)
    return ranks


def _is(own: NDArray[np.int64], m: int) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = np.equal(own[:, None], np.arange(m)[None, :])
    return same
