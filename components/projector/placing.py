"""Where new vectors land on a map that stays still.

A vector is first put at the mean of its nearest fitted rows, weighted by UMAP's membership strength (McInnes, Healy,
Melville 2018, section 3.1, with rho = 0 as umap's own transform has it), then moved by UMAP's attraction to them and
repulsion from random rows. Schedule and random stream belong to the vector alone, and every sum runs in a fixed order,
so a place is the same to the bit whatever else is placed in the same call.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from components.contracts import Positions, Vectors
from components.neighbors.knn import Neighbors, Rows

Doubles = NDArray[np.float64]
Words = NDArray[np.uint64]

epochs = 30  # each more costs time; 100 gain .002 of trustworthiness
rate = 0.25  # first step, a quarter of a fit's, as in umap's transform
repelled_by = 5  # random rows an attraction
longest_step = 4.0
same = 1e-7  # cosine distance; nearer ones are one and the same vector
refined_rows = 2_048  # at once: 50 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """How closeness falls with distance on the map: 1 / (1 + a d^2b) (McInnes et al. 2018, definition 11)."""

    a: float
    b: float


def place(vectors: Vectors, near: Neighbors, positions: Positions, curve: Curve) -> Positions:
    """Positions (n, 2) of vectors whose nearest fitted rows are `near`; `positions` are those of all fitted rows."""
    weights = memberships(near.distances)
    found = weighted_mean(weights, near, positions).astype(np.float32)
    streams = streams_of(vectors)
    fitted = _Columns.of(positions)
    for start in range(0, len(vectors), refined_rows):
        rows = slice(start, start + refined_rows)
        found[rows] = refined(found[rows], weights[rows], near.rows[rows], fitted, curve, streams[rows])
    known = near.distances[:, 0] < same
    found[known] = positions[near.rows[known, 0]]
    return found


def memberships(distances: Doubles) -> Doubles:
    """Strength of each neighbour (n, k) in (0, 1]: exp(-d / sigma), sigma such that those after the first sum to log2 k."""
    k = distances.shape[1]
    if k < 3:
        return np.ones_like(distances)
    low, high, sigma = np.zeros(len(distances)), np.full(len(distances), np.inf), np.ones(len(distances))
    for _ in range(48):
        too_wide = _row_sum(np.exp(-distances[:, 1:] / sigma[:, None])) > np.log2(k)
        high, low = np.where(too_wide, sigma, high), np.where(too_wide, low, sigma)
        sigma = np.where(np.isinf(high), 2 * sigma, (low + np.where(np.isinf(high), low, high)) / 2)
    sigma = np.maximum(sigma, 1e-3 * _row_sum(distances) / k + 1e-12)
    strength: Doubles = np.exp(-distances / sigma[:, None])
    return strength


def weighted_mean(weights: Doubles, near: Neighbors, positions: Positions) -> Doubles:
    """The mean place of each row's neighbours, (n, 2)."""
    total = _row_sum(weights)
    around = positions[near.rows].astype(np.float64)
    return np.stack([_row_sum(weights * around[:, :, axis]) / total for axis in (0, 1)], axis=1)


def refined(
    start: Positions, weights: Doubles, near_rows: Rows, fitted: _Columns, curve: Curve, streams: Words
) -> Positions:
    """`start` (n, 2) after `epochs` of attraction and repulsion.

    A neighbour of strength w (the strongest is 1) attracts in floor(epochs * w) of the epochs. Rows don't wait for
    each other: step t is every row's own t-th attraction, whatever its epoch.
    """
    strength = weights / reduce(np.maximum, weights.T)[:, None]
    n_steps = np.floor(epochs * strength).sum(axis=1).astype(np.int64)
    busiest_first = np.argsort(-n_steps, kind="stable")
    n_steps, streams = n_steps[busiest_first], streams[busiest_first]
    schedule = _schedule(strength[busiest_first], near_rows[busiest_first], n_steps)
    at = _Columns.of(start[busiest_first])
    still_moving = np.searchsorted(-n_steps, -np.arange(len(schedule.speed)))
    for t, n in enumerate(still_moving):
        moving, speed = at.first(n), schedule.speed[t, :n]
        _attract(moving, fitted.rows(schedule.targets[t, :n]), speed, curve)
        _repel(moving, fitted.rows(_draws(streams[:n], t, len(fitted.x))), speed, curve)
    moved = np.empty_like(start)
    moved[busiest_first, 0], moved[busiest_first, 1] = at.x, at.y
    return moved


def streams_of(vectors: Vectors) -> Words:
    """A 64-bit number for each vector (n,), drawn from its bytes alone."""
    digests = (hashlib.blake2b(vector.tobytes(), digest_size=8).digest() for vector in vectors)
    return np.frombuffer(b"".join(digests), np.dtype("<u8")).astype(np.uint64)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Columns:
    """Places as two columns of one shape: numpy is several times as quick with them as with pairs."""

    x: Doubles
    y: Doubles

    @classmethod
    def of(cls, positions: Positions) -> _Columns:
        return cls(x=positions[:, 0].astype(np.float64), y=positions[:, 1].astype(np.float64))

    def first(self, n: int) -> _Columns:
        return _Columns(x=self.x[:n], y=self.y[:n])

    def rows(self, rows: Rows) -> _Columns:
        return _Columns(x=self.x.take(rows), y=self.y.take(rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Schedule:
    """The fitted row that attracts each row at its t-th step, and how strongly, both (steps, n)."""

    targets: Rows
    speed: Doubles


def _schedule(strength: Doubles, near_rows: Rows, n_steps: Rows) -> _Schedule:
    """The steps of rows whose neighbours (n, k) have these strengths; a row makes `n_steps` of them, then none."""
    attractions = np.floor(np.arange(epochs + 1)[:, None] * strength[:, None, :])  # before each epoch
    row, when, edge = np.nonzero(attractions[:, 1:] > attractions[:, :-1])  # of each row in the order of its epochs
    step = np.arange(len(row)) - np.repeat(np.cumsum(n_steps) - n_steps, n_steps)
    shape = n_steps.max(initial=0), len(n_steps)
    targets, speed = np.zeros(shape, np.int64), np.zeros(shape)
    targets[step, row] = near_rows[row, edge]
    speed[step, row] = rate * (1.0 - when / epochs)
    return _Schedule(targets=targets, speed=speed)


def _attract(at: _Columns, target: _Columns, speed: Doubles, curve: Curve) -> None:
    """Move `at` (n,) towards `target` (n,): the gradient of UMAP's cross entropy, each step bounded."""
    a, b = curve.a, curve.b
    x, y = at.x - target.x, at.y - target.y
    squared = np.maximum(x * x + y * y, 1e-12)
    raised = squared**b
    pull = -2.0 * a * b * raised / squared / (a * raised + 1.0)
    at.x[:] += speed * _bounded(pull * x)
    at.y[:] += speed * _bounded(pull * y)


def _repel(at: _Columns, repelling: _Columns, speed: Doubles, curve: Curve) -> None:
    """Move `at` (n,) away from `repelling` (repelled_by, n), by the same gradient; overwrites `repelling`."""
    a, b = curve.a, curve.b
    x, y = np.subtract(at.x, repelling.x, out=repelling.x), np.subtract(at.y, repelling.y, out=repelling.y)
    squared = x * x
    squared += y * y
    falling = squared**b
    falling *= a
    falling += 1.0
    squared += 0.001
    squared *= falling
    push = np.divide(2.0 * b, squared, out=squared)
    x *= push
    y *= push
    at.x[:] += speed * reduce(np.add, _bounded(x))
    at.y[:] += speed * reduce(np.add, _bounded(y))


def _bounded(steps: Doubles) -> Doubles:
    np.minimum(steps, longest_step, out=steps)
    return np.maximum(steps, -longest_step, out=steps)


def _draws(streams: Words, t: int, n: int) -> Rows:
    """Random rows below n for step t, (repelled_by, rows): numbers of SplitMix64 (Steele, Lea, Flood 2014), one stream a row."""
    count: Words = np.arange(t * repelled_by + 1, (t + 1) * repelled_by + 1, dtype=np.uint64)
    z: Words = np.add(streams, (count * np.uint64(0x9E3779B97F4A7C15))[:, None])
    z ^= z >> np.uint64(30)
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    z -= z // np.uint64(n) * np.uint64(n)  # the remainder: numpy divides by one number quicker than it takes its rest
    return z.view(np.int64)


def _row_sum(values: Doubles) -> Doubles:
    """Sums of the rows of (n, k), column after column: numpy's own sum may order them by the shape of the array."""
    return reduce(np.add, values.T)
