"""Clusters of positions in a few dimensions: what a clustering from scratch would see, without any memory.

The vectors themselves are too evenly spread for density methods: at 384 dimensions the usual knee of DBSCAN puts 93 to
98 % of a dataset into one cluster. On a five-dimensional UMAP of them it works.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]  # (n,), the cluster or topic of each row, -1 for noise
Points = NDArray[np.float32]  # (n, d), positions in d dimensions

NOISE: Final = -1
NEW: Final = -2  # a row that no topic was ever looked for
MIN_SAMPLES: Final = 5
LARGEST_SHARE: Final = 0.25  # of all rows in one cluster; above, the radius shrinks
MIN_CLUSTER_SIZE: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Density:
    """What `coarse_clusters` calls dense: `min_samples` rows within `radius`, None for one that is estimated."""

    radius: float | None = None
    min_samples: int = MIN_SAMPLES


USUAL: Final = Density()


def coarse_clusters(points: Points, density: Density = USUAL) -> Labels:
    """DBSCAN at the given radius, or the knee of the neighbours' distances; smaller ones while a cluster holds over 25 %.

    Labels are numbered by size, the largest first, ties by first row.
    """
    from sklearn.cluster import DBSCAN

    if len(points) <= density.min_samples:
        return np.full(len(points), NOISE, np.int64)
    radius = density.radius or estimate_optimal_eps(points, density.min_samples)
    for _ in range(25):
        labels = DBSCAN(eps=radius, min_samples=density.min_samples).fit_predict(points)
        sizes = np.bincount(labels[labels >= 0], minlength=1)
        if len(sizes) > 1 and sizes.max() <= LARGEST_SHARE * len(points):
            break
        radius *= 0.9
    return by_size(np.asarray(labels, np.int64))


def fine_clusters(points: Points) -> Labels:
    """HDBSCAN with clusters from ten rows on: more and smaller clusters than `coarse_clusters`."""
    from sklearn.cluster import HDBSCAN

    if len(points) <= MIN_CLUSTER_SIZE:
        return np.full(len(points), NOISE, np.int64)
    found = HDBSCAN(min_cluster_size=MIN_CLUSTER_SIZE, min_samples=MIN_SAMPLES, copy=True).fit_predict(points)
    return by_size(np.asarray(found, np.int64))


def by_size(labels: NDArray[np.integer]) -> Labels:
    """The same clusters numbered by size, ties by first row: equal input gives equal numbers.

    >>> by_size(np.array([7, 3, 3, -1])).tolist()
    [1, 0, 0, -1]
    """
    ids, first, sizes = np.unique(labels[labels >= 0], return_index=True, return_counts=True)
    numbers = np.full(int(labels.max(initial=-1)) + 2, NOISE, np.int64)  # the last element stands for -1
    numbers[ids[np.lexsort((first, -sizes))]] = np.arange(len(ids))
    return np.asarray(numbers[labels], np.int64)


def estimate_optimal_eps(points: Points, min_samples: int = MIN_SAMPLES) -> float:
    """The radius where the sorted distances to the `min_samples`-th neighbour bend most (Satopaa et al. 2011, "Kneedle")."""
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=min_samples).fit(points)
    distances = np.sort(nearest.kneighbors(points)[0][:, -1])
    scaled = (distances - distances[0]) / (distances[-1] - distances[0] + 1e-12)
    return max(float(distances[np.argmax(np.linspace(0.0, 1.0, len(distances)) - scaled)]), 1e-9)
