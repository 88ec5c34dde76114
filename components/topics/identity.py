"""Topics that keep their identity while a dataset grows.

Existing topics stay as they are, and new rows join the topic of their neighbours. Clusterings from scratch ("advisers")
are made at each refit of the map and only propose changes; a change is accepted where the links between neighbouring
rows support it: a new topic, a split, a merge. The thresholds were tuned on banking77, clinc150 and sms_spam, and leave
a wide margin between splitting (below 0.04) and merging (above 0.45, see `merging`), so that nothing alternates.

Everything here is deterministic. Topic ids only grow and are never used again for something else.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from components.neighbors.knn import Neighbors
from components.topics.clusters import NEW, NOISE, Labels, by_size
from components.topics.merging import merges

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]
Distances = NDArray[np.float64]

VOTERS: Final = 5  # nearest labelled rows that vote; fifteen give twice the noise and no better topics
MIN_VOTES: Final = 0.4  # share of the votes, weighted by closeness
MIN_VOTES_AGAIN: Final = 0.7  # for a row that was noise in an earlier vote
FAR_QUANTILE: Final = 0.98
FAR_MARGIN: Final = 1.1  # a row farther from its fifth neighbour than this times the quantile is noise
MIN_ROWS: Final = 8  # of a new topic, and of a part that is split off
NEW_SHARE: Final = 0.75  # of a cluster belongs to no existing topic ...
NEW_P: Final = 1e-4  # ... which happens with at most this probability if rows were drawn at random ...
NEW_LINKS: Final = 0.5  # ... and its links lead to existing topics at most half as often as at random
UNCLAIMED_SHARE: Final = 0.6  # of a cluster that no vote assigned: a topic among the noise
ABSORBED_LINKS: Final = 0.25  # of its links lead to one topic: it becomes part of that topic
HELD_SHARE: Final = 0.25  # a cluster with this share of an existing topic is that topic
SPLIT_LINKS: Final = 0.04
SPLIT_SHARE: Final = 0.2  # of the topic
KEPT_JACCARD: Final = 0.5  # a topic whose rows mostly stay together keeps its id

ChangeKind = Literal["new", "from_noise", "split", "merged", "absorbed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What happened to `topic`: `split` from `other`, `other` was `merged` into it, or noise was `absorbed` by it."""

    kind: ChangeKind
    topic: int
    other: int = NOISE


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintained:
    """The topics of all rows (n,), the first id that is not used yet, and what changed."""

    topics: Labels
    next_id: int
    changes: Sequence[Change]


def vote(topics: Labels, near: Neighbors, *, far: float, share: float = MIN_VOTES) -> Labels:
    """Topics (n,) by the votes of neighbours, whose topics are `topics[near.rows]`.

    A vote weighs 1 / (distance + 0.05). Noise where no topic has `share` of the weight, or where the last neighbour is
    farther than `far`.
    """
    rows, distances = near.rows[:, :VOTERS], near.distances[:, :VOTERS]
    if not rows.size:
        return np.full(len(rows), NOISE, np.int64)
    votes, weights = topics[rows], 1.0 / (distances + 0.05)
    agree = (votes[:, :, None] == votes[:, None, :]) & (votes >= 0)[:, :, None]
    shares = (agree * weights[:, None, :]).sum(axis=2) / weights.sum(axis=1, keepdims=True)
    nearest_first = 1e-9 * (votes.shape[1] - np.arange(votes.shape[1]))
    best = np.argmax(shares + nearest_first, axis=1)
    at = np.arange(len(votes))
    return np.where((shares[at, best] >= share) & (distances[:, -1] <= far), votes[at, best], NOISE)


def far_limit(distances: Distances) -> float:
    """The distance to the fifth neighbour from which on a row belongs to no topic, given those of known rows (m, k)."""
    if not len(distances):
        return np.inf
    return FAR_MARGIN * float(np.quantile(distances[:, min(VOTERS, distances.shape[1]) - 1], FAR_QUANTILE))


def first_topics(clusters: Labels, *, next_id: int = 0) -> Maintained:
    """The topics of a dataset that had none: the clusters themselves, numbered from `next_id`."""
    n = int(clusters.max(initial=NOISE)) + 1
    return Maintained(
        topics=np.where(clusters >= 0, clusters + next_id, NOISE),
        next_id=next_id + n,
        changes=[Change(kind="new", topic=next_id + topic) for topic in range(n)],
    )


def renewed_topics(clusters: Labels, before: Labels, next_id: int, *, fixed: Collection[int] = ()) -> Maintained:
    """The clusters (n,) as topics; one that shares more than half of its rows with a topic of `before` keeps that id.

    The rows of topics in `fixed` stay in them. Ids are matched by the largest total Jaccard index (Kuhn 1955), and only at 0.5 or more.
    """
    from scipy.optimize import linear_sum_assignment

    is_fixed = np.isin(before, list(fixed))
    clusters = by_size(np.where(is_fixed, NOISE, clusters))
    old = np.unique(before[(before >= 0) & ~is_fixed])
    n = int(clusters.max(initial=NOISE)) + 1
    both = (clusters >= 0) & (before >= 0)  # none of them is fixed
    shared = np.zeros((n, len(old)))
    np.add.at(shared, (clusters[both], np.searchsorted(old, before[both])), 1)
    sizes = np.bincount(clusters[clusters >= 0], minlength=n)
    old_sizes = np.array([(before == topic).sum() for topic in old], np.int64)
    jaccard = shared / np.maximum(1, sizes[:, None] + old_sizes[None, :] - shared)
    ids = np.full(n, NOISE, np.int64)
    for row, column in zip(*linear_sum_assignment(-jaccard), strict=True):
        if jaccard[row, column] >= KEPT_JACCARD:
            ids[row] = old[column]
    is_new = ids < 0
    ids[is_new] = next_id + np.arange(int(is_new.sum()))
    return Maintained(
        topics=np.where(is_fixed, before, np.where(clusters >= 0, ids[clusters] if n else NOISE, NOISE)),
        next_id=next_id + int(is_new.sum()),
        changes=[Change(kind="new", topic=int(topic)) for topic in ids[is_new]],
    )


def maintain(
    before: Labels,
    next_id: int,
    near: Neighbors,
    near_known: Neighbors,
    known_topics: Labels,
    advisers: Sequence[Labels],
    *,
    fixed: Collection[int] = (),
) -> Maintained:
    """Topics (n,) after growth. `before` (n,) has the topics of known rows, and `NEW` for new ones.

    `near`: the nearest of all rows, for each of the n rows. `near_known`: the nearest known rows, for each new row in
    order, by their place in `known_topics`, which may hold rows of topics that have ended. `advisers`: clusterings of all rows from scratch (n,), the finest first; the last one alone proposes splits
    and merges. Topics in `fixed` are not split, and not merged into others.
    """
    is_new = before == NEW
    far = far_limit(near.distances[~is_new])
    work = _Work(before=np.where(is_new, NOISE, before), is_new=is_new, near=near.rows, next_id=next_id, fixed=fixed)
    work.now[is_new] = vote(known_topics, near_known, far=far)
    work.vote_again(np.flatnonzero(~is_new & (work.now < 0)), near, far, MIN_VOTES_AGAIN)
    for clusters in advisers:
        work.find_new(clusters)
    sizes = np.bincount(work.now + 1, minlength=2)
    work.vote_again(
        np.flatnonzero((work.now >= next_id) & (sizes[work.now + 1] < MIN_ROWS)), near, far, MIN_VOTES, reset=True
    )
    work.split(advisers[-1])
    work.merge(advisers[-1])
    present = set(np.unique(work.now).tolist())
    return Maintained(
        topics=work.now, next_id=work.next_id, changes=[one for one in work.changes if one.topic in present]
    )


def link_share(near: Rows, a: Mask, b: Mask) -> float:
    """The share of the smaller side's links within `a` and `b` that cross between them; about 0.5 without a border."""
    from_a, from_b = near[a], near[b]
    crossing = b[from_a].sum() + a[from_b].sum()
    inside = min(a[from_a].sum() + b[from_a].sum(), a[from_b].sum() + b[from_b].sum())
    return float(crossing) / max(1, 2 * int(inside))


class _Work:
    """Topics while they are revised; `before` is never changed."""

    def __init__(self, *, before: Labels, is_new: Mask, near: Rows, next_id: int, fixed: Collection[int]) -> None:
        self.before = before
        self.is_new = is_new
        self.now = before.copy()
        self.near = near
        self.next_id = next_id
        self.fixed = fixed
        self.changes: list[Change] = []
        self.by_chance = min(0.95, float((before < 0).mean()))  # share of rows without an existing topic

    def vote_again(self, rows: Rows, near: Neighbors, far: float, share: float, *, reset: bool = False) -> None:
        """Let these rows vote among all rows."""
        if reset:
            self.now[rows] = NOISE
        part = Neighbors(rows=near.rows[rows], distances=near.distances[rows])
        self.now[rows] = vote(self.now, part, far=far, share=share)

    def find_new(self, clusters: Labels) -> None:
        """Accept clusters of rows that no existing topic explains."""
        for members in _members(clusters):
            free = members[self.before[members] < 0]
            if len(free) < MIN_ROWS:
                continue
            unclaimed = members[self.now[members] < 0]
            owner = _most_common(self.now[members])
            if self._is_new(members, free, owner):
                self._new_topic(free, "new", owner)
            elif len(unclaimed) >= max(MIN_ROWS, UNCLAIMED_SHARE * len(members)):
                self._absorb(unclaimed)

    def _is_new(self, members: Rows, free: Rows, owner: int) -> bool:
        from scipy.stats import binom

        of_owner = int((self.before == owner).sum()) if owner != NOISE else 0
        held = int((self.before[members] == owner).sum()) / of_owner if of_owner else 0.0
        leads_back = float((self.before[self.near[free]] >= 0).mean()) / (1 - self.by_chance)
        is_improbable = (
            len(free) >= NEW_SHARE * len(members) and binom.sf(len(free) - 1, len(members), self.by_chance) < NEW_P
        )
        return bool(is_improbable and leads_back <= NEW_LINKS and held <= HELD_SHARE)

    def _absorb(self, unclaimed: Rows) -> None:
        beside = self.now[self.near[unclaimed]]
        owner = _most_common(beside)
        if owner != NOISE and float((beside == owner).mean()) >= ABSORBED_LINKS:
            self.now[unclaimed] = owner
            self.changes.append(Change(kind="absorbed", topic=owner))
        else:
            self._new_topic(unclaimed, "from_noise", NOISE)

    def _new_topic(self, rows: Rows | Mask, kind: ChangeKind, other: int) -> None:
        self.now[rows] = self.next_id
        self.changes.append(Change(kind=kind, topic=self.next_id, other=other))
        self.next_id += 1

    def split(self, clusters: Labels) -> None:
        """Split off parts of a topic that hardly any link connects with the rest of it."""
        for topic in np.unique(self.now[self.now >= 0]):
            if topic in self.fixed:
                continue
            rows = np.flatnonzero(self.now == topic)
            sizes = np.bincount(clusters[rows][clusters[rows] >= 0], minlength=1)
            for cluster in np.argsort(-sizes, kind="stable")[1:]:
                if sizes[cluster] < max(MIN_ROWS, SPLIT_SHARE * len(rows)):
                    break
                self._split_off(int(topic), clusters == cluster)

    def _split_off(self, topic: int, cluster: Mask) -> None:
        whole = self.now == topic
        part, rest = whole & cluster, whole & ~cluster
        if link_share(self.near, part, rest) >= SPLIT_LINKS:
            return
        old_of_rest, old_of_part = ((self.before[side] == topic).sum() for side in (rest, part))
        self._new_topic(part if old_of_rest >= old_of_part else rest, "split", topic)

    def merge(self, clusters: Labels) -> None:
        """Merge topics without a border between them that one cluster holds."""
        for stays, goes in merges(self.now, self.before, self.near, clusters, fixed=self.fixed):
            self.now[self.now == goes] = stays
            self.changes.append(Change(kind="merged", topic=stays, other=goes))


def _members(clusters: Labels) -> list[Rows]:
    """The rows of each cluster, ascending."""
    order = np.argsort(clusters, kind="stable")
    n = int(clusters.max(initial=NOISE)) + 1
    bounds = np.searchsorted(clusters[order], np.arange(n + 1))
    return [order[bounds[i] : bounds[i + 1]] for i in range(n)]


def _most_common(topics: Labels) -> int:
    counts = np.bincount(topics[topics >= 0], minlength=1)
    return int(np.argmax(counts)) if counts.max() else NOISE
