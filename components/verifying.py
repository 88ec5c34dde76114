"""Every invariant of store and output, checked: what `runatlas verify` says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import func, select

from components.contracts import Record, in_batches, record_id
from components.errors import NotFound, RunAtlasError
from components.snapshots import Check, check_snapshot, open_snapshot
from components.sources.escapes import spellings
from components.store import Store
from components.store.layouts import layout_t, position_t
from components.store.ledger import record_t
from components.store.publications import Row
from components.store.tables import RecordState
from components.store.vectors import f16, vector_t

max_occurrences = 100_000  # of one and the same record in one source


def verify_dataset(store: Store, dataset: str, dataset_id: int, output: Path) -> list[Check]:
    """All checks of one dataset; none of them writes, none raises on damage."""
    checks: list[tuple[str, Callable[[], str]]] = [
        ("the database is sound", lambda: _unsound(store)),
        ("every record's id follows from its content", lambda: _foreign_ids(store, dataset_id)),
        ("every record on the map has a place and a vector", lambda: _without_place(store, dataset_id)),
        ("vectors are finite and of unit length", lambda: _bad_vectors(store)),
        ("the newest snapshot is published", lambda: _unpublished(store, dataset_id, output)),
        ("the output holds just the records on the map, where they lie", lambda: _astray(store, dataset_id, output)),
    ]
    done = [_checked(name, check) for name, check in checks]
    if store.publications.newest(dataset_id) is None:
        return done
    try:
        return [*done, *check_snapshot(open_snapshot(output).path)]
    except (NotFound, OSError, ValueError, KeyError, TypeError) as error:
        detail = f"{error}; `runatlas publish` makes it anew"
        return [*done, Check(name=f'dataset "{dataset}" has a snapshot', ok=False, detail=detail)]


def _checked(name: str, check: Callable[[], str]) -> Check:
    try:
        detail = check()
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException, RunAtlasError) as error:
        detail = f"can't be read: {error!r}"
    return Check(name=name, ok=not detail, detail=detail)


def _unsound(store: Store) -> str:
    if store.db.dialect != "sqlite":
        return ""
    with store.db.read() as connection:
        found = [
            *connection.exec_driver_sql("pragma quick_check"),
            *connection.exec_driver_sql("pragma foreign_key_check"),
        ]
    return "; ".join(str(tuple(row)) for row in found[:3] if row[0] != "ok")


def _foreign_ids(store: Store, dataset_id: int) -> str:
    for batch in store.records.stream(dataset_id, *RecordState):
        for stored in batch:
            if not _follows(stored.record):
                return f"record {stored.record.id} of {stored.record.filename} was changed after it was loaded"
    return ""


def _follows(record: Record) -> bool:
    fields = {name: getattr(record, name) for name in ("filename", "iteration", "idx_in_iteration", "type")}
    written = list(spellings(record.text))
    return any(
        record_id(**fields, text=text, occurrence=n) == record.id for n in range(max_occurrences) for text in written
    )


def _without_place(store: Store, dataset_id: int) -> str:
    layout = store.layouts.current(dataset_id)
    n_indexed = store.records.count(dataset_id, RecordState.INDEXED)
    if layout is None:
        return f"{n_indexed} records are marked as indexed, but there is no map" if n_indexed else ""
    joined = (
        select(func.count())
        .select_from(record_t)
        .join(position_t, (position_t.c.seq == record_t.c.seq) & (position_t.c.layout_id == layout.id))
        .join(vector_t, vector_t.c.id == position_t.c.vector_id)
        .where(record_t.c.dataset_id == dataset_id, record_t.c.state == RecordState.INDEXED)
    )
    several = select(func.count()).where(layout_t.c.dataset_id == dataset_id, layout_t.c.status == "current")
    with store.db.read() as connection:
        complete = connection.execute(joined).scalar_one()
        maps = connection.execute(several).scalar_one()
    if maps != 1:
        return f"{maps} layouts are current"
    return "" if complete == n_indexed else f"{n_indexed - complete} of {n_indexed} records have none"


def _bad_vectors(store: Store) -> str:
    last = -1
    while True:
        query = select(vector_t.c.id, vector_t.c.data).where(vector_t.c.id > last).order_by(vector_t.c.id).limit(5_000)
        with store.db.read() as connection:
            rows = connection.execute(query).all()
        if not rows:
            return ""
        for id, data in rows:
            length = float(np.linalg.norm(np.frombuffer(data, f16).astype(np.float32)))
            if not abs(length - 1) < 5e-3:
                return f"vector {id} has length {length}"
        last = rows[-1][0]


def _unpublished(store: Store, dataset_id: int, output: Path) -> str:
    newest = store.publications.newest(dataset_id)
    try:
        number = open_snapshot(output).manifest.snapshot
    except (NotFound, OSError, ValueError, KeyError, TypeError):
        number = None
    expected = newest.no if newest else None
    if number == expected:
        return ""
    return f"the database says {expected}, the folder {number}; `runatlas publish` finishes it"


def _astray(store: Store, dataset_id: int, output: Path) -> str:
    newest = store.publications.newest(dataset_id)
    if newest is None:
        return ""
    try:
        files = open_snapshot(output).logs_files
    except NotFound as error:
        return str(error)
    columns = ["id", "projection_x", "projection_y"]
    published: dict[str, tuple[float, float]] = {}
    for path in files:
        table = pq.read_table(path, columns=columns)
        xs, ys = table["projection_x"].to_pylist(), table["projection_y"].to_pylist()
        published.update(zip(table["id"].to_pylist(), zip(xs, ys, strict=True), strict=True))
    for row in _rows_on_map(store, dataset_id, newest.layout_id):
        place = published.pop(row.stored.record.id, None)
        if place is None:
            return f"record {row.stored.record.id} is not in the output"
        if place != (float(np.float32(row.x)), float(np.float32(row.y))):
            return f"record {row.stored.record.id} lies at {place} in the output, at {(row.x, row.y)} in the database"
    for chunk in in_batches(store.publications.superseded(dataset_id), 5_000):
        for stored in store.records.by_seq(chunk):
            published.pop(stored.record.id, None)  # it leaves the next snapshot
    if not published:
        return ""
    return f"{len(published)} records of the output are not on the map, such as {next(iter(published))}"


def _rows_on_map(store: Store, dataset_id: int, layout_id: int) -> Iterator[Row]:
    batches = store.publications.rows_by_batch(dataset_id)
    if batches:
        for rows in store.publications.batch_rows(dataset_id, layout_id, min(batches), max(batches)):
            yield from rows
