"""What people decided about topics, and what a snapshot adds to them: names, merges, sizes, numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from components.contracts import NO_TOPIC, TOPIC_LEVEL, Topic, TopicCounts, TopicEvent, TopicSize

RawSizes = Mapping[int | None, TopicSize]  # by topic as stored: -1 for noise, None if none was looked for


def with_edits(topics: Sequence[Topic], names: Mapping[int, str], merged: Mapping[int, int]) -> list[Topic]:
    """The topics with the names that people gave them, those that they merged as part of their targets."""
    return [_merged(_named(topic, names), merged) for topic in topics]


def _named(topic: Topic, names: Mapping[int, str]) -> Topic:
    return replace(topic, name=names[topic.id], name_source="person") if topic.id in names else topic


def _merged(topic: Topic, merged: Mapping[int, int]) -> Topic:
    if topic.id not in merged or topic.state != "active":
        return topic
    event = TopicEvent(event="merged into", other=merged[topic.id])
    return replace(topic, state="merged", lineage=[*topic.lineage, event])


def with_published(topics: Sequence[Topic], published: Sequence[Topic]) -> list[Topic]:
    """The topics of a layout with the numbers of snapshots that were not known when it was made."""
    former = {topic.id: topic for topic in published}
    return [
        replace(topic, born=former[topic.id].born, lineage=former[topic.id].lineage, state=former[topic.id].state)
        if topic.id in former
        else topic
        for topic in topics
    ]


def numbered(topics: Sequence[Topic], number: int) -> list[Topic]:
    """The topics with the number of the snapshot in which they happened for events that have none yet."""
    return [
        replace(
            topic,
            born=topic.born or number,
            lineage=[event if event.snapshot else replace(event, snapshot=number) for event in topic.lineage],
        )
        for topic in topics
    ]


def sized(
    topics: Sequence[Topic], own: Mapping[int, TopicSize], published: Sequence[Topic], number: int
) -> list[Topic]:
    """The topics with their sizes in snapshot `number`, given those of topics alone; a group has those of its topics.

    `last_seen` is the snapshot in which a topic last grew.
    """
    before, parents = {topic.id: topic for topic in published}, {topic.id: topic.parent for topic in topics}
    sizes = dict.fromkeys(parents, TopicSize())
    for leaf, size in own.items():
        group, steps = leaf, 0
        while group in sizes and steps <= TOPIC_LEVEL:
            sizes[group] += size
            group, steps = parents[group], steps + 1
    found: list[Topic] = []
    for topic in topics:
        old, size = before.get(topic.id), sizes[topic.id]
        grew = old is None or size.records > old.size
        last_seen = number if grew and size.records else (old.last_seen if old else number)
        found.append(replace(topic, size=size.records, texts=size.texts, last_seen=last_seen))
    return found


def merged_sizes(raw: RawSizes, merged: Mapping[int, int]) -> dict[int, TopicSize]:
    """Sizes by the topic that records belong to now, without those that have none; `merged` leads to the last target."""
    sizes: dict[int, TopicSize] = {}
    for topic, size in raw.items():
        if topic is not None and topic != NO_TOPIC:
            target = merged.get(topic, topic)
            sizes[target] = sizes.get(target, TopicSize()) + size
    return sizes


def totals(raw: RawSizes) -> TopicCounts:
    """How many records have a topic, are noise, or wait for topics to be looked for."""
    noise, waiting = (raw.get(none, TopicSize()).records for none in (NO_TOPIC, None))
    n_records = sum(size.records for size in raw.values())
    return TopicCounts(assigned=n_records - noise - waiting, noise=noise, waiting=waiting)
