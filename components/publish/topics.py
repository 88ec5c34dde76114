"""The topics of the next snapshot: those of the layout, as people edited them, with the numbers of their records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from components.contracts import Json, Topic, TopicSize
from components.publish.tables import TopicNames
from components.snapshot.manifest import Label
from components.store import Store
from components.store.publications import SnapshotInfo
from components.store.topics import TopicEdits, topic_from_json, topic_to_json
from components.topics.edits import RawSizes, merged_sizes, numbered, sized, totals, with_edits, with_published


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicPublication:
    """Topics of a layout before a publication. `published` are those of the newest snapshot, if it shows this layout."""

    topics: Sequence[Topic]
    edits: TopicEdits
    newest: SnapshotInfo | None
    published: Sequence[Topic]

    @property
    def names(self) -> TopicNames:
        """How each stored topic is published."""
        return TopicNames(ids=self._targets, names={topic.id: topic.name for topic in self.topics})

    @property
    def have_changed(self) -> bool:
        """Were names given or topics merged since the newest snapshot?"""
        return self.newest is not None and self.newest.manifest.get("topic_edits", 0) != self.edits.version

    @property
    def _targets(self) -> Mapping[int, int]:
        return {topic: self.edits.target(topic) for topic in self.edits.merged}

    def grown(self, added: RawSizes) -> RawSizes | None:
        """Sizes by topic, given what the next snapshot has more than the newest; None if that kept none."""
        if self.newest is None or "topic_sizes" not in self.newest.manifest:
            return None
        sizes = {topic: TopicSize(*size) for topic, *size in self.newest.manifest["topic_sizes"]}
        return {topic: sizes.get(topic, TopicSize()) + added.get(topic, TopicSize()) for topic in {*sizes, *added}}

    def body(self, raw: RawSizes, number: int) -> dict[str, Json]:
        """What snapshot `number` keeps of topics, given their sizes as stored."""
        topics = sized(numbered(self.topics, number), merged_sizes(raw, self._targets), self.published, number)
        return {
            "topics": [topic_to_json(topic) for topic in topics],
            "topic_sizes": [[topic, size.records, size.texts] for topic, size in raw.items()],
            "topic_totals": asdict(totals(raw)),
            "topic_edits": self.edits.version,
            "labels": [asdict(label) for label in labels_of(topics)],
        }


def open_topics(store: Store, dataset_id: int, layout_id: int, newest: SnapshotInfo | None) -> TopicPublication:
    """The topics of a layout that is to be published."""
    edits = store.topics.edits(dataset_id)
    raw: Sequence[Any] = newest.manifest.get("topics", []) if newest and newest.layout_id == layout_id else []
    published = [topic_from_json(one) for one in raw]
    topics = with_published(store.topics.of_layout(layout_id), published)
    merged = {topic: edits.target(topic) for topic in edits.merged}
    return TopicPublication(
        topics=with_edits(topics, edits.names, merged),
        edits=edits,
        newest=newest,
        published=published,
    )


def labels_of(topics: Sequence[Topic]) -> list[Label]:
    """The names of the topics as labels of the map: the coarsest level there is as level 0, larger topics first."""
    shown = [topic for topic in topics if topic.state == "active" and topic.size]
    levels = sorted({topic.level for topic in shown})
    labels = [
        Label(x=topic.x, y=topic.y, text=topic.name, level=levels.index(topic.level), priority=float(topic.size))
        for topic in shown
    ]
    return sorted(labels, key=lambda label: (label.level, -label.priority, label.text))
