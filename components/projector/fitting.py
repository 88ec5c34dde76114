"""Fitting a map: umap-learn's graph and optimiser around our own neighbours and our own start.

First fit and refit are the same steps (neighbours, graph, optimisation) and differ in where they start: a first fit
from the two principal components, a refit from the old map. `umap.UMAP` itself can't do the second (it stretches a
given start to a square, and so moves what should stay still), so its parts are called.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from components.contracts import Positions, Vectors
from components.neighbors.knn import Neighbors, around, index_of, nearest_of_many
from components.projector import geometry, placing
from components.projector.kernels import umap_kernels
from components.projector.layout import FittedMap, far_from
from components.projector.placing import Curve

if TYPE_CHECKING:  # placing alone starts quicker without pydantic
    from components.settings import ProjectSettings

fewest = 4  # rows that have a shape; fewer are put on a circle
extent = 10.0  # side of the square that a first fit starts in
warm_epochs = 100
warm_rates = (0.25, 0.1, 0.03, 0.01)  # at 0.5 rows move half as far again, and the map is no better
still = 0.10  # mean move of the rows that were there, in radii, that a reader does not mind
mostly_known = 0.7  # share of rows with old positions from which on the map should keep still
warm_share = 0.25  # of the rows must have old positions for a start from them
far_quantile = 0.95


def fit(vectors: Vectors, old: Positions, settings: ProjectSettings, cache: Path) -> FittedMap:
    """A map of the vectors (n, dim), of unit length, aligned with their `old` positions (n, 2), NaN where there is none."""
    n = len(vectors)
    known = np.isfinite(old).all(axis=1)
    index = index_of(vectors, seed=settings.seed)
    curve = curve_of(settings.min_dist)
    near = around(index, vectors, min(settings.neighbors, n - 1)) if n >= fewest else None
    if near is None:
        positions = _circle(n)
    elif known.sum() >= max(fewest, warm_share * n):
        positions = _warmed(near, _continued(vectors, old, settings), old, curve, settings.seed, cache)
    else:
        start = _start(vectors, settings.seed)
        positions = optimised(near, start, _cold_epochs(n), 1.0, curve, settings.seed, cache)
    positions = geometry.aligned(positions, old)
    return FittedMap(
        index=index,
        positions=positions,
        curve=curve,
        neighbors=settings.neighbors,
        far=np.inf if near is None else float(np.quantile(_beyond_itself(near), far_quantile)),
        displacement=geometry.displacement(old[known], positions[known]) if known.any() else None,
        near=near,
    )


def optimised(
    near: Neighbors, start: Positions, epochs: int, rate: float, curve: Curve, seed: int, cache: Path
) -> Positions:
    """`start` (n, d) after umap's optimisation of the neighbours' graph; the same for the same seed and machine."""
    with umap_kernels(cache) as umap:
        graph = _graph(umap, near, seed).tocoo()
        graph.sum_duplicates()
        graph.data[graph.data < graph.data.max() / epochs] = 0.0
        graph.eliminate_zeros()
        positions = np.ascontiguousarray(start, np.float32)
        limits = np.iinfo(np.int32)
        stream = np.random.RandomState(seed).randint(limits.min + 1, limits.max - 1, 3).astype(np.int64)
        moved: Positions = umap.optimize_layout_euclidean(
            positions,
            positions,
            graph.row,
            graph.col,
            epochs,
            len(positions),
            umap.make_epochs_per_sample(graph.data, epochs),
            curve.a,
            curve.b,
            stream,
            initial_alpha=rate,
            move_other=True,
        )
    return moved


def _graph(umap: Any, near: Neighbors, seed: int) -> Any:
    """Membership strengths of neighbours in each other's neighbourhoods: a symmetric sparse matrix (n, n)."""
    return umap.fuzzy_simplicial_set(
        near.rows,
        near.rows.shape[1],
        np.random.RandomState(seed),
        "precomputed",
        knn_indices=near.rows,
        knn_dists=near.distances.astype(np.float32),
    )[0]


def _warmed(near: Neighbors, start: Positions, old: Positions, curve: Curve, seed: int, cache: Path) -> Positions:
    """`start` optimised just so far that a map which mostly stays the same also stays where it was.

    Vectors with little structure wander at the usual rate (0.45 radii a refit for random ones, and no better a map for
    it), so the rate falls until the old rows keep still. A map with much that is new may move: it needs space.
    """
    known = np.isfinite(old).all(axis=1)
    rates = warm_rates if known.mean() >= mostly_known else warm_rates[:1]
    for rate in rates:
        positions = optimised(near, start.copy(), warm_epochs, rate, curve, seed, cache)
        over = geometry.aligned(positions, old)
        if geometry.displacement(old[known], over[known]) <= still:
            break
    return positions


def _continued(vectors: Vectors, old: Positions, settings: ProjectSettings) -> Positions:
    """The old positions, and for rows that had none the mean of their nearest rows that had."""
    known = np.isfinite(old).all(axis=1)
    start = old.astype(np.float32)
    if not known.all():
        index = index_of(vectors[known], seed=settings.seed)
        near = nearest_of_many(index, vectors[~known], min(settings.neighbors, int(known.sum())))
        start[~known] = placing.weighted_mean(placing.memberships(near.distances), near, old[known])
    return _apart(start, settings.seed)


def principal(vectors: Vectors, dimensions: int, size: float) -> NDArray[np.float64]:
    """The first principal components of the vectors (n, dimensions), scaled as a whole to at most `size`."""
    centred = vectors - vectors.mean(axis=0)
    _, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    axes = axes[:, -dimensions:][:, ::-1]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    flat = centred @ axes
    return np.asarray(flat / max(float(np.abs(flat).max()), 1e-12) * size, np.float64)


def _start(vectors: Vectors, seed: int) -> Positions:
    """The two principal components of the vectors, each stretched to the square a fit starts in."""
    flat = _apart(principal(vectors, 2, extent).astype(np.float32), seed)
    low, high = flat.min(axis=0), flat.max(axis=0)
    spread: Positions = (extent * (flat - low) / (high - low)).astype(np.float32)
    return spread


def _apart(positions: Positions, seed: int) -> Positions:
    """The positions with a little noise: rows at the very same place could never be parted, no force acts between them."""
    noise = np.random.default_rng(seed).normal(scale=1e-5 * extent, size=positions.shape)
    return (positions + noise).astype(np.float32)


def _circle(n: int) -> Positions:
    """Positions for fewer than four rows: none, the origin, or evenly around it."""
    angles = 2 * np.pi * np.arange(n) / max(n, 1)
    size = 0.0 if n < 2 else extent / 4
    return (size * np.stack([np.cos(angles), np.sin(angles)], axis=1)).astype(np.float32)


def _beyond_itself(near: Neighbors) -> NDArray[np.float64]:
    """Distance of each fitted row to its fifth neighbour, itself not counted, (n,)."""
    return far_from(Neighbors(rows=near.rows[:, 1:], distances=near.distances[:, 1:]))


def _cold_epochs(n: int) -> int:
    """As umap has it: small maps are cheap and gain from more."""
    return 500 if n <= 10_000 else 200


def curve_of(min_dist: float) -> Curve:
    """The member of UMAP's family of curves that is closest to 1 up to `min_dist` and falls off exponentially behind."""
    from scipy.optimize import curve_fit

    d = np.linspace(0.0, 3.0, 300)
    wanted = np.where(d < min_dist, 1.0, np.exp(min_dist - d))
    (a, b), _ = curve_fit(lambda x, a, b: 1.0 / (1.0 + a * x ** (2 * b)), d, wanted)
    return Curve(a=float(a), b=float(b))
