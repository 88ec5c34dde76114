"""Positions of rows in five dimensions, in which their density shows clusters: UMAP without any distance to keep."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from components.contracts import Vectors
from components.neighbors.knn import Neighbors
from components.projector.fitting import curve_of, optimised, principal
from components.topics.clusters import Points

DIMENSIONS: Final = 5
EPOCHS: Final = 200
EXTENT: Final = 10.0  # of the start, in every dimension
MIN_DIST: Final = 0.0  # rows of a cluster may lie as close as they like


def topic_space(vectors: Vectors, near: Neighbors, *, seed: int, cache: Path) -> Points:
    """Positions (n, 5) of vectors (n, dim) whose nearest rows, themselves first, are `near`; the same for the same input."""
    return optimised(near, _start(vectors, seed), EPOCHS, 1.0, curve_of(MIN_DIST), seed, cache)


def _start(vectors: Vectors, seed: int) -> Points:
    """The first principal components, with a little noise that keeps equal rows apart."""
    flat = principal(vectors, DIMENSIONS, EXTENT)
    noise = np.random.default_rng(seed).normal(scale=1e-4, size=flat.shape)
    return np.asarray(flat + noise, np.float32)
