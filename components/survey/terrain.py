"""The terrain of a survey: a Gaussian hill for each cluster, in cells of a grid.

Heights keep the scale of the original sizes. Scaling them to 0..10 again after an adjustment would hide the adjustment. A
weight is a hill's height over its original height, never read off the surface, where neighbours add up.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from components.contracts import Positions
from components.errors import BadQuery

HEIGHT_SCALE: Final = 10.0  # height of the largest cluster
MIN_RADIUS: Final = 2.0  # cells: a narrower hill falls between the points of the grid
MAX_RADIUS_SHARE: Final = 0.12  # of the grid: a cluster with a few rows far away shall not cover the others
MARGIN: Final = 0.08  # of the grid, at each side
MAX_WEIGHT: Final = 1_000.0
LIGHTNESS: Final = (0.46, 0.62, 0.36, 0.72)
HUES: Final = (0.58, 0.08, 0.44, 0.13, 0.89, 0.55, 0.02)  # blue, orange, green, yellow, pink, sky, vermilion

Grid = NDArray[np.float32]  # (grid_size, grid_size): row z, column x


@dataclass(frozen=True, slots=True, kw_only=True)
class Hill:
    """A cluster of rows: `x` (column), `z` (row) and `radius` are in cells of the grid, `original_height` in 0..10."""

    id: int
    label: str
    description: str
    label_source: str  # model, keywords, fallback
    size: int
    x: float
    z: float
    radius: float
    original_height: float
    color: str
    samples: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Of the clusters: rows (n,), centres (n, 2) and standard deviations (n,) on the map."""

    sizes: NDArray[np.int64]
    centres: NDArray[np.float64]
    deviations: NDArray[np.float64]


def cluster_stats(positions_2d: Positions, labels: NDArray[np.int64]) -> Stats:
    """Statistics of clusters 0..n-1 from the positions (rows, 2) and clusters (rows,) of all rows, -1 for noise."""
    n = int(labels.max(initial=-1)) + 1
    centres, deviations = np.zeros((n, 2)), np.zeros(n)
    for cluster in range(n):
        mine = positions_2d[labels == cluster].astype(np.float64)
        if len(mine):
            centres[cluster] = np.median(mine, axis=0)
            deviations[cluster] = math.sqrt(float(mine.var(axis=0).mean()))
    return Stats(sizes=np.bincount(labels[labels >= 0], minlength=n), centres=centres, deviations=deviations)


def build_terrain(
    positions_2d: Positions,
    labels: NDArray[np.int64],
    names: Sequence[tuple[str, str, str]],
    samples: Sequence[Sequence[str]],
    grid_size: int,
) -> list[Hill]:
    """The hills of clusters 0..n-1, of which `names` are label, description and source.

    Height: size over the largest size, times 10. Radius: twice the standard deviation on the map, at least two cells.
    """
    stats = cluster_stats(positions_2d, labels)
    origin, scale = _to_grid(stats.centres, grid_size)
    largest = int(stats.sizes.max(initial=1))
    limit = max(MIN_RADIUS, MAX_RADIUS_SHARE * grid_size)
    return [
        Hill(
            id=id,
            label=name[0],
            description=name[1],
            label_source=name[2],
            size=int(stats.sizes[id]),
            x=round(float((stats.centres[id, 0] - origin[0]) * scale), 3),
            z=round(float((stats.centres[id, 1] - origin[1]) * scale), 3),
            radius=round(min(limit, max(MIN_RADIUS, 2 * float(stats.deviations[id]) * scale)), 3),
            original_height=round(HEIGHT_SCALE * int(stats.sizes[id]) / largest, 6),
            color=generate_color(id),
            samples=list(samples[id]),
        )
        for id, name in enumerate(names)
    ]


def _to_grid(centres: NDArray[np.float64], grid_size: int) -> tuple[NDArray[np.float64], float]:
    """What to subtract from positions, and by what to multiply them, so that all centres lie within the grid."""
    if not len(centres):
        return np.zeros(2), 1.0
    low, high = centres.min(axis=0), centres.max(axis=0)
    extent = float((high - low).max())
    last = grid_size - 1
    scale = (1 - 2 * MARGIN) * last / extent if extent > 0 else 1.0
    return (low + high) / 2 - last / 2 / scale, scale


def add_gaussian_hill(grid: Grid, center: tuple[float, float], height: float, radius: float) -> None:
    """Adds `height * exp(-distance² / (2 radius²))` to the grid; `center` is (x, z), distances are in cells.

    >>> grid = np.zeros((5, 5), np.float32)
    >>> add_gaussian_hill(grid, (2.0, 2.0), 3.0, 1.0)
    >>> float(grid[2, 2]), round(float(grid[2, 3]), 3)
    (3.0, 1.82)
    """
    along_x = np.exp(-((np.arange(grid.shape[1]) - center[0]) ** 2) / (2 * radius**2))
    along_z = np.exp(-((np.arange(grid.shape[0]) - center[1]) ** 2) / (2 * radius**2))
    grid += np.asarray(height * np.outer(along_z, along_x), np.float32)


def height_map(hills: Sequence[Hill], weights: Mapping[int, float], grid_size: int) -> Grid:
    """The surface: the sum of all hills at their present heights."""
    grid = np.zeros((grid_size, grid_size), np.float32)
    for hill in hills:
        add_gaussian_hill(grid, (hill.x, hill.z), hill.original_height * weights.get(hill.id, 1.0), hill.radius)
    return grid


def generate_color(cluster_id: int) -> str:
    """A colour of seven hues that people with any colour vision tell apart, then the same ones lighter or darker.

    >>> generate_color(0) != generate_color(7), generate_color(3) == generate_color(3)
    (True, True)
    """
    hue = HUES[cluster_id % len(HUES)]
    lightness = LIGHTNESS[cluster_id // len(HUES) % len(LIGHTNESS)]
    return "#" + "".join(f"{round(255 * part):02x}" for part in colorsys.hls_to_rgb(hue, lightness, 0.72))


# --- weights


def checked_weights(hills: Sequence[Hill], adjustments: Mapping[int, float]) -> dict[int, float]:
    """The adjustments, if they can be made. Raises `BadQuery` that names the hill and the value."""
    known = {hill.id: hill for hill in hills}
    for id, weight in adjustments.items():
        if id not in known:
            listed = f"0 to {len(hills) - 1}" if hills else "none"
            raise BadQuery(f"There is no hill {id}; there are: {listed}.")
        if not math.isfinite(weight) or not 0 <= weight <= MAX_WEIGHT:
            raise BadQuery(f"The weight of hill {id} is {weight!r}; it has to be between 0 and {MAX_WEIGHT:,.0f}.")
        if known[id].original_height <= 0:
            raise BadQuery(f"Hill {id} has an original height of 0, so no weight changes it.")
    return dict(adjustments)


def effective_sizes(hills: Sequence[Hill], weights: Mapping[int, float]) -> list[float]:
    """Size times weight of each hill."""
    return [hill.size * weights.get(hill.id, 1.0) for hill in hills]


def hill_from_json(raw: Mapping[str, Any]) -> Hill:
    """The hill that was stored as these fields."""
    return Hill(**raw)
