"""The ledger of sources: where each is, what has been read of it, and why it could not be read."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
from sqlalchemy import ColumnElement, Connection, RowMapping, delete, select, update
from sqlalchemy.exc import IntegrityError

from components.contracts import (
    Cursor,
    LedgerEntry,
    Locator,
    Problem,
    Record,
    Said,
    in_batches,
    said_digest,
)
from components.errors import TransientError
from components.store.engine import Database, in_clause
from components.store.tables import RECEIVER, RecordState, dataset_t, defect_t, record_t, session_t, source_t
from components.store.values import storable, to_json

never = -1  # no file was written then
max_inode = 2**63 - 1  # some file systems count to 2**64; the database to 2**63


class SourceMoved(TransientError):
    """Another load wrote this source in the meantime; decide again from the ledger as it is now."""


def expect_version(connection: Connection, db: Database, entry: LedgerEntry, version: int) -> None:
    """Raises `SourceMoved` if the source is not at this version any more."""
    query = select(source_t.c.version).where(source_t.c.id == entry.source_id)
    if db.dialect != "sqlite":
        query = query.with_for_update()
    if connection.execute(query).scalar() != version:
        raise SourceMoved(f"{entry.key} was read by another load in the meantime.")


class Ledger:
    """What has been read of each source of each dataset."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def entries(self, dataset_id: int) -> list[LedgerEntry]:
        """Every source that loads read, without cursors (`entry` has them): quick for 100,000 sources."""
        columns = [source_t.c[name] for name in _entry_columns]
        ours = (source_t.c.dataset_id == dataset_id) & (source_t.c.kind != RECEIVER)
        query = select(*columns).where(ours).order_by(source_t.c.key)
        with self.db.read() as connection:
            return [_entry(row) for row in connection.execute(query).mappings()]

    def entry(self, source_id: int) -> LedgerEntry:
        """The current entry of a source, with its cursor."""
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
        """As `register`, in one transaction; without those whose key another load took meanwhile."""
        if not locators:
            return []
        ours = source_t.c.dataset_id == dataset_id
        with self.db.write() as connection:
            taken = set(connection.execute(select(source_t.c.key).where(ours)).scalars())
            rows = []
            for locator in sorted(
                locators, key=lambda one: one.location
            ):  # in a fixed order, or two loads would deadlock
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
        """Record why a source was not read, and its size and times, unless it `is_looked_at_again` anyway."""
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
                reason=storable(reason),
                options=options,
                size_bytes=locator.size_bytes,
                mtime_ns=locator.mtime_ns,
                inode=locator.inode & max_inode,
                ctime_ns=locator.ctime_ns,
                version=source_t.c.version + 1,
            )
        )

    def touch(self, entry: LedgerEntry, locator: Locator, *, version: int) -> None:
        """Record new times of unchanged content, so that the next load does not read it.

        Raises `SourceMoved` if the source is not at this version any more.
        """
        with self.db.write() as connection:
            expect_version(connection, self.db, entry, version)
            self._note(connection, entry, locator, status="loaded", reason="", options=entry.options)

    def move(self, locations: Mapping[int, str]) -> bool:
        """The same contents under new names, source id -> location: each keeps its key, so its records keep their ids.

        A source that lay at such a place and is not moved itself is no more. False if another load came before.
        """
        try:
            with self.db.write() as connection:
                for source_id in locations:  # aside first: they may swap locations
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
        """Is each of these records stored for this source, by type and text, at any position?"""
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
        """Filename -> the records of the source in generations from `since` on, in order of their positions."""
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
        """Record that these sources no longer exist; their records stay."""
        with self.db.write() as connection:
            for chunk in in_batches(source_ids, in_clause):
                gone = update(source_t).where(source_t.c.id.in_(chunk))
                connection.execute(gone.values(status="gone", version=source_t.c.version + 1))

    def remove(self, dataset_id: int, specs: Sequence[str], source_ids: Sequence[int], *, with_records: bool) -> int:
        """Remove remembered sources with their entries; returns how many records are retired.

        Sources that hold records keep their row, so that adding them again duplicates nothing; with `with_records` the
        records leave the next snapshot, and come back if the source is loaded again.
        """
        retired = 0
        with self.db.write() as connection:
            query = select(dataset_t.c.sources).where(dataset_t.c.id == dataset_id)
            if self.db.dialect != "sqlite":
                query = query.with_for_update()
            kept = [spec for spec in orjson.loads(connection.execute(query).scalar_one()) if spec not in specs]
            connection.execute(update(dataset_t).where(dataset_t.c.id == dataset_id).values(sources=to_json(kept)))
            for chunk in in_batches(source_ids, in_clause):
                retired += _remove_sources(connection, chunk, with_records=with_records)
        return retired

    def broken(self, dataset_id: int, limit: int = 100) -> list[Problem]:
        """Sources that should be readable and are not: those that were read before, and tables."""
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
        """The sources that are not ready or failed, and why."""
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
