"""The rows of an uploaded file as records: one for each row with a text, under the number of its row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import Final

from components.contracts import Batch, Cursor, Event, LedgerEntry, Locator, Record, in_batches
from components.redact import Redactor
from components.sources.records import RecordMaker
from components.store import Store
from components.store.lease import Fence
from components.store.tables import RecordState
from components.survey.table import Table, data_rows
from components.topics.names import ROW_TYPE

FORMAT: Final = "upload"


def load_rows(
    store: Store,
    fence: Fence,
    dataset_id: int,
    file: Path,
    table: Table,
    *,
    key: str,
    redactor: Redactor | None,
    max_text_chars: int,
    batch_records: int,
    progress: Callable[[int], None],
) -> int:
    """Store the rows that are not stored yet; returns how many records there are now. An interrupted call is continued."""
    entry = store.ledger.register(dataset_id, Locator(location=str(file), key=key, size_bytes=file.stat().st_size))
    maker = RecordMaker(key=entry.key, zone=UTC, max_text_chars=max_text_chars, redactor=redactor)
    start = entry.cursor.offset if entry.cursor else 0
    version = entry.version
    if entry.status != "loaded":
        numbered = ((number, row) for number, row in enumerate(data_rows(file, table)) if number >= start)
        for batch in _batches(numbered, maker, table, batch_records):
            fence.check()
            closes = batch.cursor.offset >= table.rows
            version = _stored(store, dataset_id, entry, batch, version, closes=closes)
            progress(batch.cursor.offset)
    return store.records.count(dataset_id, *RecordState)


def _stored(store: Store, dataset_id: int, entry: LedgerEntry, batch: Batch, version: int, *, closes: bool) -> int:
    known = entry if version == entry.version else replace(entry, cursor=batch.cursor)  # its records are not the first
    done = store.writer.persist(
        dataset_id, known, batch, generation=1, version=version, closes="keep" if closes else None
    )
    return done.version


def _batches(numbered: Iterator[tuple[int, list[str]]], maker: RecordMaker, table: Table, size: int) -> Iterator[Batch]:
    """Batches of rows; the cursor's offset is the number of the first row behind the batch."""
    for rows in in_batches(numbered, size):
        records = [record for number, row in rows if (record := _record(maker, number, row[table.text_index]))]
        cursor = Cursor(format=FORMAT, offset=rows[-1][0] + 1)
        yield Batch(records=records, defects=(), cursor=cursor, size_bytes=0)


def _record(maker: RecordMaker, number: int, text: str) -> Record | None:
    made = maker.record(Event(iteration=0, idx_in_iteration=number, type=ROW_TYPE, text=text))
    return made if isinstance(made, Record) else None
