"""Every invariant of store and output, checked: what `runatlas verify` says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import func, select

from components.contracts import in_batches, with_occurrence
from components.errors import NotFound, RunAtlasError
from components.snapshot.read import Check, check_snapshot, open_snapshot
from components.store import Store
from components.store.layouts import layout_t, position_t
from components.store.ledger import record_t
from components.store.publications import Row
from components.store.tables import RecordState
from components.store.vectors import f16, vector_t


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


@dataclass(slots=True)
class _Equals:
    """Stored records that are equal but for their occurrence: how many, the sum of their ids, and one of them."""

    seq: int
    count: int = 0
    ids: int = 0


def _foreign_ids(store: Store, dataset_id: int) -> str:
    """The ids of n equal records are those of occurrences 0 to n - 1, so each is computed once and only sums are kept."""
    repeated: dict[str, _Equals] = {}  # by the id of occurrence 0, which is not counted here
    for batch in store.records.stream(dataset_id, *RecordState):
        for stored in batch:
            first = with_occurrence(stored.record, 0).id
            if first != stored.record.id:
                equals = repeated.setdefault(first, _Equals(seq=stored.seq))
                equals.count += 1
                equals.ids += int(stored.record.id, 16)
    by_seq = {equals.seq: equals for equals in repeated.values()}
    for seqs in in_batches(by_seq, 1_000):
        for stored in store.records.by_seq(seqs):
            equals = by_seq[stored.seq]
            expected = (with_occurrence(stored.record, n).id for n in range(1, equals.count + 1))
            if sum(int(id, 16) for id in expected) != equals.ids:
                which = "was" if equals.count == 1 else f"or one of the {equals.count} records equal to it was"
                return f"record {stored.record.id} of {stored.record.filename} {which} changed after it was loaded"
    return ""


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
