"""Hills from topics: few enough to handle, none of them too large, each with the rows that show what it is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from components.contracts import Vectors

MAX_HILLS: Final = 60
LARGEST_SHARE: Final = 0.25  # of all rows, that a hill made of several topics may have
MIN_EQUAL_ROWS: Final = 10  # rows with one text that belong to no topic and are a hill of their own

Labels = NDArray[np.int64]


def merge_topics(centroids: Vectors, sizes: Sequence[int]) -> Labels:
    """The hill of each topic, (n_topics,), numbered by size: at most 60, merged by Ward's method.

    A merge that would make a hill of over a quarter of all rows is left out, and so is what would build on it.
    """
    n = len(sizes)
    groups: dict[int, list[int]] = {topic: [topic] for topic in range(n)}
    if n > MAX_HILLS:
        from scipy.cluster.hierarchy import linkage

        limit = LARGEST_SHARE * sum(sizes)
        for at, (left, right, *_) in enumerate(linkage(centroids, "ward")):
            if len(groups) <= MAX_HILLS:
                break
            first, second = groups.get(int(left)), groups.get(int(right))
            if first is None or second is None or sum(sizes[topic] for topic in [*first, *second]) > limit:
                continue
            groups[n + at] = [*groups.pop(int(left)), *groups.pop(int(right))]
    ordered = sorted(groups.values(), key=lambda group: (-sum(sizes[topic] for topic in group), min(group)))
    hills = np.empty(n, np.int64)
    for number, group in enumerate(ordered):
        hills[group] = number
    return hills


def frequent_noise(vector_ids: Labels, topics: Labels) -> Labels:
    """The same topics, where each text that many rows without a topic share is a new one: equal rows are no noise."""
    found, rest = topics.copy(), topics < 0
    ids, counts = np.unique(vector_ids[rest], return_counts=True)
    for number, id in enumerate(ids[counts >= MIN_EQUAL_ROWS], int(topics.max(initial=-1)) + 1):
        found[rest & (vector_ids == id)] = number
    return found


def sample_all_clusters(
    chunks: Iterable[tuple[NDArray[np.int64], Vectors, Labels]], centroids: Vectors, k: int
) -> list[list[int]]:
    """The `k` rows closest to each cluster's centroid, closest first; equal texts once.

    `chunks` are ids of vectors (n,), the vectors (n, dim) and their clusters (n,), -1 for none.
    """
    best: list[list[tuple[float, int]]] = [[] for _ in range(len(centroids))]
    for ids, vectors, labels in chunks:
        for cluster in np.unique(labels[labels >= 0]).tolist():
            at = np.flatnonzero(labels == cluster)
            closeness = vectors[at] @ centroids[cluster]
            top = np.argsort(-closeness, kind="stable")[:k]
            found = [(-float(closeness[one]), int(ids[at[one]])) for one in top]
            best[cluster] = sorted([*best[cluster], *found])[:k]
    return [[id for _, id in found] for found in best]


def centroids_of(chunks: Iterable[tuple[Vectors, Labels]], n: int, dim: int) -> Vectors:
    """The mean direction of each cluster's vectors, (n, dim), of unit length."""
    sums = np.zeros((n, dim), np.float64)
    for vectors, labels in chunks:
        np.add.at(sums, labels[labels >= 0], vectors[labels >= 0])
    lengths = np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return np.asarray(sums / lengths, np.float32)


def renumbered(topics: Labels, hills: Mapping[int, int]) -> Labels:
    """The hill of each row by its topic, -1 for those without."""
    found = np.full(len(topics), -1, np.int64)
    for topic, hill in hills.items():
        found[topics == topic] = hill
    return found
