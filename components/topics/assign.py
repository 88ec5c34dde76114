"""The topic of a row by the vote of its nearest rows in the space of the vectors, or none.

Between two fits of a map this alone decides: a later record joins the topic of its neighbours among the fitted rows,
and no other record's topic changes.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from components.neighbors.knn import Neighbors
from components.topics.values import NOISE, Labels

VOTERS: Final = 5  # nearest rows that vote; fifteen give twice the noise and no better topics
MIN_VOTES: Final = 0.4  # share of the votes, weighted by closeness
FAR_QUANTILE: Final = 0.98
FAR_MARGIN: Final = 1.1  # a row farther from its fifth neighbour than this times the quantile is noise
BLOCK: Final = 65_536  # rows counted at once


def assign(topics: Labels, near: Neighbors, *, far: float, share: float = MIN_VOTES) -> Labels:
    """Topics (n,) of rows from those of the fitted rows (m,): `near` (n, k) are the nearest fitted rows of each.

    The five nearest vote, each with weight 1 / (distance + 0.05). NOISE where no topic has `share` of the weight, or
    where the fifth is farther than `far`.

    >>> near = Neighbors(rows=np.array([[0, 1, 2]]), distances=np.array([[0.1, 0.2, 0.3]]))
    >>> assign(np.array([7, 7, 8]), near, far=0.5).tolist()
    [7]
    """
    rows, distances = near.rows[:, :VOTERS], near.distances[:, :VOTERS]
    found = np.full(len(rows), NOISE, np.int64)
    if not rows.size:
        return found
    for start in range(0, len(rows), BLOCK):
        part = slice(start, start + BLOCK)
        found[part] = _winners(topics[rows[part]], distances[part], share)
    return np.where(distances[:, -1] <= far, found, NOISE)


def far_limit(distances: NDArray[np.float64]) -> float:
    """The `far` of `assign` from the distances of fitted rows (m, k) to their nearest, themselves left out."""
    if not distances.size:
        return np.inf
    return FAR_MARGIN * float(np.quantile(distances[:, min(VOTERS, distances.shape[1]) - 1], FAR_QUANTILE))


def _winners(votes: Labels, distances: NDArray[np.float64], share: float) -> Labels:
    weights = 1.0 / (distances + 0.05)
    agree = (votes[:, :, None] == votes[:, None, :]) & (votes >= 0)[:, :, None]
    shares = (agree * weights[:, None, :]).sum(axis=2) / weights.sum(axis=1, keepdims=True)
    nearest_first = 1e-9 * (votes.shape[1] - np.arange(votes.shape[1]))
    best = np.argmax(shares + nearest_first, axis=1)
    at = np.arange(len(votes))
    return np.where(shares[at, best] >= share, votes[at, best], NOISE)
