"""Topics of each layout, what people say about them, and how many records they have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
from sqlalchemy import Connection, RowMapping, distinct, func, insert, select, update

from components.contracts import Topic, TopicEvent, TopicSize, in_batches
from components.store.engine import Database, in_clause
from components.store.layouts import layout_t, position_t
from components.store.lease import Fence
from components.store.tables import RecordState, TopicEdit, TopicRow, record_t
from components.store.values import to_json
from components.store.vectors import f16, vector_t

topic_t = TopicRow.__table__  # type: ignore[attr-defined]
edit_t = TopicEdit.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicEdits:
    """What people decided about topics, by id: names, and topics that are part of another one.

    `version` grows with every edit.
    """

    version: int
    names: Mapping[int, str]
    merged: Mapping[int, int]

    def target(self, topic: int) -> int:
        """The topic that this one is part of; itself unless it was merged."""
        seen = {topic}
        while topic in self.merged and self.merged[topic] not in seen:
            topic = self.merged[topic]
            seen.add(topic)
        return topic


class Topics:
    """The topics of all layouts."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def of_layout(self, layout_id: int) -> list[Topic]:
        """All topics and groups of a layout by id as a fit made them, without sizes and edits."""
        query = select(topic_t).where(topic_t.c.layout_id == layout_id).order_by(topic_t.c.id)
        with self.db.read() as connection:
            return [_topic(row) for row in connection.execute(query).mappings()]

    def put(self, fence: Fence, layout_id: int, topics: Sequence[Topic]) -> None:
        """Store the topics of a layout that is being built."""
        with fence.write() as connection:
            if topics:
                connection.execute(insert(topic_t), [_row(layout_id, topic) for topic in topics])
            n_active = sum(topic.state == "active" for topic in topics)
            connection.execute(update(layout_t).where(layout_t.c.id == layout_id).values(n_topics=n_active))

    def name(self, fence: Fence, layout_id: int, topics: Sequence[Topic]) -> None:
        """Store the names, descriptions and examples of topics."""
        columns = ("name", "description", "name_source", "named_rows")
        with fence.write() as connection:
            for topic in topics:
                mine = (topic_t.c.layout_id == layout_id) & (topic_t.c.id == topic.id)
                values = {key: getattr(topic, key) for key in columns} | {"examples": to_json(list(topic.examples))}
                connection.execute(update(topic_t).where(mine).values(values))

    def sizes(self, connection: Connection, layout_id: int, dataset_id: int) -> dict[int | None, TopicSize]:
        """Topic -> records on the map and their texts, as stored; None for records whose topic was not looked for."""
        query = (
            select(position_t.c.topic, func.count(), func.count(distinct(position_t.c.vector_id)))
            .join(record_t, record_t.c.seq == position_t.c.seq)
            .where(
                position_t.c.layout_id == layout_id,
                record_t.c.dataset_id == dataset_id,
                record_t.c.state == RecordState.INDEXED,
            )
            .group_by(position_t.c.topic)
        )
        return {topic: TopicSize(records, texts) for topic, records, texts in connection.execute(query)}

    def published_vectors(self, connection: Connection, layout_id: int, vector_ids: Iterable[int]) -> set[int]:
        """Those of the vectors that a record which is published in this layout has."""
        holder = (
            select(position_t.c.seq)
            .join(record_t, record_t.c.seq == position_t.c.seq)
            .where(
                position_t.c.layout_id == layout_id,
                position_t.c.vector_id == vector_t.c.id,
                record_t.c.state == RecordState.INDEXED,
            )
        )
        found: set[int] = set()
        for chunk in in_batches(vector_ids, in_clause):
            query = select(vector_t.c.id).where(vector_t.c.id.in_(chunk), holder.exists())
            found.update(connection.execute(query).scalars())
        return found

    # --- what people decide

    def edits(self, dataset_id: int) -> TopicEdits:
        """All edits of a dataset's topics."""
        query = select(edit_t).where(edit_t.c.dataset_id == dataset_id).order_by(edit_t.c.id)
        with self.db.read() as connection:
            rows = connection.execute(query).all()
        return TopicEdits(
            version=max((row.id for row in rows), default=0),
            names={row.topic: row.name for row in rows if row.name},
            merged={row.topic: row.merged_into for row in rows if row.merged_into is not None},
        )

    def rename(self, dataset_id: int, topic: int, name: str) -> None:
        """Give a topic a name that it keeps."""
        self._edit(dataset_id, topic, name=name)

    def merge(self, dataset_id: int, topic: int, into: int) -> None:
        """Make a topic part of another one, now and after every refit."""
        self._edit(dataset_id, topic, merged_into=into)

    def _edit(self, dataset_id: int, topic: int, **values: Any) -> None:
        row = {"dataset_id": dataset_id, "topic": topic, "created_at": datetime.now(UTC), **values}
        with self.db.write() as connection:
            connection.execute(insert(edit_t).values(row))


def topic_from_json(raw: Mapping[str, Any]) -> Topic:
    """The topic of which `topic_to_json` made this."""
    return Topic(**{**raw, "lineage": [TopicEvent(**event) for event in raw["lineage"]]})


def topic_to_json(topic: Topic) -> dict[str, Any]:
    """The topic as JSON, without what only a refit needs."""
    hidden = {"centroid", "members", "named_rows"}
    return {key: value for key, value in asdict(topic).items() if key not in hidden}


def _topic(row: RowMapping) -> Topic:
    plain = {key: row[key] for key in ("id", "parent", "level", "name", "description", "name_source", "named_rows")}
    return Topic(
        **plain,
        state=row["state"],
        born=row["born"],
        lineage=[TopicEvent(**event) for event in orjson.loads(row["lineage"])],
        examples=orjson.loads(row["examples"]),
        members=orjson.loads(row["members"]),
        x=row["x"],
        y=row["y"],
        centroid=np.frombuffer(row["centroid"], f16).astype(np.float32),
    )


def _row(layout_id: int, topic: Topic) -> dict[str, Any]:
    plain = ("id", "parent", "level", "name", "description", "name_source", "named_rows", "state", "born", "x", "y")
    return {
        "layout_id": layout_id,
        **{key: getattr(topic, key) for key in plain},
        "lineage": to_json([asdict(event) for event in topic.lineage]),
        "examples": to_json(list(topic.examples)),
        "members": to_json(list(topic.members)),
        "centroid": topic.centroid.astype(f16).tobytes(),
    }
