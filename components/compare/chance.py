"""How surprising evidence is in this dataset: measured on permuted labels, since no formula fits all collections of texts.

How far apart texts lie, how many repeat each other and how runs share them differ so much between datasets that a
distribution which fits one makes lucky neighbourhoods of another look sure. Surprise is minus the logarithm of the share of
centres that show as much by chance. Beyond what chance showed often enough it goes on: in a straight line for counts, since
likelihood ratios have exponential tails, and like a root for distances, whose tails are longer, since some texts repeat.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

COUNT_STEP, COUNT_POINTS = 0.05, 4_000  # nats
RATIO_FROM, RATIO_STEP, RATIO_POINTS = -2.1, 0.002, 2_100  # log ratios of distances
RARE_COUNTS, RARE_RATIOS = 0.02, 0.002  # of the samples: beyond so few the surprise goes on by rule
FEWEST_RARE = 10
SHORTEST_TAIL = 10  # steps: the least mean excess of rare samples, for those that are all alike

Table = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """How often permuted labels showed what, by steps of the grids; `total` centres were looked at for each side.

    `count` (2, points) is the best count evidence of a centre, `ratio` (2, sizes, points) the log ratio of distances at each size.
    """

    count: NDArray[np.int64]
    ratio: NDArray[np.int64]
    total: int

    def __add__(self, other: Samples) -> Samples:
        return Samples(count=self.count + other.count, ratio=self.ratio + other.ratio, total=self.total + other.total)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chance:
    """Nats of surprise at the points of both grids: `count` (2, points), `ratio` (2, sizes, points)."""

    count: Table
    ratio: Table

    def of_count(self, side: int, nats: NDArray[np.floating]) -> Table:
        """How surprising the best count evidence of centres is."""
        return _interpolated(self.count[side], np.zeros(len(nats), np.int64), nats / COUNT_STEP)

    def of_ratio(self, side: int, which: NDArray[np.int64], ratio: NDArray[np.floating]) -> Table:
        """How surprising log ratios of distances are, each at the size with this number."""
        return _interpolated(self.ratio[side], which, (ratio - RATIO_FROM) / RATIO_STEP)


def counted(nats: NDArray[np.floating]) -> NDArray[np.int64]:
    """Best count evidences by step of the grid; centres without any are left out."""
    at = np.clip(nats[nats > 0] / COUNT_STEP, 0, COUNT_POINTS - 1).astype(np.int64)
    return np.bincount(at, minlength=COUNT_POINTS)


def counted_ratios(which: NDArray[np.int64], ratio: NDArray[np.floating], sizes: int) -> NDArray[np.int64]:
    """Log ratios of distances by size and step of the grid (sizes, points)."""
    at = np.clip((ratio - RATIO_FROM) / RATIO_STEP, 0, RATIO_POINTS - 1).astype(np.int64)
    return np.bincount(which * RATIO_POINTS + at, minlength=sizes * RATIO_POINTS).reshape(sizes, RATIO_POINTS)


def chance_from(samples: Samples) -> Chance:
    """The surprises that follow from samples."""
    total = samples.total
    return Chance(
        count=np.stack([surprises(of_side, total, RARE_COUNTS, _straight) for of_side in samples.count]),
        ratio=np.stack(
            [[surprises(of_size, total, RARE_RATIOS, _bent) for of_size in of_side] for of_side in samples.ratio]
        ),
    )


def surprises(counts: NDArray[np.int64], total: int, rare: float, beyond: Callable[[Table], Table]) -> Table:
    """Nats of surprise at each step (steps,), from how many of `total` samples fell into each.

    `beyond` gives the nats that are added where less than a share `rare` of the samples is, by distance in mean excesses.

    >>> surprises(np.array([0, 50, 25, 0]), 100, 0.02, np.log1p).round(2).tolist()
    [0.28, 0.28, 1.36, 1.45]
    """
    tail = np.cumsum(counts[::-1])[::-1]
    found = np.asarray(-np.log((tail + 1) / (total + 1)), np.float64)
    n_rare = max(FEWEST_RARE, int(rare * tail[0]))
    if tail[0] < 2 * n_rare:
        return found
    start = int(np.flatnonzero(tail >= n_rare)[-1])
    distance = np.arange(len(counts) - start, dtype=np.float64)
    excess = float((counts[start:] * distance).sum()) / int(tail[start])
    found[start:] = found[start] + beyond(distance / max(excess, SHORTEST_TAIL))
    return found


def _straight(distance: Table) -> Table:
    return distance


def _bent(distance: Table) -> Table:
    return 2 * (np.sqrt(1 + distance) - 1)


def _interpolated(table: Table, row: NDArray[np.int64], at: NDArray[np.floating]) -> Table:
    """The values of a table (rows, points) between its points."""
    flat, points = table.ravel(), table.shape[-1]
    at = np.clip(at, 0.0, points - 1.001)
    below = at.astype(np.int64)
    low = flat[row * points + below]
    return np.asarray(low + (at - below) * (flat[row * points + below + 1] - low), np.float64)
