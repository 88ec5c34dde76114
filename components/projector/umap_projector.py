"""The `Projector`: vectors to positions on a map, by umap-learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contracts import Positions, Vectors
from components.errors import DimensionMismatch
from components.neighbors.knn import unit
from components.projector import fitting, kernels
from components.projector.layout import FittedMap, open_arrays
from components.settings import ProjectSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class UmapProjector:
    """Fits maps with umap-learn; compiled kernels that can't lie beside umap are kept under `cache`."""

    settings: ProjectSettings
    cache: Path

    def fit(self, vectors: Vectors) -> FittedMap:
        """A new map of the vectors (n, dim).

        Raises `EmbeddingFailed` for a vector that is not finite or not of unit length.
        """
        return self.refit(vectors, np.full((len(vectors), 2), np.nan, np.float32))

    def refit(self, vectors: Vectors, positions: Positions) -> FittedMap:
        """A map that starts from the old `positions` (n, 2; NaN: none) and is aligned with them; its `displacement` measures how well.

        Where fewer than a quarter of the rows had a place, the map is fitted from scratch and only laid over.
        """
        if vectors.ndim != 2 or positions.shape != (len(vectors), 2):
            raise DimensionMismatch(
                f"Vectors of shape {vectors.shape} and positions of shape {positions.shape} don't match."
            )
        if len(vectors) >= fitting.fewest:
            warm_kernels(self.cache)
        return fitting.fit(unit(vectors), positions.astype(np.float32), self.settings, self.cache)

    def prepare_fit(self) -> None:
        """Compile what a fit needs, in a process of its own; nothing to do on a machine that has fitted before."""
        kernels.compile_in_background(self.cache)

    def open(self, arrays: Mapping[str, NDArray[Any]], fitted: Vectors) -> FittedMap:
        """The layout whose `arrays()` these are. Raises `DimensionMismatch` where `fitted` are not its vectors."""
        return open_arrays(arrays, fitted)


def open_projector(settings: ProjectSettings, cache: Path) -> UmapProjector:
    """The projector of these settings. Makes and imports nothing yet."""
    return UmapProjector(settings=settings, cache=cache)


def warm_kernels(cache: Path) -> None:
    """Compile all that fits and refits need, for this machine, once; 8 s the first time."""
    kernels.compile_once(cache, lambda: _small_fit(cache))


def _small_fit(cache: Path) -> FittedMap:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(64, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return fitting.fit(vectors, np.full((len(vectors), 2), np.nan, np.float32), ProjectSettings(), cache)
