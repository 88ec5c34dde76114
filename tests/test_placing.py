"""The arithmetic of placing, held against a loop over one row that can be read beside the formulas."""

from __future__ import annotations

import math

import numpy as np

from components.neighbors.knn import Neighbors
from components.projector import placing
from components.projector.placing import Curve

curve = Curve(a=1.577, b=0.895)
wrapped = 2**64 - 1


def drawn(stream: int, count: int, n: int) -> int:
    """The count-th number of a SplitMix64 stream, below n."""
    z = (stream + count * 0x9E3779B97F4A7C15) & wrapped
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & wrapped
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & wrapped
    return (z ^ (z >> 31)) % n


def bounded(step: float) -> float:
    return min(max(step, -placing.longest_step), placing.longest_step)


def placed_alone(strengths, rows, start, positions, stream):
    """One row, one force after another."""
    a, b = curve.a, curve.b
    x, y = start
    n_draws = 0
    for epoch in range(placing.epochs):
        for strength, row in zip(strengths, rows, strict=True):
            if not math.floor((epoch + 1) * strength) > math.floor(epoch * strength):
                continue
            speed = placing.rate * (1 - epoch / placing.epochs)
            dx, dy = x - positions[row][0], y - positions[row][1]
            squared = max(dx * dx + dy * dy, 1e-12)
            pull = -2 * a * b * squared**b / squared / (a * squared**b + 1)
            x, y = x + speed * bounded(pull * dx), y + speed * bounded(pull * dy)
            moves = []
            for _ in range(placing.repelled_by):
                n_draws += 1
                other = positions[drawn(stream, n_draws, len(positions))]
                dx, dy = x - other[0], y - other[1]
                squared = dx * dx + dy * dy
                push = 2 * b / ((0.001 + squared) * (a * squared**b + 1))
                moves.append((bounded(push * dx), bounded(push * dy)))
            x, y = (at + speed * sum(move[axis] for move in moves) for axis, at in ((0, x), (1, y)))
    return x, y


def test_many_rows_at_once_land_where_a_plain_loop_puts_each():
    random = np.random.default_rng(7)
    positions = random.normal(scale=4, size=(300, 2)).astype(np.float32)
    vectors = random.normal(size=(40, 8)).astype(np.float32)
    near = Neighbors(
        rows=np.array([random.choice(300, 15, replace=False) for _ in vectors]),
        distances=np.sort(random.uniform(0.01, 0.6, size=(40, 15)), axis=1),
    )
    weights = placing.memberships(near.distances)
    starts = placing.weighted_mean(weights, near, positions).astype(np.float32)
    streams = placing.streams_of(vectors)
    expected = [
        placed_alone((w / w.max()).tolist(), rows, start.tolist(), positions.astype(float).tolist(), int(stream))
        for w, rows, start, stream in zip(weights, near.rows.tolist(), starts, streams, strict=True)
    ]
    found = placing.place(vectors, near, positions, curve)
    assert np.allclose(found, expected, atol=1e-4)  # powers differ in their last bit between libraries
    assert np.linalg.norm(found - starts, axis=1).mean() > 0.1
