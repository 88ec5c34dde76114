"""Pure arithmetic of maps: their size, their distance from each other, and when to make a new one."""

from __future__ import annotations

from typing import Literal

import numpy as np

from components.contracts import Positions

growth = 2  # a young map is refitted when its data has grown so many times


def placement(
    *, has_layout: bool, recompute: bool, n_fitted: int, n_total: int, young: int
) -> Literal["fit", "transform", "refit"]:
    """What to do with new vectors: fit the first map, place on the existing one, or refit it, aligned with the old one.

    >>> placement(has_layout=True, recompute=False, n_fitted=900, n_total=1_800, young=10_000)
    'refit'
    >>> placement(has_layout=True, recompute=False, n_fitted=0, n_total=0, young=10_000)
    'transform'
    """
    if not has_layout:
        return "fit"
    if recompute or (n_fitted < min(young, n_total) and n_total >= growth * n_fitted):
        return "refit"
    return "transform"


def radius(positions: Positions) -> float:
    """Root mean square distance from the mean place, in map units; 0.0 for nothing."""
    if not len(positions):
        return 0.0
    centred = positions.astype(np.float64) - positions.mean(axis=0, dtype=np.float64)
    return float(np.sqrt((centred**2).sum(axis=1).mean()))


def displacement(old: Positions, new: Positions) -> float:
    """How far the rows moved on average, in radii of the old map; 0.0 where the old map is a point or empty."""
    size = radius(old)
    if size == 0.0:
        return 0.0
    moves = np.linalg.norm(new.astype(np.float64) - old.astype(np.float64), axis=1)
    return float(moves.mean() / size)


def aligned(positions: Positions, old: Positions) -> Positions:
    """`positions` (n, 2) shifted, turned and mirrored as a whole so that they lie closest to `old`, never scaled.

    `old` has NaN in rows that were not on the old map; they follow the others. Least squares (Schönemann 1966, "A
    generalized solution of the orthogonal Procrustes problem").
    """
    from scipy.linalg import orthogonal_procrustes

    known = np.isfinite(old).all(axis=1)
    if not known.any():
        return positions
    # a scaled map would always keep the first map's size, and grow denser than its curve allows
    here, there = positions[known].astype(np.float64), old[known].astype(np.float64)
    centre, goal = here.mean(axis=0), there.mean(axis=0)
    rotation, _ = orthogonal_procrustes(here - centre, there - goal)
    laid: Positions = ((positions - centre) @ rotation + goal).astype(np.float32)
    return laid
