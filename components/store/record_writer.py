"""The transaction that makes loading exactly-once: the records of a batch, its defects and the cursor behind it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import Connection, case, delete, select, update

from components.contracts import Batch, LedgerEntry, Record, in_batches, with_occurrence
from components.store.defects import defect_rows
from components.store.engine import Database, in_clause
from components.store.keyed import RecordPlace, record_row, write_keyed
from components.store.ledger import expect_version, max_inode
from components.store.sessions import note_sessions
from components.store.tables import RecordState, defect_t, record_t, source_t
from components.store.values import to_json

OnRewrite = Literal["keep", "replace"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Persisted:
    """How many records of a batch were new, existed, and are superseded by it, and the source's version now."""

    new: int
    existing: int
    version: int
    superseded: int = 0


class RecordWriter:
    """Writes what loads read."""

    def __init__(self, db: Database) -> None:
        self.db = db

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
        """Records, defects and cursor of a batch in one transaction: all of it or nothing; a repetition changes nothing.

        `version` is the source's version that the batch was read on; raises `SourceMoved` if it is another by now.
        The last batch `closes` the reading in the same transaction, as `finish` does.
        """
        with self.db.write() as connection:
            expect_version(connection, self.db, entry, version)
            is_first = generation == 1 and entry.cursor is None and version == entry.version
            plain = [record for record in batch.records if not record.key]
            records, existing = self._resolve(connection, dataset_id, plain, generation, is_first=is_first)
            place = RecordPlace(dataset_id=dataset_id, source_id=entry.source_id, generation=generation)
            rows = [record_row(record, place) for record in records]
            rows.sort(key=lambda row: row["id"])  # two loads in opposite orders would deadlock on PostgreSQL
            new = self.db.insert_new(connection, record_t, rows)
            kept = write_keyed(connection, self.db, place, [record for record in batch.records if record.key])
            note_sessions(connection, self.db, dataset_id, entry.source_id, own=own_sessions, copied=copied_sessions)
            found = defect_rows(dataset_id, entry.source_id, generation, batch.defects)
            self.db.insert_new(connection, defect_t, found)
            superseded = kept.superseded + _supersede_former(connection, dataset_id, plain)
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
                    cursor=to_json(asdict(batch.cursor)),
                    loaded_at=datetime.now(UTC),
                )
            )
        there = existing + len(rows) - new + kept.existing
        return Persisted(new=new + kept.new, existing=there, version=version + 1, superseded=superseded)

    def _resolve(
        self, connection: Connection, dataset_id: int, records: Sequence[Record], generation: int, *, is_first: bool
    ) -> tuple[list[Record], int]:
        """The records that are not stored yet, each with its occurrence number, and how many are stored already.

        The n-th of equal records in a generation is occurrence n: what is in the batch and what the generation
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

    def finish(self, entry: LedgerEntry, *, version: int, generation: int, on_rewrite: OnRewrite) -> int:
        """Close the reading of a source; returns how many records are not in the newest generation (`replace`)."""
        with self.db.write() as connection:
            expect_version(connection, self.db, entry, version)
            superseded = self._leave_behind(connection, entry, generation, on_rewrite)
            connection.execute(
                update(source_t)
                .where(source_t.c.id == entry.source_id)
                .values(status="loaded", reason="", version=version + 1)
            )
        return superseded

    def _leave_behind(self, connection: Connection, entry: LedgerEntry, generation: int, on_rewrite: OnRewrite) -> int:
        """Drop the defects of older generations and, with `replace`, retire the records that only they have."""
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
    """These records are in the newest generation too; superseded ones are restored."""
    for chunk in in_batches(ids, in_clause):
        mine = (record_t.c.dataset_id == dataset_id) & record_t.c.id.in_(chunk)
        connection.execute(update(record_t).where(mine).values(generation=generation))
        revived = update(record_t).where(mine, record_t.c.state == RecordState.SUPERSEDED)
        is_published = record_t.c.batch.is_not(None)  # it never left the output
        back = case((is_published, int(RecordState.INDEXED)), else_=int(RecordState.WAITING))
        connection.execute(revived.values(state=back))


def _supersede_former(connection: Connection, dataset_id: int, records: Sequence[Record]) -> int:
    """Retire the records that an earlier version stored instead of these, with secrets or escapes in the text."""
    superseded = 0
    for chunk in in_batches([r.former_id for r in records if r.former_id], in_clause):
        mine = (record_t.c.dataset_id == dataset_id) & record_t.c.id.in_(chunk)
        retire = update(record_t).where(mine, record_t.c.state != RecordState.SUPERSEDED)
        superseded += connection.execute(retire.values(state=RecordState.SUPERSEDED)).rowcount
    return superseded
