"""Groups of topics for the view from afar: about 100, 30 and 10 of them, each a part of one of the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from components.topics.identity import KEPT_JACCARD

Groups = NDArray[np.int64]  # (n_topics, levels), the group of each topic at each level, coarsest first
Centroids = NDArray[np.float32]  # (n_topics, dim), of unit length

SIZES: Final = (10, 30, 100)  # groups of level 0, 1 and 2
NONE: Final = -1


def needed_levels(n_topics: int) -> list[int]:
    """The levels that are worth having: those with clearly fewer groups than there are topics.

    >>> needed_levels(45)
    [0, 1]
    """
    return [level for level, size in enumerate(SIZES) if n_topics >= 1.5 * size]


def groups_of(centroids: Centroids, before: Groups, next_id: int) -> tuple[Groups, int]:
    """The groups of topics, and the first id that is not used yet. `before` has `NONE` where a topic had no group.

    A topic keeps its groups, a new one joins those of the nearest topic. Where levels are needed that were not there
    (or no longer), all are made from scratch, by Ward's method, and take the ids of groups with mostly the same topics.
    """
    levels = needed_levels(len(centroids))
    found = np.full((len(centroids), len(SIZES)), NONE, np.int64)
    known = (before[:, levels] != NONE).all(axis=1)
    is_same = known.any() and not (np.delete(before[known], levels, axis=1) != NONE).any()
    if not levels:
        return found, next_id
    if is_same:
        nearest = np.flatnonzero(known)[np.argmax(centroids @ centroids[known].T, axis=1)]
        found[:, levels] = np.where(known[:, None], before[:, levels], before[nearest][:, levels])
        return found, next_id
    for level, cut in zip(levels, _ward(centroids, [SIZES[level] for level in levels]), strict=True):
        found[:, level], next_id = _with_ids(cut, before[:, level], next_id)
    return found, next_id


def _ward(centroids: Centroids, sizes: Sequence[int]) -> list[Groups]:
    """Nested groups (n,) of the topics, numbered from 0, for each number of groups."""
    from scipy.cluster.hierarchy import fcluster, linkage

    merges = linkage(centroids, "ward")
    return [fcluster(merges, size, "maxclust").astype(np.int64) - 1 for size in sizes]


def _with_ids(cut: Groups, before: Groups, next_id: int) -> tuple[Groups, int]:
    """The same groups under the id of an old one that has mostly the same topics, or under a new id."""
    ids = np.empty(int(cut.max()) + 1, np.int64)
    taken: set[int] = set()
    for group in range(len(ids)):
        mine = cut == group
        ids[group] = NONE
        for old in np.unique(before[mine & (before != NONE)]).tolist():
            theirs = before == old
            if old not in taken and (mine & theirs).sum() >= KEPT_JACCARD * (mine | theirs).sum():
                ids[group] = old
                taken.add(old)
                break
        if ids[group] == NONE:
            ids[group] = next_id
            next_id += 1
    return ids[cut], next_id
