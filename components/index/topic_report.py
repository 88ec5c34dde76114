"""What an index says of the topics afterwards."""

from __future__ import annotations

from components.contracts import TOPIC_LEVEL, TopicCounts, TopicReport
from components.retry import retry_while_busy
from components.store import Store
from components.store.topics import topic_from_json


def topic_report(
    store: Store, dataset: str, *, first_snapshot: int | None, renewal_advised: bool
) -> TopicReport | None:
    """The topics of the newest snapshot, and which came or returned in the snapshots that an index published.

    `first_snapshot` is the first of these, None if there is none. None before the first snapshot of the dataset.
    """
    dataset_id = store.datasets.id(dataset)
    newest = retry_while_busy(lambda: store.publications.newest(dataset_id)) if dataset_id is not None else None
    if newest is None:
        return None
    topics = [topic_from_json(raw) for raw in newest.manifest.get("topics", [])]
    active = [topic for topic in topics if topic.state == "active" and topic.level == TOPIC_LEVEL]
    came: dict[str, dict[str, str]] = {"new": {}, "split from": {}, "returned": {}}
    for topic in active:
        for event in topic.lineage:
            if first_snapshot is not None and event.snapshot >= first_snapshot and event.event in came:
                came[event.event][str(topic.id)] = topic.name
    return TopicReport(
        active=len(active),
        new=came["new"] if len(came["new"]) < len(active) else {},
        split=came["split from"],
        returned=came["returned"],
        counts=TopicCounts(**newest.manifest.get("topic_totals", {})),
        renewal_advised=renewal_advised,
    )
