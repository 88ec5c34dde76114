"""Which topics to merge: those that lie in one cluster and have no border between them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from components.topics.clusters import LARGEST_SHARE, NOISE, Labels

Counts = NDArray[np.int64]

MERGE_LINKS: Final = 0.45  # share of links between two topics that cross; about 0.5 without a border
MERGE_SHARE: Final = 0.6  # of both topics is in one cluster


def merges(
    topics: Labels, before: Labels, near: Counts, clusters: Labels, *, fixed: Collection[int]
) -> list[tuple[int, int]]:
    """Pairs of topics (stays, goes), in the order in which to merge them; the one with more rows in `before` stays.

    `near` (n, k) are the nearest rows of each row. Two topics of `fixed` are never merged, and one of them stays.
    """
    ids = np.unique(topics[topics >= 0])
    dense = np.where(topics >= 0, np.searchsorted(ids, topics), NOISE)
    old_sizes = np.array([(before == topic).sum() for topic in ids], np.int64)
    sizes, links = np.bincount(dense[dense >= 0], minlength=len(ids)), _links(dense, near, len(ids))
    is_fixed = np.isin(ids, list(fixed))
    found: list[tuple[int, int]] = []
    for inside in _held_by_one_cluster(dense, clusters, sizes):
        while pair := _best(inside, links, sizes, is_fixed, len(topics)):
            stays, goes = sorted(pair, key=lambda i: (not is_fixed[i], -old_sizes[i], i))
            links[stays] += links[goes]
            links[:, stays] += links[:, goes]
            sizes[stays] += sizes[goes]
            inside.remove(goes)
            found.append((int(ids[stays]), int(ids[goes])))
    return found


def _links(dense: Labels, near: Counts, n: int) -> Counts:
    """How many links lead from the rows of each topic to those of each other one, (n, n)."""
    rows, columns = np.repeat(dense, near.shape[1]), dense[near].ravel()
    both = (rows >= 0) & (columns >= 0)
    return np.bincount(rows[both] * n + columns[both], minlength=n * n).reshape(n, n)


def _held_by_one_cluster(dense: Labels, clusters: Labels, sizes: Counts) -> list[list[int]]:
    """The topics that have most of their rows in one cluster, for each cluster that holds several."""
    n, m = len(sizes), int(clusters.max(initial=NOISE)) + 1
    both = (dense >= 0) & (clusters >= 0)
    shared = np.bincount(dense[both] * m + clusters[both], minlength=n * m).reshape(n, m)
    is_held = shared >= MERGE_SHARE * sizes[:, None]
    return [np.flatnonzero(is_held[:, cluster]).tolist() for cluster in range(m) if is_held[:, cluster].sum() > 1]


def _best(
    inside: Sequence[int], links: Counts, sizes: Counts, is_fixed: NDArray[np.bool_], n_rows: int
) -> tuple[int, int] | None:
    """The pair with the largest share of crossing links (see `identity.link_share`), if it is large enough."""
    best, share = None, MERGE_LINKS
    for at, b in enumerate(inside):
        for a in inside[:at]:
            if sizes[a] + sizes[b] > LARGEST_SHARE * n_rows or (is_fixed[a] and is_fixed[b]):
                continue
            within = min(links[a, a] + links[a, b], links[b, b] + links[b, a])
            crossing = float(links[a, b] + links[b, a]) / max(1, 2 * int(within))
            if crossing > share or (best is None and crossing >= share):
                best, share = (a, b), crossing
    return best
