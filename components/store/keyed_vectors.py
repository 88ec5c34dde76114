"""Vectors of records with a key: where each comes from, and all of a dataset's map in order of arrival."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Select, select

from components.store.engine import Database
from components.store.layouts import layout_t, position_t
from components.store.tables import Model, RecordState, record_t
from components.store.vectors import vector_t

model_t = Model.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorOrigin:
    """What a vector was made by and from: the model's identity, its dimension, the digest of the prepared text."""

    model: str
    dim: int
    digest: bytes


class KeyedVector(NamedTuple):
    """A record on the map: its key, its file, what was kept beside its text, the digest of its prepared text, its vector.

    `data` are the bytes of float16 values; empty where they were not asked for.
    """

    key: str
    filename: str
    extra: dict[str, Any]
    digest: bytes
    data: bytes


class KeyedVectors:
    """Reads only."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def origin(self, dataset_id: int, seq: int) -> VectorOrigin | None:
        """Where the vector of a record comes from; None if the record is not on the map."""
        query = _on_map(
            select(model_t.c.identity, model_t.c.dim, vector_t.c.digest), dataset_id, RecordState.INDEXED
        ).where(record_t.c.seq == seq)
        with self.db.read() as connection:
            found = connection.execute(query.join(model_t, model_t.c.id == vector_t.c.model_id)).first()
        return VectorOrigin(model=found[0], dim=found[1], digest=bytes(found[2])) if found else None

    def stream(
        self, dataset_id: int, *, filenames: Sequence[str] | None = None, with_data: bool = False, size: int = 5_000
    ) -> Iterator[list[KeyedVector]]:
        """Batches of the current records on the map that have a key, in order of arrival; of these files, if given."""
        data = [vector_t.c.data] if with_data else []
        columns = [position_t.c.seq, record_t.c.key, record_t.c.filename, record_t.c.extra, vector_t.c.digest, *data]
        query = _on_map(select(*columns), dataset_id, RecordState.INDEXED).where(record_t.c.key.is_not(None))
        if filenames is not None:
            query = query.where(record_t.c.filename.in_(filenames))
        last = -1
        while True:
            page = query.where(position_t.c.seq > last).order_by(position_t.c.seq).limit(size)
            with self.db.read() as connection:
                rows = connection.execute(page).all()
            if not rows:
                return
            yield [
                KeyedVector(key, filename, orjson.loads(extra), bytes(digest), bytes(rest[0]) if rest else b"")
                for _, key, filename, extra, digest, *rest in rows
            ]
            last = rows[-1][0]


def _on_map(query: Select[Any], dataset_id: int, state: RecordState) -> Select[Any]:
    """The records of the published layout, each with its vector."""
    layout = select(layout_t.c.id).where(layout_t.c.dataset_id == dataset_id, layout_t.c.status == "current")
    return (
        query.select_from(position_t)
        .join(record_t, record_t.c.seq == position_t.c.seq)
        .join(vector_t, vector_t.c.id == position_t.c.vector_id)
        .where(position_t.c.layout_id == layout.scalar_subquery(), record_t.c.state == int(state))
    )
