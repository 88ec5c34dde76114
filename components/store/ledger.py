"""The ledger of sources, and the one transaction that makes loading exactly-once: rows and cursor together."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, cast

import numpy as np
import orjson
from sqlalchemy import ColumnElement, Connection, RowMapping, case, delete, func, select, update
from sqlalchemy.exc import IntegrityError

from components.contracts import (
    Batch,
    Cursor,
    Defect,
    LedgerEntry,
    Locator,
    Problem,
    Record,
    Said,
    in_batches,
    said_digest,
    with_occurrence,
)
from components.errors import TransientError
from components.store.engine import Database, in_clause
from components.store.sessions import note_sessions
from components.store.tables import Dataset, DefectRow, RecordRow, RecordState, SessionRow, Source

dataset_t = Dataset.__table__  # type: ignore[attr-defined]
source_t = Source.__table__  # type: ignore[attr-defined]
record_t = RecordRow.__table__  # type: ignore[attr-defined]
defect_t = DefectRow.__table__  # type: ignore[attr-defined]
session_t = SessionRow.__table__  # type: ignore[attr-defined]

OnRewrite = Literal["keep", "replace"]
never = -1  # no file was written then
max_inode = 2**63 - 1  # some file systems count to 2**64; the database to 2**63


class SourceMoved(TransientError):
    """Another load wrote this source in the meantime; decide again from the ledger as it is now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Persisted:
    """How many records of a batch were new, were there, and are superseded by it, and the source's version now."""

    new: int
    existing: int
    version: int
    superseded: int = 0


class Ledger:
    """What has been read of each source of each dataset."""

    def __init__(self, db: Database) -> None:
        self.db = db

    # --- datasets

    def dataset_id(self, name: str, *, create: bool = False) -> int | None:
        """The number of a dataset, or None; with `create` a new one where there is none."""
        query = select(dataset_t.c.id).where(dataset_t.c.name == name)
        with self.db.read() as connection:
            found = connection.execute(query).scalar()
        if found is not None or not create:
            return cast("int | None", found)
        with self.db.write() as connection:
            self.db.insert_new(
                connection, dataset_t, [{"name": name, "sources": "[]", "created_at": datetime.now(UTC)}]
            )
            return int(connection.execute(query).scalar_one())

    def datasets(self) -> dict[str, int]:
        """Name -> number, sorted by name."""
        with self.db.read() as connection:
            rows = connection.execute(select(dataset_t.c.name, dataset_t.c.id).order_by(dataset_t.c.name))
            return dict(rows.tuples().all())

    def remembered(self, dataset_id: int) -> tuple[str, ...]:
        """The sources that were given to loads by hand, in the order they came."""
        with self.db.read() as connection:
            raw = connection.execute(select(dataset_t.c.sources).where(dataset_t.c.id == dataset_id)).scalar_one()
        return tuple(orjson.loads(raw))

    def remember(self, dataset_id: int, specs: Iterable[str]) -> None:
        """Add sources to those that later loads look at."""
        with self.db.write() as connection:
            query = select(dataset_t.c.sources).where(dataset_t.c.id == dataset_id)
            if self.db.dialect != "sqlite":
                query = query.with_for_update()
            known = orjson.loads(connection.execute(query).scalar_one())
            fresh = [spec for spec in dict.fromkeys(specs) if spec not in known]
            if fresh:
                connection.execute(
                    update(dataset_t).where(dataset_t.c.id == dataset_id).values(sources=_json([*known, *fresh]))
                )

    # --- sources

    def entries(self, dataset_id: int) -> list[LedgerEntry]:
        """Every source of the dataset, without cursors (`entry` has them): quick for 100,000 sources."""
        columns = [source_t.c[name] for name in _entry_columns]
        query = select(*columns).where(source_t.c.dataset_id == dataset_id).order_by(source_t.c.key)
        with self.db.read() as connection:
            return [_entry(row) for row in connection.execute(query).mappings()]

    def entry(self, source_id: int) -> LedgerEntry:
        """One source as the ledger knows it now, with its cursor."""
        columns = [source_t.c[name] for name in (*_entry_columns, "cursor")]
        with self.db.read() as connection:
            return _entry(connection.execute(select(*columns).where(source_t.c.id == source_id)).mappings().one())

    def register(self, dataset_id: int, locator: Locator) -> LedgerEntry:
        """The entry of a source that may be new. Its key is made unique where two roots hold the same path."""
        same_place = (source_t.c.dataset_id == dataset_id) & (source_t.c.location == locator.location)
        for key in _candidate_keys(locator):
            try:
                with self.db.write() as connection:
                    found = connection.execute(select(source_t.c.id).where(same_place)).scalar()
                    if found is None:
                        found = self._add_source(connection, dataset_id, locator, key)
                return self.entry(found)
            except IntegrityError:
                continue  # the key is taken by a source under another root
        raise AssertionError

    def _add_source(self, connection: Connection, dataset_id: int, locator: Locator, key: str) -> int:
        row = _source_row(dataset_id, locator, key)
        return int(connection.execute(source_t.insert().returning(source_t.c.id), row).scalar_one())

    def register_all(self, dataset_id: int, locators: Sequence[Locator]) -> list[LedgerEntry]:
        """As `register`, in one transaction; without those whose key somebody else took just now."""
        if not locators:
            return []
        ours = source_t.c.dataset_id == dataset_id
        with self.db.write() as connection:
            taken = set(connection.execute(select(source_t.c.key).where(ours)).scalars())
            rows = []
            for locator in sorted(locators, key=lambda one: one.location):  # in one order, or two loads would deadlock
                key = next(key for key in _candidate_keys(locator) if key not in taken)
                taken.add(key)
                rows.append(_source_row(dataset_id, locator, key))
            self.db.insert_new(connection, source_t, rows)
            found: list[LedgerEntry] = []
            columns = [source_t.c[name] for name in (*_entry_columns, "cursor")]
            for chunk in in_batches([row["location"] for row in rows], in_clause):
                query = select(*columns).where(ours, source_t.c.location.in_(chunk))
                found += [_entry(row) for row in connection.execute(query).mappings()]
        return found

    def persist(
        self,
        dataset_id: int,
        entry: LedgerEntry,
        batch: Batch,
        *,
        generation: int,
        version: int,
        options: str = "",
        closes: OnRewrite | None = None,
        own_sessions: Iterable[str] = (),
        copied_sessions: Iterable[str] = (),
    ) -> Persisted:
        """Records, defects and cursor of a batch in one transaction: all of it or nothing, twice is once.

        `version` is the source's version that the batch was read on; raises `SourceMoved` if it is another by now.
        The last batch `closes` the reading in the same transaction, as `finish` does.
        """
        with self.db.write() as connection:
            _expect_version(connection, self.db, entry, version)
            is_first = generation == 1 and entry.cursor is None and version == entry.version
            records, existing = self._resolve(connection, dataset_id, batch.records, generation, is_first=is_first)
            rows = [_record_row(record, dataset_id, entry.source_id, generation) for record in records]
            rows.sort(key=lambda row: row["id"])  # two loads in opposite orders would deadlock on PostgreSQL
            new = self.db.insert_new(connection, record_t, rows)
            note_sessions(connection, self.db, dataset_id, entry.source_id, own=own_sessions, copied=copied_sessions)
            self._insert_defects(connection, dataset_id, entry.source_id, generation, batch.defects)
            superseded = _supersede_former(connection, dataset_id, batch.records)
            superseded += self._leave_behind(connection, entry, generation, closes) if closes else 0
            connection.execute(
                update(source_t)
                .where(source_t.c.id == entry.source_id)
                .values(
                    status="loaded" if closes else "reading",
                    reason="",
                    format=batch.cursor.format,
                    options=options,
                    generation=generation,
                    version=version + 1,
                    size_bytes=batch.cursor.size_bytes,
                    mtime_ns=batch.cursor.mtime_ns,
                    inode=batch.cursor.inode & max_inode,
                    ctime_ns=batch.cursor.ctime_ns,
                    cursor=_json(asdict(batch.cursor)),
                    loaded_at=datetime.now(UTC),
                )
            )
        there = existing + len(rows) - new
        return Persisted(new=new, existing=there, version=version + 1, superseded=superseded)

    def _resolve(
        self, connection: Connection, dataset_id: int, records: Sequence[Record], generation: int, *, is_first: bool
    ) -> tuple[list[Record], int]:
        """The records that are not stored yet, each with its occurrence number, and how many are stored already.

        The n-th of equal records in a generation is occurrence n: what stands in the batch and what the generation
        has met before decide it, never how the source was cut into batches. `is_first`: nothing is stored yet.
        """
        stored = {} if is_first else _generations(connection, dataset_id, [record.id for record in records])
        met = _occurrences_met(connection, dataset_id, records, stored, generation)
        numbered: list[Record] = []
        for record in records:
            n = met.get(record.id, 0)
            met[record.id] = n + 1
            numbered.append(with_occurrence(record, n) if n else record)
        if not is_first:
            unknown = [new.id for new, old in zip(numbered, records, strict=True) if new is not old]
            stored |= _generations(connection, dataset_id, unknown)
        fresh = [record for record in numbered if record.id not in stored]
        again = [record.id for record in numbered if record.id in stored]
        _mark_met(connection, dataset_id, again, generation)
        return fresh, len(again)

    def _insert_defects(
        self, connection: Connection, dataset_id: int, source_id: int, generation: int, defects: Sequence[Defect]
    ) -> None:
        rows = [
            {
                "dataset_id": dataset_id,
                "source_id": source_id,
                "generation": generation,
                "offset": defect.offset,
                "reason": _storable(defect.reason),
                "excerpt": _storable(defect.excerpt),
            }
            for defect in defects
        ]
        self.db.insert_new(connection, defect_t, rows)

    def finish(self, entry: LedgerEntry, *, version: int, generation: int, on_rewrite: OnRewrite) -> int:
        """Close the reading of a source; returns how many records the newest generation holds no more (`replace`)."""
        with self.db.write() as connection:
            _expect_version(connection, self.db, entry, version)
            superseded = self._leave_behind(connection, entry, generation, on_rewrite)
            connection.execute(
                update(source_t)
                .where(source_t.c.id == entry.source_id)
                .values(status="loaded", reason="", version=version + 1)
            )
        return superseded

    def _leave_behind(self, connection: Connection, entry: LedgerEntry, generation: int, on_rewrite: OnRewrite) -> int:
        """Drop the defects of older generations and, with `replace`, retire the records that only they hold."""
        if generation == 1:
            return 0
        superseded = 0
        if on_rewrite == "replace":
            old = (record_t.c.source_id == entry.source_id) & (record_t.c.generation < generation)
            retire = update(record_t).where(old, record_t.c.state != RecordState.SUPERSEDED)
            superseded = connection.execute(retire.values(state=RecordState.SUPERSEDED)).rowcount
        old_defects = (defect_t.c.source_id == entry.source_id) & (defect_t.c.generation < generation)
        connection.execute(delete(defect_t).where(old_defects))
        return superseded

    def note(
        self,
        entry: LedgerEntry,
        locator: Locator,
        *,
        status: str,
        reason: str,
        options: str = "",
        is_looked_at_again: bool = False,
    ) -> None:
        """Remember why a source was not read, and what it looked like then: unless it `is_looked_at_again` anyway."""
        if is_looked_at_again:
            locator = replace(locator, mtime_ns=never)
        with self.db.write() as connection:
            self._note(connection, entry, locator, status=status, reason=reason, options=options)

    def _note(
        self, connection: Connection, entry: LedgerEntry, locator: Locator, *, status: str, reason: str, options: str
    ) -> None:
        connection.execute(
            update(source_t)
            .where(source_t.c.id == entry.source_id)
            .values(
                status=status,
                reason=_storable(reason),
                options=options,
                size_bytes=locator.size_bytes,
                mtime_ns=locator.mtime_ns,
                inode=locator.inode & max_inode,
                ctime_ns=locator.ctime_ns,
                version=source_t.c.version + 1,
            )
        )

    def touch(self, entry: LedgerEntry, locator: Locator, *, version: int) -> None:
        """The same content with another time stamp: not worth another look next time.

        Raises `SourceMoved` if the source is not at this version any more.
        """
        with self.db.write() as connection:
            _expect_version(connection, self.db, entry, version)
            self._note(connection, entry, locator, status="loaded", reason="", options=entry.options)

    def move(self, locations: Mapping[int, str]) -> bool:
        """The same contents under new names, source id -> location: each keeps its key, so its records keep their ids.

        A source that lay at such a place and is not moved itself is no more. False if another load came before.
        """
        try:
            with self.db.write() as connection:
                for source_id in locations:  # aside first: they may take each other's places
                    _relocate(connection, source_t.c.id == source_id, source_t.c.location + _aside(source_id))
                for source_id, location in locations.items():
                    mine = select(source_t.c.dataset_id).where(source_t.c.id == source_id).scalar_subquery()
                    there = (source_t.c.location == location) & (source_t.c.dataset_id == mine)
                    connection.execute(delete(source_t).where(there, source_t.c.status == "copy"))
                    _relocate(connection, there, location + _aside(source_id))
                    _relocate(connection, source_t.c.id == source_id, location)
        except IntegrityError:
            return False
        return True

    def holds(self, entry: LedgerEntry, records: Iterable[Record]) -> bool:
        """Is each of these records stored for this source, by type and text, wherever it stands in it?"""
        asked = in_batches(records, 5_000)
        first = next(asked, [])
        if not first:
            return True
        query = select(record_t.c.type, record_t.c.text).where(
            record_t.c.source_id == entry.source_id, record_t.c.state != RecordState.SUPERSEDED
        )
        with self.db.read() as connection:
            rows = connection.execution_options(yield_per=5_000).execute(query)
            stored = np.unique(np.fromiter((said_digest(type, text) for type, text in rows), np.uint64))
        return all(
            bool(np.isin(np.array([said_digest(one.type, one.text) for one in batch], np.uint64), stored).all())
            for batch in itertools.chain([first], asked)
        )

    def runs(self, entry: LedgerEntry, *, since: int) -> dict[str, list[Said]]:
        """Filename -> the records that generations from `since` on hold of the source, in order of their places."""
        place = (record_t.c.iteration, record_t.c.idx_in_iteration, record_t.c.seq)
        query = (
            select(record_t.c.filename, *place[:2], record_t.c.type, record_t.c.text)
            .where(
                record_t.c.source_id == entry.source_id,
                record_t.c.generation >= since,
                record_t.c.state != RecordState.SUPERSEDED,
            )
            .order_by(*place)
        )
        found: dict[str, list[Said]] = {}
        with self.db.read() as connection:
            for filename, iteration, idx, type, text in connection.execute(query):
                found.setdefault(filename, []).append(Said(iteration, idx, said_digest(type, text)))
        return found

    def mark_gone(self, source_ids: Sequence[int]) -> None:
        """These sources are no more; their records stay."""
        with self.db.write() as connection:
            for chunk in in_batches(source_ids, in_clause):
                gone = update(source_t).where(source_t.c.id.in_(chunk))
                connection.execute(gone.values(status="gone", version=source_t.c.version + 1))

    def remove(self, dataset_id: int, specs: Sequence[str], source_ids: Sequence[int], *, with_records: bool) -> int:
        """Forget these remembered specs, and that these sources were theirs; how many records are retired.

        Sources that hold records keep their row, so that adding them again duplicates nothing; with `with_records` the
        records leave the next snapshot, and come back if the source is loaded again.
        """
        retired = 0
        with self.db.write() as connection:
            query = select(dataset_t.c.sources).where(dataset_t.c.id == dataset_id)
            if self.db.dialect != "sqlite":
                query = query.with_for_update()
            kept = [spec for spec in orjson.loads(connection.execute(query).scalar_one()) if spec not in specs]
            connection.execute(update(dataset_t).where(dataset_t.c.id == dataset_id).values(sources=_json(kept)))
            for chunk in in_batches(source_ids, in_clause):
                retired += _remove_sources(connection, chunk, with_records=with_records)
        return retired

    # --- what could not be read

    def defect_count(self, dataset_id: int) -> int:
        with self.db.read() as connection:
            query = select(func.count()).select_from(defect_t).where(defect_t.c.dataset_id == dataset_id)
            return int(connection.execute(query).scalar_one())

    def defects(self, dataset_id: int, limit: int = 1_000) -> list[dict[str, Any]]:
        """source, offset, reason, excerpt of the defects, by source and place."""
        query = (
            select(source_t.c.key.label("source"), defect_t.c.offset, defect_t.c.reason, defect_t.c.excerpt)
            .join(source_t, source_t.c.id == defect_t.c.source_id)
            .where(defect_t.c.dataset_id == dataset_id)
            .order_by(source_t.c.key, defect_t.c.offset)
            .limit(limit)
        )
        with self.db.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def broken(self, dataset_id: int, limit: int = 100) -> list[Problem]:
        """Sources that ought to be readable and are not: those that were read before, and tables."""
        ought = (source_t.c.generation > 0) | (source_t.c.kind == "table")
        query = (
            select(source_t.c.key, source_t.c.reason)
            .where(source_t.c.dataset_id == dataset_id, source_t.c.status == "failed", ought)
            .order_by(source_t.c.key)
            .limit(limit)
        )
        with self.db.read() as connection:
            return [Problem(source=key, reason=reason) for key, reason in connection.execute(query)]

    def problems(self, dataset_id: int) -> list[Problem]:
        """The sources that wait or failed, and why."""
        query = (
            select(source_t.c.key, source_t.c.reason)
            .where(source_t.c.dataset_id == dataset_id, source_t.c.status.in_(("not_ready", "failed")))
            .order_by(source_t.c.key)
        )
        with self.db.read() as connection:
            return [Problem(source=key, reason=reason) for key, reason in connection.execute(query)]


_entry_columns = (
    "id",
    "key",
    "location",
    "status",
    "generation",
    "version",
    "size_bytes",
    "mtime_ns",
    "inode",
    "ctime_ns",
    "format",
    "reason",
    "options",
)


def _remove_sources(connection: Connection, source_ids: Sequence[int], *, with_records: bool) -> int:
    ours = source_t.c.id.in_(source_ids)
    left: dict[str, Any] = {"status": "removed", "reason": "", "version": source_t.c.version + 1}
    retired = 0
    if with_records:
        live = record_t.c.source_id.in_(source_ids) & (record_t.c.state != RecordState.SUPERSEDED)
        retired = connection.execute(update(record_t).where(live).values(state=RecordState.SUPERSEDED)).rowcount
        left["cursor"] = None  # read from the start if it comes again
    connection.execute(update(source_t).where(ours).values(left))
    connection.execute(delete(defect_t).where(defect_t.c.source_id.in_(source_ids)))
    has_records = select(record_t.c.seq).where(record_t.c.source_id == source_t.c.id).exists()
    empty = list(connection.execute(select(source_t.c.id).where(ours, ~has_records)).scalars())
    connection.execute(delete(session_t).where(session_t.c.source_id.in_(empty)))
    connection.execute(delete(source_t).where(source_t.c.id.in_(empty)))
    return retired


def _entry(row: RowMapping) -> LedgerEntry:
    fields = {name: row[name] for name in _entry_columns if name != "id"}
    raw = row.get("cursor")
    return LedgerEntry(source_id=row["id"], cursor=Cursor(**orjson.loads(raw)) if raw else None, **fields)


def _aside(source_id: int) -> str:
    return f"#{source_id}"


def _relocate(connection: Connection, which: ColumnElement[bool], location: str | ColumnElement[str]) -> None:
    moved = update(source_t).where(which).values(location=location, version=source_t.c.version + 1)
    connection.execute(moved)


def _source_row(dataset_id: int, locator: Locator, key: str) -> dict[str, Any]:
    """The ledger's row of a source that was not read yet."""
    return {
        "dataset_id": dataset_id,
        "key": key,
        "location": locator.location,
        "kind": locator.kind,
        "format": "",
        "status": "not_ready",
        "reason": "not read yet",
        "options": "",
        "version": 0,
        "generation": 0,
        "size_bytes": 0,
        "mtime_ns": 0,
        "inode": 0,
        "ctime_ns": 0,
    }


def _candidate_keys(locator: Locator) -> Iterable[str]:
    """The key itself, then with ever more of its root before it, then numbered."""
    yield locator.key
    parts = [part for part in locator.root.split("/") if part]
    for n in range(1, len(parts) + 1):
        yield "/".join([*parts[-n:], locator.key])
    for n in range(2, 1_000):
        yield f"{locator.key}~{n}"


def _expect_version(connection: Connection, db: Database, entry: LedgerEntry, version: int) -> None:
    query = select(source_t.c.version).where(source_t.c.id == entry.source_id)
    if db.dialect != "sqlite":
        query = query.with_for_update()
    if connection.execute(query).scalar() != version:
        raise SourceMoved(f"{entry.key} was read by another load in the meantime.")


def _generations(connection: Connection, dataset_id: int, ids: Sequence[str]) -> dict[str, int]:
    """Id -> generation of those ids that are stored."""
    found: dict[str, int] = {}
    for chunk in in_batches(dict.fromkeys(ids), in_clause):
        query = select(record_t.c.id, record_t.c.generation).where(
            record_t.c.dataset_id == dataset_id, record_t.c.id.in_(chunk)
        )
        found.update((id, generation) for id, generation in connection.execute(query))
    return found


def _occurrences_met(
    connection: Connection, dataset_id: int, records: Sequence[Record], stored: Mapping[str, int], generation: int
) -> dict[str, int]:
    """Id without occurrence -> how many equal records this generation has met, for those of which it has met any.

    Their numbers have no gap, so each count is found by doubling and halving, all of them in the same few queries.
    """
    first = {record.id: record for record in records if stored.get(record.id) == generation}
    low = dict.fromkeys(first, 1)  # so many are met
    high: dict[str, int] = {}  # this one is not
    probes = low.copy()
    while probes:
        ids = {base: with_occurrence(first[base], n).id for base, n in probes.items()}
        found = _generations(connection, dataset_id, list(ids.values()))
        for base, id in ids.items():
            if found.get(id) == generation:
                low[base] = probes[base] + 1
            else:
                high[base] = probes[base]
        open_ended = {base: 2 * n for base, n in low.items() if base not in high}
        halved = {base: (low[base] + n) // 2 for base, n in high.items() if low[base] < n}
        probes = open_ended | halved
    return low


def _mark_met(connection: Connection, dataset_id: int, ids: Sequence[str], generation: int) -> None:
    """These records stand in the newest generation too; one that was superseded is wanted again."""
    for chunk in in_batches(ids, in_clause):
        mine = (record_t.c.dataset_id == dataset_id) & record_t.c.id.in_(chunk)
        connection.execute(update(record_t).where(mine).values(generation=generation))
        revived = update(record_t).where(mine, record_t.c.state == RecordState.SUPERSEDED)
        is_published = record_t.c.batch.is_not(None)  # it never left the output
        back = case((is_published, int(RecordState.INDEXED)), else_=int(RecordState.WAITING))
        connection.execute(revived.values(state=back))


def _supersede_former(connection: Connection, dataset_id: int, records: Sequence[Record]) -> int:
    """Retire the records that an earlier version stored in the place of these, with secrets or escapes in the text."""
    superseded = 0
    for chunk in in_batches([r.former_id for r in records if r.former_id], in_clause):
        mine = (record_t.c.dataset_id == dataset_id) & record_t.c.id.in_(chunk)
        retire = update(record_t).where(mine, record_t.c.state != RecordState.SUPERSEDED)
        superseded += connection.execute(retire.values(state=RecordState.SUPERSEDED)).rowcount
    return superseded


def _record_row(record: Record, dataset_id: int, source_id: int, generation: int) -> dict[str, Any]:
    return {
        "dataset_id": dataset_id,
        "id": record.id,
        "source_id": source_id,
        "generation": generation,
        "timestamp": record.timestamp,
        "filename": record.filename,
        "text": record.text,
        "iteration": record.iteration,
        "idx_in_iteration": record.idx_in_iteration,
        "type": record.type,
        "extra": _json(record.extra) if record.extra else "{}",
        "state": int(RecordState.WAITING),
    }


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS, default=str).decode()


def _storable(text: str) -> str:
    """Text that every database takes: no NUL, no lone surrogates."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
