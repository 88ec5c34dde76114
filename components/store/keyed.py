"""Records with a key of their own: each key names one current record, and other content makes a new version of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update

from components.contracts import Record, in_batches
from components.store.engine import Database, in_clause
from components.store.tables import RecordState, dataset_t, record_t
from components.store.values import to_json


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPlace:
    """Where records are written: their dataset, and the reading of a source that they come from."""

    dataset_id: int
    source_id: int
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How many records were new, existed already, and were superseded by newer versions."""

    new: int = 0
    existing: int = 0
    superseded: int = 0


@dataclass(slots=True, kw_only=True)
class _Version:
    """A version of a record: stored (`seq`), or to be inserted (`row`)."""

    source_id: int
    number: int
    state: int
    is_published: bool = False  # it is in a part of the output
    seq: int | None = None
    row: dict[str, Any] | None = None
    stored_as: int = -1  # the state that the database has


@dataclass(slots=True)
class _Known:
    """What is known of the keys of a batch while its records are taken one by one."""

    by_id: dict[str, _Version]
    current: dict[str, str]  # key -> id of its current version
    newest: dict[str, int]  # key -> highest version number so far
    revived: dict[str, Record] = field(default_factory=dict)  # id -> as it was read now
    met: set[str] = field(default_factory=set)  # ids


def write_keyed(connection: Connection, db: Database, place: RecordPlace, records: Sequence[Record]) -> Kept:
    """Write records that have a key, in their order, within the caller's transaction.

    Content that a key has already is no news. Other content becomes the current version; what was current is superseded,
    and leaves the output with the next index. Content that an earlier version had comes back only from the source of the
    current version: an older file that is read again does not undo what a newer one says.
    """
    if not records:
        return Kept()
    _lock(connection, db, place.dataset_id)
    known = _known(connection, place.dataset_id, records)
    last = {record.key: n for n, record in enumerate(records)}
    new = existing = superseded = 0
    for n, record in enumerate(records):
        old = known.by_id.get(record.id)
        current_id = known.current.get(record.key)
        current = known.by_id[current_id] if current_id else None
        if old is not None and (old is current or not _comes_back(current, place, is_last=last[record.key] == n)):
            existing += 1
            if old.source_id == place.source_id:
                known.met.add(record.id)
            continue
        if current is not None:
            current.state = RecordState.SUPERSEDED
            superseded += 1
        new, existing = (new + 1, existing) if old is None else (new, existing + 1)
        _make_current(known, place, record, old)
    _write(connection, db, place, known)
    return Kept(new=new, existing=existing, superseded=superseded)


def _comes_back(current: _Version | None, place: RecordPlace, *, is_last: bool) -> bool:
    """May content of an earlier version become current again?"""
    return current is None or (is_last and current.source_id == place.source_id)


def _make_current(known: _Known, place: RecordPlace, record: Record, old: _Version | None) -> None:
    number = known.newest.get(record.key, 0) + 1
    if old is None:
        row = record_row(record, place)
        old = _Version(source_id=place.source_id, number=number, state=RecordState.WAITING, row=row)
        known.by_id[record.id] = old
    else:
        old.source_id, old.number = place.source_id, number
        old.state = RecordState.INDEXED if old.is_published else RecordState.WAITING
        known.revived[record.id] = record
    known.newest[record.key] = number
    known.current[record.key] = record.id


def _lock(connection: Connection, db: Database, dataset_id: int) -> None:
    """Of two loads that write the same keys, one waits for the other. SQLite has one writer anyway."""
    if db.dialect != "sqlite":
        mine = select(dataset_t.c.id).where(dataset_t.c.id == dataset_id)
        connection.execute(mine.with_for_update(key_share=True))


def _known(connection: Connection, dataset_id: int, records: Sequence[Record]) -> _Known:
    """The current versions of the records' keys, and those versions that have the same content."""
    columns = [record_t.c[name] for name in ("id", "key", "version", "state", "batch", "source_id", "seq")]
    ours = record_t.c.dataset_id == dataset_id
    rows: list[Any] = []
    newest: dict[str, int] = {}
    for keys in in_batches(dict.fromkeys(record.key for record in records), in_clause):
        of_keys = ours & record_t.c.key.in_(keys)
        numbers = select(record_t.c.key, func.max(record_t.c.version)).where(of_keys).group_by(record_t.c.key)
        newest.update(connection.execute(numbers).tuples().all())
    for keys in in_batches(newest, in_clause):
        is_live = record_t.c.key.in_(keys) & (record_t.c.state != int(RecordState.SUPERSEDED))
        rows += connection.execute(select(*columns).where(ours, is_live)).all()
    for ids in in_batches(dict.fromkeys(record.id for record in records if record.key in newest), in_clause):
        rows += connection.execute(select(*columns).where(ours, record_t.c.id.in_(ids))).all()
    found = _Known(by_id={}, current={}, newest=newest)
    for id, key, number, state, batch, source_id, seq in rows:
        found.by_id[id] = _Version(
            source_id=source_id,
            number=number,
            state=state,
            is_published=batch is not None,
            seq=seq,
            stored_as=state,
        )
        if state != RecordState.SUPERSEDED:
            found.current[key] = id
    return found


def _write(connection: Connection, db: Database, place: RecordPlace, known: _Known) -> None:
    """The versions as they are now: changed ones are updated, new ones inserted in the order in which they were read."""
    gone = int(RecordState.SUPERSEDED)
    retired = [one.seq for one in known.by_id.values() if one.seq is not None and one.state == gone != one.stored_as]
    for seqs in in_batches(retired, in_clause):
        connection.execute(update(record_t).where(record_t.c.seq.in_(seqs)).values(state=gone))
    for ids in in_batches(known.met, in_clause):
        mine = (record_t.c.dataset_id == place.dataset_id) & record_t.c.id.in_(ids)
        connection.execute(update(record_t).where(mine).values(generation=place.generation))
    back = [_revival(known.by_id[id], record, place) for id, record in known.revived.items()]
    if back := [row for row in back if row["b_seq"] is not None]:
        columns = ("version", "state", "generation", "source_id", "filename")
        values: dict[str, Any] = {name: bindparam(f"b_{name}") for name in columns}
        connection.execute(update(record_t).where(record_t.c.seq == bindparam("b_seq")).values(values), back)
    fresh = [one for one in known.by_id.values() if one.row is not None]
    db.insert_new(
        connection, record_t, [{**(one.row or {}), "version": one.number, "state": int(one.state)} for one in fresh]
    )


def _revival(one: _Version, record: Record, place: RecordPlace) -> dict[str, Any]:
    return {
        "b_seq": one.seq,
        "b_version": one.number,
        "b_state": int(one.state),
        "b_generation": place.generation,
        "b_source_id": place.source_id,
        "b_filename": record.filename,
    }


def record_row(record: Record, place: RecordPlace) -> dict[str, Any]:
    """A new record as a row of its table."""
    return {
        "dataset_id": place.dataset_id,
        "id": record.id,
        "source_id": place.source_id,
        "generation": place.generation,
        "timestamp": record.timestamp,
        "filename": record.filename,
        "text": record.text,
        "iteration": record.iteration,
        "idx_in_iteration": record.idx_in_iteration,
        "type": record.type,
        "extra": to_json(record.extra) if record.extra else "{}",
        "state": int(RecordState.WAITING),
        "key": record.key or None,
    }
