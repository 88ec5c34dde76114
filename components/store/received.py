"""Records that were sent instead of read: what a receiver took, in the ledger under a source of its own."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, select

from components.contracts import Defect, Record, in_batches
from components.store.defects import defect_rows
from components.store.engine import Database, in_clause
from components.store.keyed import Kept, RecordPlace, write_keyed
from components.store.tables import RECEIVER, defect_t, record_t, source_t


class ReceivedRecords:
    """Writes what receivers take."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def write(
        self,
        connection: Connection,
        dataset_id: int,
        source: str,
        records: Sequence[Record],
        defects: Sequence[Defect],
        *,
        once: Collection[str] = (),
    ) -> Kept:
        """Store records that have keys, and defects, within the caller's transaction; what was sent before is no news.

        A record takes the place of the one that has its key, except where the key is among `once`.
        """
        source_id = self._source_id(connection, dataset_id, source)
        place = RecordPlace(dataset_id=dataset_id, source_id=source_id, generation=1)
        fresh = self._without_known(connection, dataset_id, records, once)
        kept = write_keyed(connection, self.db, place, fresh)
        self.db.insert_new(connection, defect_t, defect_rows(dataset_id, source_id, 1, defects))
        return Kept(new=kept.new, existing=kept.existing + len(records) - len(fresh), superseded=kept.superseded)

    def _source_id(self, connection: Connection, dataset_id: int, source: str) -> int:
        location = f"{RECEIVER}:{source}"
        query = select(source_t.c.id).where(source_t.c.dataset_id == dataset_id, source_t.c.location == location)
        found = connection.execute(query).scalar()
        n = 1
        while found is None:  # a file of the same name may have the key
            row = {
                "dataset_id": dataset_id,
                "key": source if n == 1 else f"{source}~{n}",
                "location": location,
                "kind": RECEIVER,
                "format": source,
                "status": "loaded",
                "reason": "",
                "options": "",
                "version": 0,
                "generation": 1,
                "size_bytes": 0,
                "mtime_ns": 0,
                "inode": 0,
                "ctime_ns": 0,
            }
            self.db.insert_new(connection, source_t, [row])
            found, n = connection.execute(query).scalar(), n + 1
        return int(found)

    def _without_known(
        self, connection: Connection, dataset_id: int, records: Sequence[Record], once: Collection[str]
    ) -> list[Record]:
        """The records without those of which the first report counts and is stored, or comes before."""
        known: set[str] = set()
        for keys in in_batches(once, in_clause):
            query = select(record_t.c.key).where(record_t.c.dataset_id == dataset_id, record_t.c.key.in_(keys))
            known.update(connection.execute(query).scalars())
        fresh: list[Record] = []
        for record in records:
            if record.key in once:
                if record.key in known:
                    continue
                known.add(record.key)
            fresh.append(record)
        return fresh
