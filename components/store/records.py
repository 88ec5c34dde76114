"""Records by state: pending, failed, indexed; and lookups of single ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import JSON, ColumnElement, Select, Text, and_, case, delete, func, select, update

from components.contracts import Json, Record, in_batches
from components.store.engine import Database, in_clause
from components.store.lease import Fence
from components.store.tables import Failure, RecordState, record_t

failure_t = Failure.__table__  # type: ignore[attr-defined]

record_columns = ("id", "timestamp", "filename", "text", "iteration", "idx_in_iteration", "type", "extra", "key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A record with its number in the order of arrival."""

    seq: int
    record: Record


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordVersion:
    """One version of a record that has a key."""

    version: int
    id: str
    is_current: bool


class Records:
    """All records of all datasets."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def count(self, dataset_id: int, *states: RecordState) -> int:
        """How many records of a dataset are in one of these states."""
        query = select(func.count()).select_from(record_t).where(_in_states(dataset_id, states))
        with self.db.read() as connection:
            return int(connection.execute(query).scalar_one())

    def counts(self, dataset_id: int) -> dict[RecordState, int]:
        """State -> how many records."""
        query = (
            select(record_t.c.state, func.count()).where(record_t.c.dataset_id == dataset_id).group_by(record_t.c.state)
        )
        with self.db.read() as connection:
            found = {RecordState(state): n for state, n in connection.execute(query)}
        return {state: found.get(state, 0) for state in RecordState}

    def stream(self, dataset_id: int, *states: RecordState, size: int = 5_000) -> Iterator[list[Stored]]:
        """Batches of records in one of these states, oldest first, each read in a short transaction of its own."""
        last = -1
        while True:
            query = (
                _select_stored()
                .where(_in_states(dataset_id, states), record_t.c.seq > last)
                .order_by(record_t.c.seq)
                .limit(size)
            )
            batch = self._fetch(query)
            if not batch:
                return
            yield batch
            last = batch[-1].seq

    def stream_seqs(self, dataset_id: int, *states: RecordState, size: int = 5_000) -> Iterator[list[int]]:
        """As `stream`, but only the numbers of the records."""
        last = -1
        while True:
            query = select(record_t.c.seq).where(_in_states(dataset_id, states), record_t.c.seq > last)
            with self.db.read() as connection:
                seqs = list(connection.execute(query.order_by(record_t.c.seq).limit(size)).scalars())
            if not seqs:
                return
            yield seqs
            last = seqs[-1]

    def by_seq(self, seqs: Sequence[int]) -> list[Stored]:
        """These records, in order of arrival."""
        found: list[Stored] = []
        for chunk in in_batches(sorted(seqs), in_clause):
            found.extend(self._fetch(_select_stored().where(record_t.c.seq.in_(chunk)).order_by(record_t.c.seq)))
        return found

    def by_id(self, dataset_id: int, id: str) -> Stored | None:
        """The record of this id, or None."""
        found = self._fetch(_select_stored().where(record_t.c.dataset_id == dataset_id, record_t.c.id == id))
        return found[0] if found else None

    def by_key(self, dataset_id: int, key: str) -> Stored | None:
        """The current version of the record of this key, or None; one look-up in an index."""
        found = self._fetch(_of_key(_select_stored(), dataset_id, key).where(_is_current).limit(1))
        return found[0] if found else None

    def versions(self, dataset_id: int, key: str) -> list[RecordVersion]:
        """What has been stored under this key, newest first."""
        query = _of_key(select(record_t.c.version, record_t.c.id, record_t.c.state), dataset_id, key)
        with self.db.read() as connection:
            return [
                RecordVersion(version=version, id=id, is_current=state != RecordState.SUPERSEDED)
                for version, id, state in connection.execute(query)
            ]

    def by_ids(self, dataset_id: int, ids: Sequence[str]) -> list[Stored]:
        """The records of these ids, in order of arrival."""
        found: list[Stored] = []
        for chunk in in_batches(list(ids), in_clause):
            wanted = (record_t.c.dataset_id == dataset_id) & record_t.c.id.in_(chunk)
            found.extend(self._fetch(_select_stored().where(wanted)))
        return sorted(found, key=lambda stored: stored.seq)

    def texts(self, seqs: Sequence[int]) -> dict[int, str]:
        """Seq -> text of these records."""
        found: dict[int, str] = {}
        with self.db.read() as connection:
            for chunk in in_batches(sorted(seqs), in_clause):
                query = select(record_t.c.seq, record_t.c.text).where(record_t.c.seq.in_(chunk))
                found.update((seq, words) for seq, words in connection.execute(query))
        return found

    def texts_by_ids(self, dataset_id: int, ids: Sequence[str]) -> dict[str, str]:
        """Id -> text of these records."""
        found: dict[str, str] = {}
        with self.db.read() as connection:
            for chunk in in_batches(list(ids), in_clause):
                wanted = (record_t.c.dataset_id == dataset_id) & record_t.c.id.in_(chunk)
                found.update(
                    (id, words)
                    for id, words in connection.execute(select(record_t.c.id, record_t.c.text).where(wanted))
                )
        return found

    def of_run(self, dataset_id: int, filename: str) -> list[Stored]:
        """The records of a run that are not superseded, in the order of the run."""
        mine = (record_t.c.dataset_id == dataset_id) & (record_t.c.filename == filename)
        place = (record_t.c.iteration, record_t.c.idx_in_iteration)  # spans that were received share one
        query = _select_stored().where(mine, record_t.c.state != RecordState.SUPERSEDED)
        return self._fetch(query.order_by(*place, record_t.c.timestamp, record_t.c.seq))

    def ids_with_extra(self, dataset_id: int, name: str, values: Sequence[str]) -> list[str]:
        """Ids of the records on the map whose extra field `name` has one of these values, compared as text."""
        wanted = (record_t.c.dataset_id == dataset_id) & (record_t.c.state == RecordState.INDEXED)
        with self.db.read() as connection:
            value = self._extra_value(name)
            return list(connection.execute(select(record_t.c.id).where(wanted, value.in_(list(values)))).scalars())

    def extras_of_files(self, dataset_id: int, names: Sequence[str]) -> dict[str, dict[str, str]]:
        """Filename -> extra field -> its value as text, where all records on the map that have the field agree."""
        values = [(name, self._extra_value(name)) for name in names]
        columns = [edge(value) for _, value in values for edge in (func.min, func.max)]
        wanted = (record_t.c.dataset_id == dataset_id) & (record_t.c.state == RecordState.INDEXED)
        query = select(record_t.c.filename, *columns).where(wanted).group_by(record_t.c.filename)
        found: dict[str, dict[str, str]] = {}
        with self.db.read() as connection:
            for filename, *edges in connection.execute(query):
                pairs = zip(names, edges[::2], edges[1::2], strict=True)
                found[filename] = {name: str(low) for name, low, high in pairs if low is not None and low == high}
        return found

    def _extra_value(self, name: str) -> ColumnElement[Any]:
        """The extra field `name` as text."""
        if self.db.dialect != "sqlite":
            text: ColumnElement[Any] = record_t.c.extra.cast(JSON).op("->>")(name)
            return text
        path = f'$."{name}"'
        kind = func.json_type(record_t.c.extra, path)  # true and false, where the value is 1 and 0
        return case((kind.in_(["true", "false"]), kind), else_=func.json_extract(record_t.c.extra, path).cast(Text))

    def _fetch(self, query: Select[Any]) -> list[Stored]:
        with self.db.read() as connection:
            return [_stored(row) for row in connection.execute(query)]

    # --- what could not be embedded

    def fail(self, fence: Fence, dataset_id: int, digests: Mapping[int, bytes], error: str) -> None:
        """Record these as failed (seq -> digest of the prepared text), with the error."""
        now = datetime.now(UTC)
        rows = [
            {"seq": seq, "dataset_id": dataset_id, "digest": digest, "error": error, "attempts": 1, "failed_at": now}
            for seq, digest in digests.items()
        ]
        insert = self.db.insert(failure_t)
        upsert = insert.on_conflict_do_update(
            index_elements=["seq"],
            set_={"error": insert.excluded.error, "failed_at": now, "attempts": failure_t.c.attempts + 1},
        )
        with fence.write() as connection:
            if rows:
                connection.execute(upsert, rows)
            for chunk in in_batches(list(digests), in_clause):
                connection.execute(
                    update(record_t)
                    .where(record_t.c.seq.in_(chunk), record_t.c.state == RecordState.WAITING)
                    .values(state=RecordState.FAILED)
                )

    def retry_failed(self, fence: Fence, dataset_id: int) -> int:
        """Make failed records pending again; their number of attempts stays. Returns how many."""
        with fence.write() as connection:
            again = update(record_t).where(_in_states(dataset_id, (RecordState.FAILED,)))
            return int(connection.execute(again.values(state=RecordState.WAITING)).rowcount)

    def forget_failures(self, fence: Fence, dataset_id: int) -> None:
        """Remove the errors of records that are on the map by now."""
        indexed = select(record_t.c.seq).where(_in_states(dataset_id, (RecordState.INDEXED,)))
        with fence.write() as connection:
            noted = select(failure_t.c.seq).where(failure_t.c.dataset_id == dataset_id)
            if connection.execute(noted.limit(1)).first():
                connection.execute(
                    delete(failure_t).where(failure_t.c.dataset_id == dataset_id, failure_t.c.seq.in_(indexed))
                )

    def failed_digests(self, dataset_id: int) -> dict[bytes, str]:
        """Digest -> error of the texts that failed."""
        query = (
            select(failure_t.c.digest, failure_t.c.error)
            .join(record_t, record_t.c.seq == failure_t.c.seq)
            .where(failure_t.c.dataset_id == dataset_id, record_t.c.state == RecordState.FAILED)
        )
        with self.db.read() as connection:
            return {bytes(digest): error for digest, error in connection.execute(query)}

    def failures(self, dataset_id: int, limit: int = 1_000) -> list[dict[str, Any]]:
        """id, filename, error, attempts, failed_at of the records that failed."""
        query = (
            select(record_t.c.id, record_t.c.filename, failure_t.c.error, failure_t.c.attempts, failure_t.c.failed_at)
            .join(record_t, record_t.c.seq == failure_t.c.seq)
            .where(failure_t.c.dataset_id == dataset_id, record_t.c.state == RecordState.FAILED)
            .order_by(record_t.c.seq)
            .limit(limit)
        )
        with self.db.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]


def _in_states(dataset_id: int, states: Sequence[RecordState]) -> ColumnElement[bool]:
    return and_(record_t.c.dataset_id == dataset_id, record_t.c.state.in_([int(state) for state in states]))


_is_current = record_t.c.state != int(RecordState.SUPERSEDED)


def _of_key(query: Select[Any], dataset_id: int, key: str) -> Select[Any]:
    """The rows of a key, the newest version first."""
    mine = query.where(record_t.c.dataset_id == dataset_id, record_t.c.key == key)
    return mine.order_by(record_t.c.version.desc())


def _select_stored() -> Select[Any]:
    return select(record_t.c.seq, *(record_t.c[name] for name in record_columns))


def _stored(row: Any) -> Stored:
    seq, id, timestamp, filename, text, iteration, idx, type, extra, key = row
    return Stored(
        seq=seq,
        record=Record(
            id=id,
            timestamp=timestamp,
            filename=filename,
            text=text,
            iteration=iteration,
            idx_in_iteration=idx,
            type=type,
            extra=_extra(extra),
            key=key or "",
        ),
    )


def _extra(raw: str) -> Mapping[str, Json]:
    extra: Mapping[str, Json] = orjson.loads(raw) if raw != "{}" else {}
    return extra
