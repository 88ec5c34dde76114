"""A fitted map as plain arrays: what was fitted, its positions, and the curve that new vectors are placed by."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.cached_folder import atomic_folder, is_intact
from components.contracts import Placed, Positions, Vectors
from components.errors import DimensionMismatch, NotFound
from components.neighbors.cores import on_all_cores, products_on_one_core
from components.neighbors.knn import Neighbors, VectorIndex, list_offsets, listed, unit
from components.projector import placing
from components.projector.placing import Curve

placed_rows = 4_096  # at once
kept_neighbors = 5  # of each placed vector, for those who want to know what it is like
drift_neighbor = 5  # whose distance says how far a vector is from what the map knows


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedMap:
    """A map, and all it takes to place on it. `positions` (n_fitted, 2) are those of the fitted vectors, in their order.

    `far` is the distance to the fifth neighbour that 95 % of the fitted rows stay below. `displacement` is how far a
    refit moved the rows that the old map knew, in radii; None for a first fit. `near` are the nearest rows of each fitted
    one, itself first; None unless it was fitted just now, from four rows or more.
    """

    index: VectorIndex
    positions: Positions
    curve: Curve
    neighbors: int
    far: float
    displacement: float | None = None
    near: Neighbors | None = None

    @property
    def n_fitted(self) -> int:
        return len(self.positions)

    @property
    def dim(self) -> int:
        return int(self.index.vectors.shape[1])

    def transform(self, vectors: Vectors) -> Placed:
        """Positions (n, 2) for vectors (n, dim), each by itself alone, in bounded memory.

        Raises `DimensionMismatch` for vectors of another dimension, `EmbeddingFailed` for NaN or no direction.
        """
        check_dimension(vectors, self.dim)
        chunks = [vectors[start : start + placed_rows] for start in range(0, len(vectors), placed_rows)]
        if len(chunks) > 1:
            parts = list(on_all_cores(self._placed, chunks))
        else:
            with products_on_one_core():
                parts = [self._placed(chunk) for chunk in chunks]
        return Placed(
            positions=np.concatenate([np.empty((0, 2), np.float32), *(part.positions for part in parts)]),
            off_map=np.concatenate([np.empty(0, np.bool_), *(part.off_map for part in parts)]),
            near_rows=np.concatenate([self._none_near(0).rows, *(part.near_rows for part in parts)]),
            near_distances=np.concatenate([self._none_near(0).distances, *(part.near_distances for part in parts)]),
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All but the fitted vectors: `positions` (n_fitted, 2), the curve, and the lists of the index."""
        return {
            "places": self.positions,
            "curve": np.array([self.curve.a, self.curve.b]),
            "neighbors": np.array(self.neighbors),
            "far": np.array(self.far),
            "lists": self.index.lists,
            "centroids": self.index.centroids,
            "n_probed": np.array(self.index.n_probed),
        }

    def _placed(self, vectors: Vectors) -> Placed:
        if not self.n_fitted:
            none = self._none_near(len(vectors))
            return Placed(
                positions=np.zeros((len(vectors), 2), np.float32),
                off_map=np.ones(len(vectors), np.bool_),
                near_rows=none.rows,
                near_distances=none.distances,
            )
        directions = unit(vectors)
        near = self.index.nearest(directions, min(self.neighbors, self.n_fitted))
        return Placed(
            positions=placing.place(directions, near, self.positions, self.curve),
            off_map=far_from(near) > self.far,
            near_rows=near.rows[:, :kept_neighbors],
            near_distances=near.distances[:, :kept_neighbors],
        )

    def _none_near(self, n: int) -> Neighbors:
        """What has the shape of n vectors' nearest rows, for the sake of no vectors or no rows."""
        k = min(self.neighbors, kept_neighbors, self.n_fitted)
        return Neighbors(rows=np.zeros((n, k), np.int64), distances=np.zeros((n, k)))


def far_from(near: Neighbors) -> NDArray[np.float64]:
    """Distance to the fifth neighbour (n,), or to the last where there are fewer."""
    return near.distances[:, min(drift_neighbor, near.distances.shape[1]) - 1]


def check_dimension(vectors: Vectors, dim: int) -> None:
    """Raises `DimensionMismatch` unless `vectors` are (n, dim)."""
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise DimensionMismatch(
            f"Vectors of shape {vectors.shape} were given, the map was fitted on {dim} dimensions; "
            "index with recompute=true to fit it again."
        )


def open_arrays(arrays: Mapping[str, NDArray[Any]], fitted: Vectors) -> FittedMap:
    """The map whose `arrays()` these are; `fitted` (n_fitted, dim) are its vectors in their order."""
    centroids = np.asarray(arrays["centroids"], np.float32)
    check_dimension(fitted, centroids.shape[1])
    if len(fitted) != len(arrays["places"]):
        raise DimensionMismatch(
            f"The map was fitted on {len(arrays['places'])} vectors, {len(fitted)} were given to open it; "
            "index with recompute=true to fit it again."
        )
    lists = np.asarray(arrays["lists"], np.int32)
    return _opened(arrays, listed(unit(fitted), lists, centroids, int(arrays["n_probed"])))


def write_folder(layout: FittedMap, folder: Path) -> None:
    """The map in a folder that `read_folder` opens at once, whatever its size; whole or not at all.

    A folder that is already there is replaced. It is a cache: what it holds can be made again from `arrays()`.
    """
    with atomic_folder(folder) as aside:
        np.save(aside / "vectors.npy", layout.index.vectors)
        np.savez(aside / "layout.npz", **layout.arrays())  # type: ignore[arg-type]


def read_folder(folder: Path) -> FittedMap:
    """The map that `write_folder` left there, its vectors memory-mapped.

    Raises `NotFound` where there is none, or none that is whole and undamaged.
    """
    if not is_intact(folder):
        raise NotFound(f"There is no undamaged map in {folder.name}. It is made again by the next index.")
    try:
        with np.load(folder / "layout.npz", allow_pickle=False) as file:
            arrays = dict(file)
        vectors = np.asarray(np.load(folder / "vectors.npy", mmap_mode="r", allow_pickle=False))
        lists, centroids = arrays["lists"], arrays["centroids"]
        whole = vectors.shape == (len(arrays["places"]), centroids.shape[1]) and len(lists) == len(vectors)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise NotFound(
            f"No map can be opened in {folder.name}: {error}. It is made again by the next index."
        ) from error
    if not whole:
        raise NotFound(f"The map in {folder.name} is not whole. It is made again by the next index.")
    return _opened(
        arrays,
        VectorIndex(
            vectors=vectors,
            order=np.argsort(lists, kind="stable"),
            offsets=list_offsets(lists, len(centroids)),
            centroids=centroids,
            n_probed=int(arrays["n_probed"]),
        ),
    )


def _opened(arrays: Mapping[str, NDArray[Any]], index: VectorIndex) -> FittedMap:
    a, b = (float(value) for value in arrays["curve"])
    return FittedMap(
        index=index,
        positions=np.asarray(arrays["places"], np.float32),
        curve=Curve(a=a, b=b),
        neighbors=int(arrays["neighbors"]),
        far=float(arrays["far"]),
    )
