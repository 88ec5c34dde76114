"""Rows to Arrow tables: the columns of the published records, vectors and region names."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from components.arrow import lists, numbers, strings, times
from components.contracts import NO_TOPIC, NO_TOPIC_LABEL, Json, Topic, TopicEvent
from components.snapshot.manifest import Label, labels_schema, topics_schema
from components.snapshot.parts import TIMESTAMP, TOPIC_COLUMNS, Extras, embeddings_schema, logs_schema
from components.store.publications import Row

_arrow_types = {"string": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtraColumn:
    """A declared column of the output, filled from the key of that name in each record's `extra`."""

    name: str
    type: str

    def array(self, values: Sequence[Json]) -> pa.Array:
        """The values as the column's type, null where one can't be converted."""
        converted = [_converted(value, self.type) for value in values]
        return strings(converted) if self.type == "string" else pa.array(converted, _arrow_types[self.type])


def extra_columns(specs: Sequence[str]) -> list[ExtraColumn]:
    """The columns that a dataset declares, each as `key` or `key:type`; a type that is not known is `string`.

    >>> extra_columns(["cost:float"])
    [ExtraColumn(name='cost', type='float')]
    """
    pairs = [spec.partition(":") for spec in specs]
    return [ExtraColumn(name=key, type=type if type in _arrow_types else "string") for key, _, type in pairs]


def arrow_fields(extras: Sequence[ExtraColumn]) -> Extras:
    """Names and Arrow types of the declared columns, and of those of the topics."""
    return [*((extra.name, _arrow_types[extra.type]) for extra in extras), *TOPIC_COLUMNS]


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicNames:
    """Id and name by which each stored topic is published: those of the topic that it is part of."""

    ids: Mapping[int, int] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)

    def of(self, topic: int | None) -> tuple[int, str]:
        """-1 and "no topic" for a record that has none."""
        if topic is None or topic == NO_TOPIC:
            return NO_TOPIC, NO_TOPIC_LABEL
        id = self.ids.get(topic, topic)
        return id, self.names.get(id, "")


def logs_table(rows: Sequence[Row], extras: Sequence[ExtraColumn] = (), topics: TopicNames = TopicNames()) -> pa.Table:
    """Records, their positions and topics, in the columns of the logs output."""
    records = [row.stored.record for row in rows]
    table: dict[str, pa.Array] = {
        "id": strings([r.id for r in records]),
        "timestamp": times([r.timestamp for r in records], TIMESTAMP),
        "filename": strings([r.filename for r in records]),
        "text": strings([r.text for r in records]),
        "iteration": numbers(np.array([r.iteration for r in records], np.int32), pa.int32()),
        "idx_in_iteration": numbers(np.array([r.idx_in_iteration for r in records], np.int32), pa.int32()),
        "type": strings([r.type for r in records]),
        "projection_x": numbers(np.array([row.x for row in rows], np.float32), pa.float32()),
        "projection_y": numbers(np.array([row.y for row in rows], np.float32), pa.float32()),
    }
    for extra in extras:
        table[extra.name] = extra.array([r.extra.get(extra.name) for r in records])
    named = [topics.of(row.topic) for row in rows]
    table["topic"] = numbers(np.array([id for id, _ in named], np.int32), pa.int32())
    table["topic_label"] = strings([name for _, name in named])
    return pa.table(table, schema=logs_schema(arrow_fields(extras)))


def embeddings_table(ids: Sequence[str], vectors: NDArray[np.float16]) -> pa.Table:
    """Ids and (n, dim) float16 vectors, as lists of float32; the widening is the one copy."""
    n, dim = vectors.shape
    offsets = np.arange(n + 1, dtype=np.int32) * np.int32(dim)
    schema = embeddings_schema()
    column = lists(vectors.astype(np.float32).reshape(-1), offsets, schema.field("vector").type)
    return pa.Table.from_arrays([strings(ids), column], schema=schema)


def labels_table(labels: Sequence[Label]) -> pa.Table:
    """The rows of `labels.parquet`."""
    texts = strings([label.text for label in labels])
    x, y, priority = (
        numbers(np.array([getattr(label, name) for label in labels], np.float64), pa.float64())
        for name in ("x", "y", "priority")
    )
    level = numbers(np.array([label.level for label in labels], np.int32), pa.int32())
    return pa.Table.from_arrays([x, y, texts, texts, level, priority], schema=labels_schema())


def _converted(value: Json, type: str) -> Any:
    """The value as a column's type, or None where it can't be converted."""
    if value is None:
        return None
    if type == "string":
        return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
    if type == "bool":
        return value if isinstance(value, bool) else None
    try:
        number = int(value) if type == "int" else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    is_storable = -(2**63) <= number < 2**63 if type == "int" else math.isfinite(number)
    return number if is_storable else None


def topics_table(topics: Sequence[Topic]) -> pa.Table:
    """The rows of `topics.parquet`."""
    schema = topics_schema()
    columns: dict[str, pa.Array] = {}
    for name in ("id", "parent", "level", "born", "last_seen"):
        columns[name] = numbers(np.array([getattr(topic, name) for topic in topics], np.int32), pa.int32())
    for name in ("name", "description", "name_source", "state"):
        columns[name] = strings([getattr(topic, name) for topic in topics])
    for name in ("size", "texts"):
        columns[name] = numbers(np.array([getattr(topic, name) for topic in topics], np.int64), pa.int64())
    columns["examples"] = _list_column([topic.examples for topic in topics], strings)
    columns["lineage"] = _list_column([topic.lineage for topic in topics], _events)
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)


def _list_column(values: Sequence[Sequence[Any]], array: Callable[[Sequence[Any]], pa.Array]) -> pa.Array:
    """A column of lists, the elements of all of them made by `array`."""
    offsets = numbers(np.cumsum([0, *map(len, values)], dtype=np.int32), pa.int32())
    return pa.ListArray.from_arrays(offsets, array([one for each in values for one in each]))


def _events(events: Sequence[TopicEvent]) -> pa.Array:
    snapshots, others = (
        numbers(np.array([getattr(event, name) for event in events], np.int32), pa.int32())
        for name in ("snapshot", "other")
    )
    names = strings([event.event for event in events])
    return pa.StructArray.from_arrays([names, snapshots, others], names=["event", "snapshot", "other"])
