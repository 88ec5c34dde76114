"""Sources that are read whole, and whose items are counted instead of their bytes: JSON documents, Parquet tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from components.contracts import Batch, Cursor, Defect, Json
from components.errors import NotReady, Unreadable
from components.sources import cursors, parquet
from components.sources.documents import Document, prints_of, read_document
from components.sources.fingerprints import Prints
from components.sources.formats.contract import LineReader, Read
from components.sources.opener import Opened
from components.sources.reading.batches import NOTHING_TO_READ, BatchBuilder, Job, as_item, safely, spelled


def document_again(opened: Opened, cursor: Cursor, limit_bytes: int) -> Document:
    """The document that `cursor` was made from. Raises `NotReady` if it has changed, `Unreadable`."""
    try:
        document = read_document(opened, limit_bytes)
    except ValueError as error:
        raise Unreadable(f"The document is damaged: {error}.") from error
    if document.prints.content != cursor.content:
        raise NotReady("The document changed while it was read.")
    return document


def from_document(
    job: Job, opened: Opened, state: dict[str, Json], document: Document, *, skip: int = 0
) -> Iterator[Batch]:
    """Batches of a document's items after the first `skip`. Raises `NotReady` where it may still be written."""
    assert job.format.read is not None
    end = job.format.end(document.value)
    if opened.has_changed() or not (end.mark or job.is_quiet(opened)):
        raise NotReady(f"The document may still be written: {end.reason}. {job.waits_until_quiet}")
    read = partial(job.format.read, document.value, job.options)
    yield from _items(job, opened, state, read, document.prints, skip=skip)


def from_parquet(job: Job, opened: Opened, state: dict[str, Json]) -> Iterator[Batch]:
    """Batches of a Parquet table's rows after those that `state` counts as read."""
    assert job.format.reader is not None
    if opened.has_changed():
        raise NotReady("The Parquet file is being written.")
    reader = job.format.reader(None, job.options)

    def read() -> Iterator[Read]:
        for row in parquet.rows(opened):
            yield from _reads_of(job.format.name, reader, as_item(job.format, row))

    yield from _items(job, opened, state, read, prints_of(opened), skip=state.get("items", 0))


def _reads_of(name: str, reader: LineReader, row: Json) -> Iterable[Read]:
    try:
        return list(reader.read(row)) or [NOTHING_TO_READ]
    except Exception as error:  # noqa: BLE001 - whatever a format raises: an odd row must not cost its table
        return [Defect(offset=0, reason=f"{name} can't read this row: {spelled(error)}")]


def _items(
    job: Job,
    opened: Opened,
    state: dict[str, Json],
    read: Callable[[], Iterable[Read]],
    prints: Prints,
    *,
    skip: int,
) -> Iterator[Batch]:
    """Batches of the items that `read` gives, after the first `skip`, which were taken before."""
    batch = BatchBuilder(job=job)
    state = {key: one for key, one in state.items() if key not in {"items", "chain", "waits"}}
    for n, got in enumerate(safely(job.format.name, read), start=1):
        if n <= skip:
            job.maker.pass_over(got)
            continue
        batch.add(got, n - 1)
        if batch.is_full:
            mid = {**state, "items": n}
            yield batch.take(cursors.make(opened, job.format.name, prints, mid, finished_bytes=None))
    batch.size_bytes = prints.offset
    yield batch.take(cursors.make(opened, job.format.name, prints, state, finished_bytes=opened.size_bytes))
