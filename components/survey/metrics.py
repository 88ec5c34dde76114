"""How unequal the hills are: Gini coefficient and flatness of their effective sizes, size times weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """`gini` is at most (n - 1) / n, `gini_normalized` at most 1; `flatness` is 1 where all hills are equal."""

    gini: float
    gini_normalized: float
    flatness: float


def compute_gini_coefficient(sizes: Sequence[float]) -> float:
    """The Gini coefficient of sizes, 0 where there is nothing or all are equal.

    Half the mean difference of two sizes over their mean; written with ranks that count from 1.

    >>> compute_gini_coefficient([10, 10, 10]), round(compute_gini_coefficient([1, 0, 0, 0]), 6)
    (0.0, 0.75)
    >>> compute_gini_coefficient([])
    0.0
    """
    ordered = np.sort(np.asarray(sizes, np.float64))
    n, total = len(ordered), float(ordered.sum())
    if n == 0 or total <= 0:
        return 0.0
    ranks = np.arange(1, n + 1)
    return max(0.0, 2.0 * float(ranks @ ordered) / (n * total) - (n + 1) / n)


def compute_flatness(sizes: Sequence[float]) -> float:
    """The number of equal hills that would have the same entropy, per hill: 1 where all are equal or there is nothing.

    >>> round(compute_flatness([5, 5]), 6), round(compute_flatness([1, 0, 0, 0]), 6), compute_flatness([])
    (1.0, 0.25, 1.0)
    """
    given = np.asarray(sizes, np.float64)
    total = float(given.sum())
    if not len(given) or total <= 0:
        return 1.0
    shares = given[given > 0] / total
    return float(np.exp(-(shares * np.log(shares)).sum())) / len(given)


def metrics_of(sizes: Sequence[float]) -> Metrics:
    """All metrics of effective sizes."""
    gini, n = compute_gini_coefficient(sizes), len(sizes)
    return Metrics(
        gini=round(gini, 6),
        gini_normalized=round(gini * n / (n - 1), 6) if n > 1 else 0.0,
        flatness=round(compute_flatness(sizes), 6),
    )
