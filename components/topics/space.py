"""Positions of rows in five dimensions, in which their density shows clusters: UMAP without any distance to keep."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from components.contracts import Vectors
from components.neighbors.knn import Neighbors
from components.projector.fitting import curve_of, optimised
from components.topics.clusters import Points

DIMENSIONS: Final = 5
EPOCHS: Final = 200
EXTENT: Final = 10.0  # of the start, in every dimension
MIN_DIST: Final = 0.0  # rows of a cluster may lie as close as they like


def topic_space(vectors: Vectors, near: Neighbors, *, seed: int, cache: Path) -> Points:
    """Positions (n, 5) of vectors (n, dim) whose nearest rows, themselves first, are `near`; the same for the same input."""
    return optimised(near, _principal(vectors, seed), EPOCHS, 1.0, curve_of(MIN_DIST), seed, cache)


def _principal(vectors: Vectors, seed: int) -> Points:
    """The first principal components, scaled as a whole, with a little noise that keeps equal rows apart."""
    centred = vectors - vectors.mean(axis=0)
    _, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    axes = axes[:, -DIMENSIONS:][:, ::-1]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    flat = centred @ axes
    flat = flat / max(float(np.abs(flat).max()), 1e-12) * EXTENT
    noise = np.random.default_rng(seed).normal(scale=1e-4, size=flat.shape)
    return np.asarray(flat + noise, np.float32)
