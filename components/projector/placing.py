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
from components.neighbors.knn import Neighbors

Doubles = NDArray[np.float64]
Words = NDArray[np.uint64]

epochs = 30  # each more costs time; 100 gain .002 of trustworthiness
rate = 0.25  # first step, a quarter of a fit's, as in umap's transform
repelled_by = 5  # random rows an attraction
longest_step = 4.0
same = 1e-7  # cosine distance; nearer ones are one and the same vector
refined_rows = 512  # at once: 40 MB


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
    for start in range(0, len(vectors), refined_rows):
        rows = slice(start, start + refined_rows)
        part = Neighbors(rows=near.rows[rows], distances=near.distances[rows])
        found[rows] = refined(found[rows], weights[rows], part, positions, curve, streams[rows])
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
    start: Positions, weights: Doubles, near: Neighbors, positions: Positions, curve: Curve, streams: Words
) -> Positions:
    """`start` (n, 2) after `epochs` of attraction and repulsion.

    A neighbour of strength w (the strongest is 1) attracts in floor(epochs * w) of the epochs. Rows don't wait for
    each other: step t is every row's own t-th attraction, whatever its epoch.
    """
    edges, when, n_steps = _schedule(weights)
    busiest_first = np.argsort(-n_steps, kind="stable")
    targets = positions[np.take_along_axis(near.rows, edges, axis=1)].astype(np.float64)
    repelling = positions[_draws(streams, edges.shape[1], len(positions))].astype(np.float64)
    speed = rate * (1.0 - when / epochs)
    targets, repelling, speed = targets[busiest_first], repelling[busiest_first], speed[busiest_first]
    at = start[busiest_first].astype(np.float64)
    still_moving = np.searchsorted(-n_steps[busiest_first], -np.arange(edges.shape[1]))
    for t, n in enumerate(still_moving):
        at[:n] = _moved(at[:n], targets[:n, t], repelling[:n, t], speed[:n, t], curve)
    moved = np.empty_like(start)
    moved[busiest_first] = at
    return moved


def streams_of(vectors: Vectors) -> Words:
    """A 64-bit number for each vector (n,), drawn from its bytes alone."""
    digests = (hashlib.blake2b(vector.tobytes(), digest_size=8).digest() for vector in vectors)
    return np.frombuffer(b"".join(digests), np.dtype("<u8")).astype(np.uint64)


def _schedule(weights: Doubles) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Which neighbour attracts at each step of a row and in which epoch, both (n, steps), and each row's steps (n,)."""
    strength = weights / reduce(np.maximum, weights.T)[:, None]
    epoch = np.arange(epochs)[:, None]
    # an edge that came due in this epoch and not before
    due = np.floor((epoch + 1) * strength[:, None, :]) > np.floor(epoch * strength[:, None, :])
    due = due.reshape(len(weights), -1)
    n_steps = due.sum(axis=1)
    in_time = np.argsort(~due, axis=1, kind="stable")[:, : n_steps.max(initial=0)]
    when, edges = np.divmod(in_time, weights.shape[1])
    return edges, when, n_steps


def _moved(at: Doubles, target: Doubles, repelling: Doubles, speed: Doubles, curve: Curve) -> Doubles:
    """`at` (n, 2) after one attraction and its repulsions: the gradient of UMAP's cross entropy, each step bounded."""
    a, b = curve.a, curve.b
    apart = at - target
    squared = apart[:, 0] ** 2 + apart[:, 1] ** 2
    raised = np.maximum(squared, 1e-12) ** b
    pull = -2.0 * a * b * raised / np.maximum(squared, 1e-12) / (a * raised + 1.0)
    at = at + speed[:, None] * np.clip(pull[:, None] * apart, -longest_step, longest_step)
    apart = at[:, None, :] - repelling
    squared = apart[:, :, 0] ** 2 + apart[:, :, 1] ** 2
    push = 2.0 * b / ((0.001 + squared) * (a * squared**b + 1.0))
    pushed = np.clip(push[:, :, None] * apart, -longest_step, longest_step)
    return at + speed[:, None] * reduce(np.add, (pushed[:, i] for i in range(repelled_by)))


def _draws(streams: Words, n_steps: int, n: int) -> NDArray[np.int64]:
    """Random rows below n, (rows, n_steps, repelled_by): numbers of SplitMix64 (Steele, Lea, Flood 2014), one stream a row."""
    count: Words = np.arange(1, n_steps * repelled_by + 1, dtype=np.uint64).reshape(n_steps, repelled_by)
    z: Words = np.add(streams[:, None, None], count * np.uint64(0x9E3779B97F4A7C15))
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    drawn: NDArray[np.int64] = ((z ^ (z >> np.uint64(31))) % np.uint64(n)).astype(np.int64)
    return drawn


def _row_sum(values: Doubles) -> Doubles:
    """Sums of the rows of (n, k), column after column: numpy's own sum may order them by the shape of the array."""
    return reduce(np.add, values.T)
