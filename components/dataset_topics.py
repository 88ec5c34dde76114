"""The topics of a dataset as people see and change them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.contracts import NO_TOPIC, TOPIC_LEVEL, Topic, TopicCounts
from components.errors import BadQuery, NotFound
from components.retry import retry_while_busy
from components.store import Store
from components.store.publications import SnapshotInfo
from components.store.topics import topic_from_json, topic_to_json
from components.topics.trends import Trend, trends

max_name_chars = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicList:
    """The topics and groups of a snapshot, the largest first on each level; `trends` (by id) since an earlier one."""

    snapshot: int
    counts: TopicCounts
    topics: Sequence[Topic]
    trends: Mapping[int, Trend]

    def as_dicts(self, *, active_only: bool = True) -> list[dict[str, Any]]:
        """The fields of each topic, with its trend if there are trends."""
        return [
            topic_to_json(topic) | ({"trend": self.trends[topic.id]} if topic.id in self.trends else {})
            for topic in self.topics
            if topic.state == "active" or not active_only
        ]


def list_topics(store: Store, dataset: str, dataset_id: int, *, since: int | None = None) -> TopicList:
    """The topics of the newest snapshot.

    Raises `NotFound` before the first index, and if snapshot `since` is not remembered.
    """
    newest = _newest(store, dataset, dataset_id)
    found = [topic_from_json(raw) for raw in newest.manifest.get("topics", [])]
    topics = sorted(found, key=lambda topic: (topic.level, -topic.size, topic.id))
    return TopicList(
        snapshot=newest.no,
        counts=TopicCounts(**newest.manifest.get("topic_totals", {})),
        topics=topics,
        trends={} if since is None else _trends(store, dataset, dataset_id, newest, topics, since),
    )


def edit_topic(
    store: Store, dataset: str, dataset_id: int, topic: int, *, name: str | None = None, merge_into: int | None = None
) -> None:
    """Store the name that a person gives a topic or group, or the topic that it becomes part of.

    Raises `NotFound` for a topic that is not active, `BadQuery` for a change that can't be made.
    """
    if (name is None) == (merge_into is None):
        raise BadQuery("Give a topic either a name or a topic to merge it into.")
    edited = _active(store, dataset, dataset_id, topic)
    if name is not None:
        plain = _usable(name)
        retry_while_busy(lambda: store.topics.rename(dataset_id, topic, plain))
    elif merge_into is not None:
        target = _active(store, dataset, dataset_id, merge_into)
        if edited.level != TOPIC_LEVEL or target.level != TOPIC_LEVEL:
            raise BadQuery("Groups of topics can't be merged; merge topics (level 3).")
        if edited.id == target.id:
            raise BadQuery(f"Topic {topic} can't be merged into itself.")
        retry_while_busy(lambda: store.topics.merge(dataset_id, topic, target.id))


def _usable(name: str) -> str:
    plain = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    if not plain or len(plain) > max_name_chars:
        raise BadQuery(f"The name {name[:max_name_chars]!r} can't be used: give 1 to {max_name_chars} characters.")
    return plain


def _newest(store: Store, dataset: str, dataset_id: int) -> SnapshotInfo:
    newest = retry_while_busy(lambda: store.publications.newest(dataset_id))
    if newest is None:
        raise NotFound(f'Dataset "{dataset}" has no topics yet: `runatlas index -d {dataset}` makes its map.')
    return newest


def _active(store: Store, dataset: str, dataset_id: int, id: int) -> Topic:
    topics = list_topics(store, dataset, dataset_id).topics
    found = next((topic for topic in topics if topic.id == id and topic.id != NO_TOPIC), None)
    if found is None or found.state != "active":
        state = f" (it is {found.state})" if found else ""
        raise NotFound(
            f'Dataset "{dataset}" has no active topic {id}{state}; `runatlas topics -d {dataset}` lists them.'
        )
    return found


def _trends(
    store: Store, dataset: str, dataset_id: int, newest: SnapshotInfo, topics: Sequence[Topic], since: int
) -> dict[int, Trend]:
    before = retry_while_busy(lambda: store.publications.manifest(dataset_id, since))
    if before is None:
        raise NotFound(
            f'Snapshot {since} of dataset "{dataset}" does not exist, or is too old: the newest is {newest.no}.'
        )
    found = trends(
        topics,
        [topic_from_json(raw) for raw in before.get("topics", [])],
        since=since,
        rows_now=newest.rows,
        rows_before=before["manifest"]["rows"],
    )
    return {topic.id: trend for topic, trend in zip(topics, found, strict=True)}
