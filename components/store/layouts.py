"""Layouts, and the position of each record in them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, CursorResult, Select, bindparam, delete, func, insert, select, update

from components.contracts import Positions, Vectors, in_batches
from components.errors import NotFound
from components.store.engine import Database, in_clause
from components.store.lease import Fence
from components.store.tables import LayoutRow, Position, RecordState, TopicRow, record_t
from components.store.vectors import f16, vector_t

layout_t = LayoutRow.__table__  # type: ignore[attr-defined]
position_t = Position.__table__  # type: ignore[attr-defined]
topic_t = TopicRow.__table__  # type: ignore[attr-defined]
fetched_rows = 10_000  # at once
NOT_LOOKED_FOR = -2  # in place of a topic


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutInfo:
    """Description of a layout, without its arrays."""

    id: int
    version: int
    model_id: int
    text_hash: str
    status: str
    n_fitted: int
    n_placed: int
    n_off_map: int
    displacement: float | None
    n_topics: int | None
    created_at: datetime

    @property
    def drift(self) -> float | None:
        """Share of the records placed since the fit that are off the map; None before the first one."""
        return self.n_off_map / self.n_placed if self.n_placed else None


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionRows:
    """Rows of the table: parallel arrays."""

    seqs: NDArray[np.int64]  # (n,)
    vector_ids: NDArray[np.int64]  # (n,)
    positions: Positions  # (n, 2)
    topics: NDArray[np.int64]  # (n,), NOT_LOOKED_FOR where none is stored


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedVectors:
    """Records on the published map, in the order of arrival: parallel arrays."""

    seqs: NDArray[np.int64]  # (n,)
    positions: Positions  # (n, 2)
    vectors: Vectors  # (n, dim)


@dataclass(frozen=True, slots=True, kw_only=True)
class MapVectors:
    """The distinct vectors on a map by ascending id: parallel arrays."""

    ids: NDArray[np.int64]  # (n,)
    positions: Positions  # (n, 2)
    topics: NDArray[np.int64]  # (n,), NOT_LOOKED_FOR where none is stored


class PlacedText(NamedTuple):
    """A distinct vector on a map: its topic, how many records have it, and the first of them."""

    vector_id: int
    topic: int
    records: int
    seq: int


class Layouts:
    """Per dataset: the current layout, one that is being built, and retired ones until they are dropped."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def current(self, dataset_id: int) -> LayoutInfo | None:
        """The layout of the published map, or None before the first index."""
        query = select(*_info_columns()).where(layout_t.c.dataset_id == dataset_id, layout_t.c.status == "current")
        with self.db.read() as connection:
            row = connection.execute(query).mappings().first()
        return LayoutInfo(**row) if row else None

    def get(self, layout_id: int) -> LayoutInfo:
        """A layout by its id, in whatever state. Raises `NotFound`."""
        with self.db.read() as connection:
            row = connection.execute(select(*_info_columns()).where(layout_t.c.id == layout_id)).mappings().first()
        if row is None:
            raise NotFound(f"Layout {layout_id} was dropped: the index that built it has ended.")
        return LayoutInfo(**row)

    def arrays(self, layout_id: int) -> dict[str, NDArray[Any]]:
        """The arrays that `add` stored."""
        with self.db.read() as connection:
            raw = connection.execute(select(layout_t.c.arrays).where(layout_t.c.id == layout_id)).scalar_one()
        with np.load(io.BytesIO(raw), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}

    def add(
        self,
        fence: Fence,
        dataset_id: int,
        *,
        model_id: int,
        text_hash: str,
        arrays: Mapping[str, NDArray[Any]],
        n_fitted: int,
        displacement: float | None,
        same_map: LayoutInfo | None = None,
    ) -> LayoutInfo:
        """A new layout that is being built; it takes over when a snapshot of it is committed.

        `same_map`: the layout whose positions it has, and whose counts of placed records.
        """
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        newest = select(func.coalesce(func.max(layout_t.c.version), 0)).where(layout_t.c.dataset_id == dataset_id)
        with fence.write() as connection:
            version = connection.execute(newest).scalar_one() + 1
            connection.execute(
                insert(layout_t).values(
                    dataset_id=dataset_id,
                    version=version,
                    model_id=model_id,
                    text_hash=text_hash,
                    status="building",
                    n_fitted=n_fitted,
                    n_placed=same_map.n_placed if same_map else 0,
                    n_off_map=same_map.n_off_map if same_map else 0,
                    displacement=displacement,
                    arrays=buffer.getvalue(),
                    created_at=datetime.now(UTC),
                )
            )
            query = select(*_info_columns()).where(layout_t.c.dataset_id == dataset_id, layout_t.c.version == version)
            return LayoutInfo(**connection.execute(query).mappings().one())

    def drop_unfinished(self, fence: Fence, dataset_id: int) -> None:
        """Remove what an interrupted fit left behind."""
        self._drop(fence, dataset_id, "building", keep_newest=0)

    def drop_retired(self, fence: Fence, dataset_id: int) -> None:
        """Remove old layouts and their positions, but for the one before the current."""
        self._drop(fence, dataset_id, "retired", keep_newest=1)

    def _drop(self, fence: Fence, dataset_id: int, status: str, *, keep_newest: int) -> None:
        query = (
            select(layout_t.c.id)
            .where(layout_t.c.dataset_id == dataset_id, layout_t.c.status == status)
            .order_by(layout_t.c.version.desc())
            .offset(keep_newest)
        )
        with self.db.read() as connection:
            ids = list(connection.execute(query).scalars())
        for layout_id in ids:
            with fence.write() as connection:
                connection.execute(delete(position_t).where(position_t.c.layout_id == layout_id))
                connection.execute(delete(topic_t).where(topic_t.c.layout_id == layout_id))
                if status == "building":  # the row of a retired one stays: old snapshots refer to it
                    connection.execute(delete(layout_t).where(layout_t.c.id == layout_id))
                else:
                    emptied = update(layout_t).where(layout_t.c.id == layout_id)
                    connection.execute(emptied.values(status="dropped", arrays=b""))

    # --- positions

    def put(self, fence: Fence, layout_id: int, placed: PositionRows, *, n_off_map: int, is_new: bool) -> None:
        """Store these positions; `is_new` counts them as placed since the fit."""
        rows = [
            {
                "layout_id": layout_id,
                "seq": seq,
                "vector_id": vector_id,
                "x": x,
                "y": y,
                "topic": None if topic == NOT_LOOKED_FOR else topic,
            }
            for seq, vector_id, (x, y), topic in zip(
                placed.seqs.tolist(),
                placed.vector_ids.tolist(),
                placed.positions.tolist(),
                placed.topics.tolist(),
                strict=True,
            )
        ]
        with fence.write() as connection:
            added = self.db.insert_new(connection, position_t, rows)
            if is_new and added:
                grown = update(layout_t).where(layout_t.c.id == layout_id)
                connection.execute(
                    grown.values(n_placed=layout_t.c.n_placed + added, n_off_map=layout_t.c.n_off_map + n_off_map)
                )

    def placed(self, layout_id: int, first_seq: int, last_seq: int) -> PositionRows:
        """The positions of the records in a range of the order of arrival."""
        query = (
            _select_positions()
            .where(position_t.c.layout_id == layout_id, position_t.c.seq.between(first_seq, last_seq))
            .order_by(position_t.c.seq)
        )
        types = (np.int64, np.int64, np.float32, np.float32, np.int64)
        with self.db.read() as connection:
            seqs, vector_ids, xs, ys, topics = _columns(connection.execute(query), types)
        return PositionRows(seqs=seqs, vector_ids=vector_ids, positions=np.column_stack([xs, ys]), topics=topics)

    def placed_at(self, layout_id: int, seqs: Sequence[int]) -> PositionRows:
        """The positions of these records, as far as they have one, in the order of arrival."""
        found: list[Any] = []
        with self.db.read() as connection:
            for chunk in in_batches(sorted(seqs), in_clause):
                mine = (position_t.c.layout_id == layout_id) & position_t.c.seq.in_(chunk)
                found += connection.execute(_select_positions().where(mine).order_by(position_t.c.seq)).all()
        rows = np.array([tuple(row) for row in found], np.float64).reshape(-1, 5)
        return PositionRows(
            seqs=rows[:, 0].astype(np.int64),
            vector_ids=rows[:, 1].astype(np.int64),
            positions=rows[:, 2:4].astype(np.float32),
            topics=rows[:, 4].astype(np.int64),
        )

    def on_map(self, dataset_id: int, seqs: Sequence[int], dim: int) -> PlacedVectors:
        """Positions and vectors of these records in the published map, as far as they are on it; in one query."""
        found: list[Any] = []
        with self.db.read() as connection:
            for chunk in in_batches(sorted(seqs), in_clause):
                found += connection.execute(_on_map(), {"dataset_id": dataset_id, "seqs": list(chunk)}).all()
        return PlacedVectors(
            seqs=np.array([seq for seq, *_ in found], np.int64),
            positions=np.array([(x, y) for _, x, y, _ in found], np.float32).reshape(-1, 2),
            vectors=np.frombuffer(b"".join(data for *_, data in found), f16).reshape(-1, dim).astype(np.float32),
        )

    def have_position(self, layout_id: int, seqs: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these records have a position, (n,)."""
        there: list[int] = []
        with self.db.read() as connection:
            for chunk in in_batches(seqs.tolist(), in_clause):
                query = select(position_t.c.seq).where(position_t.c.layout_id == layout_id, position_t.c.seq.in_(chunk))
                there += connection.execute(query).scalars()
        return np.isin(seqs, np.array(there, np.int64))

    def distinct(self, layout_id: int, dataset_id: int) -> MapVectors:
        """The distinct vectors on the map. Equal vectors share one position and one topic."""
        query = (
            select(
                position_t.c.vector_id,
                func.min(position_t.c.x),
                func.min(position_t.c.y),
                func.coalesce(func.min(position_t.c.topic), NOT_LOOKED_FOR),
            )
            .join(record_t, record_t.c.seq == position_t.c.seq)
            .where(
                position_t.c.layout_id == layout_id,
                record_t.c.dataset_id == dataset_id,
                record_t.c.state != RecordState.SUPERSEDED,
            )
            .group_by(position_t.c.vector_id)
            .order_by(position_t.c.vector_id)
        )
        with self.db.read() as connection:
            types = (np.int64, np.float32, np.float32, np.int64)
            ids, xs, ys, topics = _columns(connection.execute(query), types)
        return MapVectors(ids=ids, positions=np.column_stack([xs, ys]), topics=topics)

    def placed_texts(self, layout_id: int) -> Iterator[PlacedText]:
        """The distinct vectors of a layout with their topics, in no order."""
        query = (
            select(
                position_t.c.vector_id,
                func.coalesce(func.min(position_t.c.topic), NOT_LOOKED_FOR),
                func.count(),
                func.min(position_t.c.seq),
            )
            .where(position_t.c.layout_id == layout_id)
            .group_by(position_t.c.vector_id)
        )
        with self.db.read() as connection:
            for row in connection.execute(query):
                yield PlacedText(*row)

    def make_current(self, connection: Connection, dataset_id: int, layout_id: int) -> None:
        """Make a layout the current one, within the transaction that commits its first snapshot."""
        mine = update(layout_t).where(layout_t.c.dataset_id == dataset_id)
        connection.execute(
            mine.where(layout_t.c.status == "current", layout_t.c.id != layout_id).values(status="retired")
        )
        connection.execute(mine.where(layout_t.c.id == layout_id).values(status="current"))


@cache
def _on_map() -> Select[Any]:
    """Made once: that takes as long as to run it."""
    current = select(layout_t.c.id).where(
        layout_t.c.dataset_id == bindparam("dataset_id"), layout_t.c.status == "current"
    )
    return (
        select(position_t.c.seq, position_t.c.x, position_t.c.y, vector_t.c.data)
        .join(vector_t, vector_t.c.id == position_t.c.vector_id)
        .where(
            position_t.c.layout_id == current.scalar_subquery(),
            position_t.c.seq.in_(bindparam("seqs", expanding=True)),
        )
        .order_by(position_t.c.seq)
    )


def _select_positions() -> Select[Any]:
    topic = func.coalesce(position_t.c.topic, NOT_LOOKED_FOR)
    return select(position_t.c.seq, position_t.c.vector_id, position_t.c.x, position_t.c.y, topic)


def _info_columns() -> Sequence[Any]:
    return [layout_t.c[name] for name in LayoutInfo.__dataclass_fields__]


def _columns(result: CursorResult[Any], types: Sequence[Any]) -> list[NDArray[Any]]:
    """The columns of a result as arrays: a few bytes per row, where a list of rows takes hundreds."""
    parts = [
        [np.array(column, kind) for column, kind in zip(zip(*rows, strict=True), types, strict=True)]
        for rows in result.partitions(fetched_rows)
    ]
    return [np.concatenate([np.empty(0, kind), *(part[n] for part in parts)]) for n, kind in enumerate(types)]
