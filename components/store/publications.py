"""Batches, parts and snapshots: what is published; the files can be rebuilt from it at any time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson
from sqlalchemy import ColumnElement, Connection, Select, and_, case, delete, func, insert, select, update

from components.contracts import Home, Json, in_batches
from components.errors import StoreBusy
from components.store.engine import Database, in_clause
from components.store.layouts import position_t
from components.store.lease import Fence
from components.store.records import Stored, _stored, failure_t, record_columns
from components.store.tables import BatchRow, PartRow, RecordState, SnapshotRow, dataset_t, record_t

batch_t = BatchRow.__table__  # type: ignore[attr-defined]
part_t = PartRow.__table__  # type: ignore[attr-defined]
snapshot_t = SnapshotRow.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartInfo:
    """An output file: all records of `first_batch` to `last_batch`, in order of batch and arrival."""

    kind: str
    name: str
    first_batch: int
    last_batch: int
    rows: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A record on the map as it is published."""

    stored: Stored
    vector_id: int
    x: float
    y: float
    topic: int | None = None  # as stored: -1 for noise, None if none was looked for


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotInfo:
    """A committed snapshot; its files may still have to be finished."""

    no: int
    layout_id: int
    rows: int
    manifest: Json


class SeqRange(NamedTuple):
    """Written records: `rows` of them between two numbers in the order of arrival, both included."""

    first: int
    last: int
    rows: int


class Publications:
    """The published records of each dataset."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def newest(self, dataset_id: int) -> SnapshotInfo | None:
        """The snapshot that `current` should name, or None before the first one."""
        query = (
            select(snapshot_t.c.no, snapshot_t.c.layout_id, snapshot_t.c.rows, snapshot_t.c.manifest)
            .where(snapshot_t.c.dataset_id == dataset_id)
            .order_by(snapshot_t.c.no.desc())
            .limit(1)
        )
        with self.db.read() as connection:
            row = connection.execute(query).first()
        return SnapshotInfo(no=row[0], layout_id=row[1], rows=row[2], manifest=orjson.loads(row[3])) if row else None

    def manifest(self, dataset_id: int, number: int) -> Json | None:
        """What is kept of a snapshot, None for one that is not remembered."""
        query = select(snapshot_t.c.manifest).where(snapshot_t.c.dataset_id == dataset_id, snapshot_t.c.no == number)
        with self.db.read() as connection:
            raw = connection.execute(query).scalar()
        return None if raw is None else orjson.loads(raw)

    def parts(self, dataset_id: int, kind: str) -> list[PartInfo]:
        """The parts of the newest snapshot, by batch."""
        columns = [part_t.c[name] for name in PartInfo.__dataclass_fields__]
        query = (
            select(*columns)
            .where(part_t.c.dataset_id == dataset_id, part_t.c.kind == kind)
            .order_by(part_t.c.first_batch, part_t.c.name)
        )
        with self.db.read() as connection:
            return [PartInfo(**row) for row in connection.execute(query).mappings()]

    def next_batch(self, dataset_id: int) -> int:
        """The number that the next publication of new records gets."""
        query = select(func.coalesce(func.max(batch_t.c.no), 0)).where(batch_t.c.dataset_id == dataset_id)
        with self.db.read() as connection:
            return int(connection.execute(query).scalar_one()) + 1

    def rows_by_batch(self, dataset_id: int) -> dict[int, int]:
        """Batch -> how many records of it are on the map now."""
        query = (
            select(record_t.c.batch, func.count())
            .where(record_t.c.dataset_id == dataset_id, record_t.c.state == RecordState.INDEXED)
            .group_by(record_t.c.batch)
        )
        with self.db.read() as connection:
            return dict(connection.execute(query).tuples().all())

    def superseded(self, dataset_id: int) -> list[int]:
        """The superseded records that are still in published parts, in order of arrival."""
        query = select(record_t.c.seq).where(_to_leave(dataset_id)).order_by(record_t.c.seq)
        with self.db.read() as connection:
            return list(connection.execute(query).scalars())

    def waiting_rows(self, dataset_id: int, layout_id: int, size: int = 5_000) -> Iterator[list[Row]]:
        """The waiting records that have a position, in order of arrival."""
        return self._rows(
            _select_rows(layout_id).where(record_t.c.dataset_id == dataset_id, record_t.c.state == RecordState.WAITING),
            size,
        )

    def batch_rows(
        self, dataset_id: int, layout_id: int, first_batch: int, last_batch: int, size: int = 5_000
    ) -> Iterator[list[Row]]:
        """The published records of these batches, in order of batch and arrival."""
        for batch in range(first_batch, last_batch + 1):
            yield from self._rows(
                _select_rows(layout_id).where(
                    record_t.c.dataset_id == dataset_id,
                    record_t.c.state == RecordState.INDEXED,
                    record_t.c.batch == batch,
                ),
                size,
            )

    def _rows(self, query: Select[Any], size: int) -> Iterator[list[Row]]:
        last = -1
        while True:
            with self.db.read() as connection:
                found = connection.execute(
                    query.where(record_t.c.seq > last).order_by(record_t.c.seq).limit(size)
                ).all()
            if not found:
                return
            yield [Row(stored=_stored(row[4:]), vector_id=row[0], x=row[1], y=row[2], topic=row[3]) for row in found]
            last = found[-1][4]

    # --- which home keeps the output

    def home(self, dataset_id: int) -> Home | None:
        """The home that keeps the dataset's output, None while no home does."""
        query = select(dataset_t.c.home_id, dataset_t.c.home_place).where(dataset_t.c.id == dataset_id)
        with self.db.read() as connection:
            id, place = connection.execute(query).one()
        return Home(id=id, place=place) if id else None

    def keep_at(self, fence: Fence, dataset_id: int, home: Home) -> None:
        """Record that this home keeps the output from now on."""
        with fence.write() as connection:
            mine = update(dataset_t).where(dataset_t.c.id == dataset_id)
            connection.execute(mine.values(home_id=home.id, home_place=home.place))

    # --- within the one transaction that commits a snapshot

    def commit_batch(
        self,
        connection: Connection,
        dataset_id: int,
        *,
        no: int,
        ranges: Sequence[SeqRange],
        layout_id: int,
    ) -> None:
        """Mark the written records as indexed in batch `no`.

        Raises `StoreBusy` if a load changed one of them since they were read: then the files are written again.
        """
        for first, last, rows in ranges:
            placed = select(position_t.c.seq).where(
                position_t.c.layout_id == layout_id, position_t.c.seq.between(first, last)
            )
            marked = connection.execute(
                update(record_t)
                .where(
                    record_t.c.dataset_id == dataset_id,
                    record_t.c.state == RecordState.WAITING,
                    record_t.c.seq.between(first, last),
                    record_t.c.seq.in_(placed),
                )
                .values(state=RecordState.INDEXED, batch=no)
            )
            if marked.rowcount != rows:
                raise StoreBusy("A load superseded records while they were being published; publish again.")
        total = sum(rows for _, _, rows in ranges)
        connection.execute(
            insert(batch_t).values(dataset_id=dataset_id, no=no, rows=total, created_at=datetime.now(UTC))
        )

    def leave(self, connection: Connection, seqs: Sequence[int]) -> None:
        """Record that these superseded records are in no part any more. Raises `StoreBusy` if one was restored."""
        for chunk in in_batches(seqs, in_clause):
            gone = update(record_t).where(record_t.c.seq.in_(chunk), record_t.c.state == RecordState.SUPERSEDED)
            if connection.execute(gone.values(batch=None)).rowcount != len(chunk):
                raise StoreBusy(
                    "A load restored superseded records while they were being removed from the output; publish again."
                )

    def remove_unplaced(self, connection: Connection, dataset_id: int, layout_id: int) -> None:
        """Take records off the map that have no position in the new layout: their new text failed, or they came back."""
        is_placed = select(position_t.c.seq).where(
            position_t.c.layout_id == layout_id, position_t.c.seq == record_t.c.seq
        )
        has_failed = select(failure_t.c.seq).where(failure_t.c.seq == record_t.c.seq)
        state = case((has_failed.exists(), int(RecordState.FAILED)), else_=int(RecordState.WAITING))
        mine = (record_t.c.dataset_id == dataset_id) & (record_t.c.state == RecordState.INDEXED)
        connection.execute(update(record_t).where(mine, ~is_placed.exists()).values(state=state, batch=None))

    def expect_rows(self, connection: Connection, dataset_id: int, rows: int) -> None:
        """Raises `StoreBusy` unless the parts' `rows` are the records on the map and those that leave next time."""
        on_map = (record_t.c.dataset_id == dataset_id) & (record_t.c.state == RecordState.INDEXED)
        query = select(func.count()).select_from(record_t)
        found = sum(connection.execute(query.where(which)).scalar_one() for which in (on_map, _to_leave(dataset_id)))
        if found != rows:
            raise StoreBusy("A load superseded records while parts were being written; publish again.")

    def replace_parts(self, connection: Connection, dataset_id: int, parts: Sequence[PartInfo]) -> None:
        """Make these the parts of the output."""
        for kind in ("logs", "embeddings"):
            names = [part.name for part in parts if part.kind == kind]
            mine = (part_t.c.dataset_id == dataset_id) & (part_t.c.kind == kind)
            connection.execute(delete(part_t).where(mine, part_t.c.name.not_in(names)))
        rows = [{"dataset_id": dataset_id, **_fields(part)} for part in parts]
        self.db.insert_new(connection, part_t, rows)

    def commit_snapshot(
        self,
        connection: Connection,
        dataset_id: int,
        *,
        no: int,
        layout_id: int,
        rows: int,
        manifest: Mapping[str, Json],
    ) -> None:
        """Add the snapshot that the output should show next."""
        raw = orjson.dumps(manifest).decode()
        connection.execute(
            insert(snapshot_t).values(
                dataset_id=dataset_id, no=no, layout_id=layout_id, rows=rows, manifest=raw, created_at=datetime.now(UTC)
            )
        )
        # manifests of snapshots that were removed long ago are not needed
        connection.execute(delete(snapshot_t).where(snapshot_t.c.dataset_id == dataset_id, snapshot_t.c.no <= no - 100))


def _to_leave(dataset_id: int) -> ColumnElement[bool]:
    """Superseded, yet still in a published part."""
    return and_(
        record_t.c.dataset_id == dataset_id,
        record_t.c.state == RecordState.SUPERSEDED,
        record_t.c.batch.is_not(None),
    )


def _fields(part: PartInfo) -> dict[str, Any]:
    return {name: getattr(part, name) for name in PartInfo.__dataclass_fields__}


def _select_rows(layout_id: int) -> Select[Any]:
    columns = [record_t.c[name] for name in record_columns]
    position = (position_t.c.vector_id, position_t.c.x, position_t.c.y, position_t.c.topic)
    return select(*position, record_t.c.seq, *columns).join(
        position_t, (position_t.c.seq == record_t.c.seq) & (position_t.c.layout_id == layout_id)
    )
