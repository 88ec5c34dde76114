"""Topics as they are stored: where they are, what belongs to them, and their history from one map to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from components.contracts import NO_TOPIC, TOPIC_LEVEL, Positions, Topic, TopicEvent, Vectors
from components.topics.clusters import Labels
from components.topics.identity import Change, Maintained
from components.topics.tree import NONE, SIZES, Groups, groups_of

RETURN_COSINE: Final = 0.8  # of the centroids of a new topic and an ended one that is the same theme
RENAMED_GROWTH: Final = 2  # a topic that has grown by more than this factor is named again
TYPICAL_MEMBERS: Final = 30  # vectors of a topic that are remembered, and stand for it after it has ended

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class MapRows:
    """The fitted rows of a map: ids of their vectors (n,), vectors (n, dim), positions (n, 2)."""

    vector_ids: Ids
    vectors: Vectors
    positions: Positions


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """The topics of a map: the topic of each fitted row (n,), and all topics and groups, also those that have ended."""

    labels: Labels
    topics: Sequence[Topic]


def next_id_of(topics: Sequence[Topic]) -> int:
    """The first id that no topic has had."""
    return max((topic.id for topic in topics), default=-1) + 1


def returned_ids(maintained: Maintained, rows: MapRows, old: Sequence[Topic]) -> Maintained:
    """The same topics, where a new one that is close to one that has ended takes the id of that."""
    ended = [topic for topic in old if _has_ended(topic) and len(topic.centroid) == rows.vectors.shape[1]]
    if not ended:
        return maintained
    ids: dict[int, int] = {}
    centroids = np.stack([topic.centroid for topic in ended])
    for change in maintained.changes:
        if change.kind in {"new", "from_noise"}:
            closeness = centroids @ _centroid(rows.vectors[maintained.topics == change.topic])
            best = int(np.argmax(closeness))
            if closeness[best] >= RETURN_COSINE:  # also for several parts of what was one topic
                ids[change.topic] = ended[best].id
    topics = maintained.topics.copy()
    for new, former in ids.items():
        topics[topics == new] = former
    changes = [replace(change, topic=ids.get(change.topic, change.topic)) for change in maintained.changes]
    return Maintained(topics=topics, next_id=maintained.next_id, changes=changes)


def make_catalog(maintained: Maintained, rows: MapRows, old: Sequence[Topic]) -> Catalog:
    """All topics after a fit or a refit, given those of the map before."""
    labels, former = maintained.topics, {topic.id: topic for topic in old}
    ids = [int(topic) for topic in np.unique(labels[labels >= 0])]
    changes = {change.topic: change for change in maintained.changes if change.kind in {"new", "from_noise", "split"}}
    merged = {change.other: change.topic for change in maintained.changes if change.kind == "merged"}
    leaves = [_leaf(id, rows, labels, former.get(id), changes.get(id)) for id in ids]
    groups, _ = groups_of(
        np.stack([leaf.centroid for leaf in leaves]) if leaves else np.empty((0, rows.vectors.shape[1]), np.float32),
        _old_groups(ids, former),
        max(maintained.next_id, next_id_of(old)),
    )
    active = [
        *(replace(leaf, parent=_parent(groups[at], TOPIC_LEVEL)) for at, leaf in enumerate(leaves)),
        *_groups(groups, leaves, rows, labels, former),
    ]
    gone = [_gone(topic, merged) for topic in old if topic.id not in {topic.id for topic in active}]
    return Catalog(labels=labels, topics=sorted([*active, *gone], key=lambda topic: topic.id))


def _leaf(id: int, rows: MapRows, labels: Labels, former: Topic | None, change: Change | None) -> Topic:
    at = np.flatnonzero(labels == id)
    placed = _placed(Topic(id=id) if former is None else former, rows, at)
    if former is not None and not _has_ended(former):
        return placed
    event: TopicEvent = TopicEvent(event="new")
    if former is not None:
        event = TopicEvent(event="returned")
    elif change is not None and change.kind == "split":
        event = TopicEvent(event="split from", other=change.other)
    return replace(placed, state="active", lineage=[*placed.lineage, event])


def _placed(topic: Topic, rows: MapRows, at: Ids) -> Topic:
    """The topic with the position, centroid and typical vectors of its rows."""
    centroid = _centroid(rows.vectors[at])
    closest = at[np.argsort(-(rows.vectors[at] @ centroid), kind="stable")][:TYPICAL_MEMBERS]
    x, y = np.median(rows.positions[at], axis=0).tolist()
    placed = replace(topic, x=x, y=y, centroid=centroid, members=rows.vector_ids[closest].tolist(), size=len(at))
    if topic.name and len(at) <= RENAMED_GROWTH * topic.named_rows:
        return placed
    return replace(placed, name="", named_rows=len(at))  # it is named once all topics are known


def _centroid(vectors: Vectors) -> NDArray[np.float32]:
    mean = vectors.mean(axis=0, dtype=np.float64)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), np.float32)


# --- groups


def _old_groups(ids: Sequence[int], former: Mapping[int, Topic]) -> Groups:
    """The groups that these topics belong to so far."""
    found = np.full((len(ids), len(SIZES)), NONE, np.int64)
    for row, id in enumerate(ids):
        topic = former.get(id)
        while topic is not None and topic.parent != NO_TOPIC:
            topic = former.get(topic.parent)
            if topic is not None:
                found[row, topic.level] = topic.id
    return found


def _parent(groups: Ids, level: int) -> int:
    """The group of the next coarser level that there is, -1 if none."""
    coarser = [int(group) for group in groups[:level] if group != NONE]
    return coarser[-1] if coarser else NO_TOPIC


def _groups(
    groups: Groups, leaves: Sequence[Topic], rows: MapRows, labels: Labels, former: Mapping[int, Topic]
) -> list[Topic]:
    found: list[Topic] = []
    ids = np.array([leaf.id for leaf in leaves], np.int64)
    for level in range(len(SIZES)):
        for id in np.unique(groups[groups[:, level] != NONE, level]).tolist():
            inside = groups[:, level] == id
            known = former.get(id)
            topic = replace(known or Topic(id=id, lineage=[TopicEvent(event="new")]), state="active", level=level)
            placed = _placed(topic, rows, np.flatnonzero(np.isin(labels, ids[inside])))
            largest = max(
                (leaves[at] for at in np.flatnonzero(inside).tolist()), key=lambda leaf: (leaf.size, -leaf.id)
            )
            parent = _parent(groups[int(np.argmax(inside))], level)
            found.append(replace(placed, parent=parent, x=largest.x, y=largest.y))  # between its parts there is nothing
    return found


# --- topics that are no longer there


def _has_ended(topic: Topic) -> bool:
    return topic.state == "ended" and topic.level == TOPIC_LEVEL


def _gone(topic: Topic, merged: Mapping[int, int]) -> Topic:
    if topic.state != "active":
        return topic
    if topic.id in merged:
        event = TopicEvent(event="merged into", other=merged[topic.id])
        return replace(topic, state="merged", lineage=[*topic.lineage, event])
    return replace(topic, state="ended", lineage=[*topic.lineage, TopicEvent(event="ended")])
