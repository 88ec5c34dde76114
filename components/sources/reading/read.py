"""Open sources to batches: from their start, or on from a cursor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial

from components.contracts import Batch, Cursor, Defect, Event, Json, Record
from components.errors import NotReady
from components.sources import cursors
from components.sources.fingerprints import Fingerprint
from components.sources.formats.contract import ASKED, Read
from components.sources.opener import Opened, up_to
from components.sources.reading.archives import from_archive
from components.sources.reading.batches import Job, safely
from components.sources.reading.documents import document_again, from_document, from_parquet
from components.sources.reading.lines import from_lines
from components.sources.recognition.recognise import Recognition, document_row


def from_start(job: Job, opened: Opened, recognition: Recognition) -> Iterator[Batch]:
    """All batches of a source that was just recognised."""
    candidate = recognition.candidate
    state: dict[str, Json] = {"kind": candidate.kind, "shape": job.format.shape}
    if candidate.table:
        state |= {"delimiter": candidate.table.delimiter, "header": list(candidate.table.header)}
    if digest := job.options.corpus_digest:
        state[ASKED] = digest
    if candidate.kind == "array":
        state["begin"] = candidate.begin
    if candidate.kind == "text" and job.format.unit_of:
        state["unit"] = job.format.unit_of(candidate.head.text)
    if names := _former_run_names(job, recognition):
        state["run_names"] = names
    match candidate.kind:
        case "document":
            assert candidate.document is not None
            return from_document(job, opened, state, candidate.document)
        case "archive":
            return from_archive(job, opened, state)
        case "parquet":
            return from_parquet(job, opened, state)
        case _:
            return from_lines(job, opened, state, Fingerprint(), n_neutral=recognition.n_neutral)


def _former_run_names(job: Job, recognition: Recognition) -> dict[str, str]:
    """Run -> its name when the first line was alone and read as a document: it keeps that name in the log."""
    row = document_row(recognition)
    if row is None or (read := row.read) is None or job.format.reader is None:
        return {}
    first, reader = recognition.candidate.head.lines[0], job.format.reader(None, job.options)
    as_document = _runs_of(row.name, partial(read, first, job.options))
    as_line = _runs_of(row.name, partial(reader.read, first))
    return {name: former for name, former in zip(as_line, as_document, strict=False) if name != former}


def _runs_of(name: str, read: Callable[[], Iterable[Read]]) -> list[str]:
    return [got.run for got in safely(name, read) if isinstance(got, Event)]


def defect_batch(opened: Opened, reason: str) -> Batch:
    """What is stored of a source that can't be read at all: the reason, and a cursor from which a change is read again."""
    state = {"kind": "document", "shape": "document"}
    cursor = Cursor(format="", inode=opened.inode, state=state)
    return Batch(records=(), defects=(Defect(offset=0, reason=reason),), cursor=cursor, size_bytes=0)


def from_cursor(job: Job, opened: Opened, cursor: Cursor) -> Iterator[Batch]:
    """The batches of a source after `cursor`."""
    state = dict(cursor.state)
    match state.get("kind"):
        case "document":
            document = document_again(opened, cursor, job.settings.max_item_bytes)
            return from_document(job, opened, state, document, skip=state.get("items", 0))
        case "archive":
            return from_archive(job, opened, state)
        case "parquet":
            return from_parquet(job, opened, state)
        case _:
            return from_lines(job, opened, state, cursors.fingerprint(opened, cursor))


def records_before(job: Job, opened: Opened, cursor: Cursor, offset: int) -> Iterator[Record]:
    """The records of a growing log up to `offset`, as read from its start: their positions may differ."""
    state = {key: value for key, value in cursor.state.items() if key not in {"reader", "calls", "chain", "waits"}}
    with suppress(NotReady):
        for batch in from_lines(job, up_to(opened, offset), state, Fingerprint()):
            yield from batch.records
