"""Open sources to batches: one reading for line by line, one for whole documents, one for archives.

Formats are pure and may meet anything; what they raise on an item is caught here, at one door, and becomes a defect.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import orjson

from components.contracts import Batch, Cursor, Defect, Event, Json, Record, Skipped
from components.errors import NotReady, ReadFailed, Unreadable
from components.settings import LoadSettings
from components.sources import cursors, lines, parquet, parsing, zips
from components.sources.fingerprints import Fingerprint, Prints
from components.sources.formats import plain_text
from components.sources.formats.contract import Format, LineReader, Options, Read
from components.sources.opener import Opened, up_to
from components.sources.recognise import GENERIC, Recognition, document_row, read_document
from components.sources.records import RecordMaker, clean_text
from components.sources.recovery import Recovery, Stretch, place_of

NOTHING_TO_READ = Skipped(rule="item without anything to read", is_unknown=True)
NO_RUN = Skipped(rule="archive member that holds no run")
EXCERPT_CHARS = 200
REASON_CHARS = 400
REDACTED_CHARS = 4_000  # of an excerpt or reason are looked at for secrets before it is cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What it takes to read one source."""

    format: Format
    options: Options
    settings: LoadSettings
    maker: RecordMaker
    is_quiet: Callable[[Opened], bool]

    @property
    def waits_until_quiet(self) -> str:
        """What a source without an end mark waits for."""
        return f"A later load takes it once it was left alone for {self.settings.quiet_s:g} s (load.quiet_s)."


@dataclass(slots=True)
class Gathered:
    """The batch that is being filled."""

    job: Job
    records: list[Record] = field(default_factory=list)
    defects: list[Defect] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    n_unknown: int = 0
    unknown_bytes: int = 0
    sessions: set[str] = field(default_factory=set)
    size_bytes: int = 0

    @property
    def is_full(self) -> bool:
        settings = self.job.settings
        if self.size_bytes >= settings.batch_bytes:
            return True
        return len(self.records) + len(self.defects) >= settings.batch_records

    def add(self, got: Read, offset: int) -> None:
        """Take in what a format made of the item at `offset`."""
        made = self.job.maker.record(got) if isinstance(got, Event) else got
        if isinstance(made, Record):
            self.records.append(made)
            if (key := self.job.format.session_key) and isinstance(session := made.extra.get(key), str):
                self.sessions.add(session)
        elif isinstance(made, Skipped):
            self.skipped[made.rule] += 1
            self.n_unknown += made.is_unknown
        else:
            self.defects.append(self._shown(made, offset))

    def defect(self, offset: int, reason: str, raw: bytes = b"") -> None:
        excerpt = raw[:REDACTED_CHARS].decode("utf-8", "replace").replace("\x00", "\ufffd").strip()
        self.defects.append(self._shown(Defect(offset=0, reason=reason, excerpt=excerpt), offset))

    def _shown(self, defect: Defect, offset: int) -> Defect:
        """The defect at its offset, without secrets, short enough to be read."""
        clean = partial(clean_text, redactor=self.job.maker.redactor)
        reason, excerpt = (clean(text, REDACTED_CHARS) for text in (defect.reason, defect.excerpt))
        return Defect(offset=offset, reason=reason[:REASON_CHARS], excerpt=excerpt[:EXCERPT_CHARS].strip())

    def add_all(self, read: Callable[[Json], Iterable[Read]], item: Json, offset: int, raw: bytes = b"") -> None:
        """All that the format makes of one item, or a defect in its place if the format raises.

        An item of which the format makes nothing at all is counted too: none is left out without a word.
        """
        try:
            found = list(read(item)) or [NOTHING_TO_READ]
            for got in found:
                self.add(got, offset)
            if all(isinstance(got, Skipped) and got.is_unknown for got in found):
                self.unknown_bytes += len(raw)
        except Exception as error:  # noqa: BLE001 - the one door to the formats: an odd item must not cost its file
            self.defect(offset, f"{self.job.format.name} can't read this item: {_told(error)}", raw)

    def batch(self, cursor: Cursor) -> Batch:
        """What was gathered, as a batch; gathering starts anew."""
        batch = Batch(
            records=self.records,
            defects=self.defects,
            cursor=cursor,
            size_bytes=self.size_bytes,
            skipped=dict(self.skipped),
            n_unknown=self.n_unknown,
            unknown_bytes=self.unknown_bytes,
            sessions=frozenset(self.sessions),
            redacted=self.job.maker.redactor.take() if self.job.maker.redactor else {},
        )
        self.records, self.defects, self.skipped, self.sessions = [], [], Counter(), set()
        self.size_bytes = self.n_unknown = self.unknown_bytes = 0
        return batch


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:REDACTED_CHARS]


def from_start(job: Job, opened: Opened, recognition: Recognition) -> Iterator[Batch]:
    """All batches of a source that was just recognised."""
    shown = recognition.shown
    state: dict[str, Json] = {"kind": shown.kind, "shape": job.format.shape}
    if shown.table:
        state |= {"delimiter": shown.table.delimiter, "header": list(shown.table.header)}
    if shown.kind == "text":
        state["unit"] = plain_text.unit_of(shown.head.text)
    if names := _names_alone(job, recognition):
        state["run_names"] = names
    match shown.kind:
        case "document":
            assert shown.document is not None
            return _document(job, opened, state, shown.document.value, shown.document.prints, skip=0)
        case "archive":
            return _archive(job, opened, state)
        case "parquet":
            return _parquet(job, opened, state)
        case _:
            return _lines(job, opened, state, Fingerprint(), n_neutral=recognition.n_neutral)


def _names_alone(job: Job, recognition: Recognition) -> dict[str, str]:
    """What the first line's runs are called where that line alone was a document: they keep their names in the log."""
    row = document_row(recognition)
    if row is None or (read := row.read) is None or job.format.reader is None:
        return {}
    first, reader = recognition.shown.head.lines[0], job.format.reader(None, job.options)
    by_itself = _runs_of(row.name, partial(read, first, job.options))
    in_the_log = _runs_of(row.name, partial(reader.read, first))
    return {name: alone for name, alone in zip(in_the_log, by_itself, strict=False) if name != alone}


def _runs_of(name: str, read: Callable[[], Iterable[Read]]) -> list[str]:
    return [got.run for got in _safely(name, read) if isinstance(got, Event)]


def only_defect(opened: Opened, reason: str) -> Batch:
    """What is kept of a source of which nothing can be read: the reason, and a cursor that is read anew on a change."""
    state = {"kind": "document", "shape": "document"}
    cursor = Cursor(format="", inode=opened.inode, state=state)
    return Batch(records=(), defects=(Defect(offset=0, reason=reason),), cursor=cursor, size_bytes=0)


def from_cursor(job: Job, opened: Opened, cursor: Cursor) -> Iterator[Batch]:
    """The batches of a source after `cursor`."""
    state = dict(cursor.state)
    match state.get("kind"):
        case "document":
            document = _document_again(opened, cursor, job.settings.max_item_bytes)
            return _document(job, opened, state, *document, skip=state.get("items", 0))
        case "archive":
            return _archive(job, opened, state)
        case "parquet":
            return _parquet(job, opened, state)
        case _:
            return _lines(job, opened, state, cursors.fingerprint(opened, cursor))


def records_before(job: Job, opened: Opened, cursor: Cursor, offset: int) -> Iterator[Record]:
    """The records of a log that grows line by line, up to `offset`, as read from its start: their places may differ."""
    state = {key: value for key, value in cursor.state.items() if key not in {"reader", "chain", "waits"}}
    with suppress(NotReady):
        for batch in _lines(job, up_to(opened, offset), state, Fingerprint()):
            yield from batch.records


# --- line by line ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Lines:
    """The reading of a growing source: what the format remembers, and what the batch holds so far."""

    job: Job
    opened: Opened
    state: dict[str, Json]
    reader: LineReader
    prints: Fingerprint
    gathered: Gathered
    values: Callable[[bytes], Sequence[Json]]
    recovery: Recovery

    def take(self, piece: lines.Piece) -> bool:
        """Take the piece in; False if it is no whole item yet and has to wait."""
        if self.recovery.held:
            return self._recover(self.recovery.add(piece))
        try:
            values = self.values(piece.data)
        except ValueError as error:
            if self.state["kind"] in {"json", "stacked"}:
                return self._recover(self.recovery.add(piece))
            if piece.kind == "open":
                return False
            self.gathered.defect(piece.start, str(error), piece.data)
            values = []
        if piece.kind == "open" and not self._may_end_with(values):
            return False
        place = place_of(piece) if self.state["kind"] == "json" else piece.start
        for value in values:
            if isinstance(value, Defect):
                self.gathered.add(value, piece.start)
            elif self.state["kind"] == "csv":
                row = _as_item(self.job.format, value)
                self.gathered.add_all(self.reader.read, row, piece.start, piece.data)
            elif isinstance(value, dict | list | str):
                self.gathered.add_all(self.reader.read, value, place, piece.data)
            else:
                self.gathered.defect(place, "not a JSON object", piece.data)
        self.accept(piece.data)
        return True

    def _recover(self, settled: Sequence[Stretch]) -> bool:
        """Take in what lines held that are not one value each; False while the last ones may still go on."""
        for stretch in settled:
            for found in stretch.found:
                if found.reason:
                    self.gathered.defect(found.offset, found.reason, found.raw)
                else:
                    self.gathered.add_all(self.reader.read, found.value, found.offset, found.raw)
            self.accept(stretch.data)
        return not self.recovery.held

    def give_up_held(self) -> None:
        """Take the lines that were held back as they are: what follows can't complete them."""
        self._recover(self.recovery.flush())

    def _may_end_with(self, values: Sequence[Json]) -> bool:
        """A JSON object can't go on after its brace; rows and text may, until the source is quiet."""
        if self.state["kind"] in {"json", "stacked"}:
            return bool(values) and all(isinstance(value, dict | list) for value in values)
        return self.job.is_quiet(self.opened)

    def accept(self, data: bytes) -> None:
        self.prints.feed(data)
        self.gathered.size_bytes += len(data)

    def cursor(self, *, finished_bytes: int | None = None, waits: bool = False) -> Cursor:
        state = {key: value for key, value in self.state.items() if key not in {"waits", "chain"}}
        state["reader"] = cursors.as_json(self.reader.state())
        if waits:
            state["waits"] = True
        return cursors.make(
            self.opened, self.job.format.name, self.prints.prints(), state, finished_bytes=finished_bytes
        )


def _lines(
    job: Job, opened: Opened, state: dict[str, Json], prints: Fingerprint, *, n_neutral: int = 0
) -> Iterator[Batch]:
    assert job.format.reader is not None
    start = prints.prints().offset
    reader = job.format.reader(state.get("reader"), job.options)
    job = replace(job, maker=replace(job.maker, run_names=state.get("run_names", {})))
    reading = _Lines(
        job=job,
        opened=opened,
        state=state,
        reader=reader,
        prints=prints,
        gathered=Gathered(job=job),
        values=_parser(state, skip_header=start == 0),
        recovery=Recovery(),
    )
    reason = ""
    long_start, before_long = start, prints
    for piece in _pieces(opened, state, start, job.settings.max_item_bytes):
        if piece.kind in {"part", "last_part"}:
            reading.give_up_held()
            if before_long is reading.prints:
                long_start, before_long = piece.start, reading.prints
                reading.prints = before_long.copy()
            reading.accept(piece.data)
            if piece.kind == "last_part":
                size = piece.start + len(piece.data) - long_start
                reading.gathered.defect(long_start, f"a line of {size:,} bytes, larger than load.max_item_bytes")
                before_long = reading.prints
            reason = "The last line is very long and not complete." if piece.kind == "part" else ""
        elif reading.take(piece):
            reason = ""
        else:
            at, size = reading.recovery.place or (piece.start, len(piece.data))
            reason = f"The last item, {size:,} bytes at offset {at:,}, is not complete yet."
        if reading.gathered.is_full and before_long is reading.prints:
            yield reading.gathered.batch(reading.cursor())
    if before_long is not reading.prints:
        reading.prints = before_long
    yield from _last_lines(reading, reason)
    if n_neutral:
        raise NotReady(
            f"It holds {n_neutral:,} lines of bookkeeping of {job.format.name} and no message yet; "
            "it is read on once it grows."
        )


def _last_lines(reading: _Lines, reason: str) -> Iterator[Batch]:
    opened = reading.opened
    if opened.damage:
        reading.give_up_held()
        reading.gathered.defect(reading.prints.prints().offset, f"Nothing more can be read: {opened.damage}")
        reason = ""
    elif opened.cut:
        reason = "The packed file stops before its end; it is being written or was cut short."
    size_bytes = opened.size_bytes
    if opened.seekable:  # as much as was there when its end was reached, not when it was opened
        size_bytes = max(opened.file.tell(), reading.prints.offset)
    yield reading.gathered.batch(reading.cursor(finished_bytes=size_bytes, waits=bool(reason)))
    if reason:
        raise NotReady(reason)


def _pieces(opened: Opened, state: Mapping[str, Json], start: int, max_bytes: int) -> Iterator[lines.Piece]:
    found = lines.lines(opened.blocks(start), start, max_bytes)
    if state["kind"] == "stacked":
        return lines.stacked(found, max_bytes)
    if state["kind"] == "csv":
        return lines.rows(found, max_bytes)
    if state["kind"] == "text":
        unit = state["unit"]
        closes = partial(plain_text.begins_item, unit)
        return lines.grouped(found, closes, at_blank_line=unit == "paragraph", max_bytes=max_bytes)
    return found


def _parser(state: Mapping[str, Json], *, skip_header: bool) -> Callable[[bytes], Sequence[Json]]:
    """What turns an item's bytes into values; the first row of a table is its header."""
    if state["kind"] in {"json", "stacked"}:
        return parsing.json_values
    if state["kind"] == "text":
        return lambda raw: [text] if (text := parsing.text_from(raw).strip("\r\n")).strip() else []
    header, delimiter, ahead = state["header"], state["delimiter"], skip_header

    def row(raw: bytes) -> Sequence[Json]:
        nonlocal ahead
        if not raw.strip():
            return []
        rows = parsing.csv_rows(parsing.text_from(raw), delimiter)
        rows, ahead = rows[int(ahead) :], False
        return [_row_value(header, fields) for fields in rows]

    return row


def _as_item(format: Format, row: Json) -> Json:
    """A row of a table as its format reads it: only the generic one knows columns, the others know objects."""
    return row if format.name == GENERIC else parsing.unfolded(row)


def _row_value(header: Sequence[str], fields: Sequence[str]) -> Json | Defect:
    try:
        return parsing.row_item(header, fields)
    except ValueError as error:
        return Defect(offset=0, reason=str(error))


# --- whole documents -------------------------------------------------------------------------------------------


def _document_again(opened: Opened, cursor: Cursor, limit_bytes: int) -> tuple[Json, Prints]:
    try:
        document = read_document(opened, limit_bytes)
    except ValueError as error:
        raise Unreadable(f"The document is damaged: {error}.") from error
    if document.prints.content != cursor.content:
        raise NotReady("The document changed while it was read.")
    return document.value, document.prints


def _document(
    job: Job, opened: Opened, state: dict[str, Json], value: Json, prints: Prints, *, skip: int
) -> Iterator[Batch]:
    assert job.format.read is not None
    end = job.format.end(value)
    if opened.has_changed() or not (end.mark or job.is_quiet(opened)):
        raise NotReady(f"The document may still be written: {end.reason}. {job.waits_until_quiet}")
    read = partial(job.format.read, value, job.options)
    yield from _items(job, opened, state, read, lambda: prints, skip=skip, size_bytes=prints.offset)


def _items(
    job: Job,
    opened: Opened,
    state: dict[str, Json],
    read: Callable[[], Iterable[Read]],
    prints: Callable[[], Prints],
    *,
    skip: int,
    size_bytes: int,
) -> Iterator[Batch]:
    """Batches of a source whose items are counted instead of its bytes; `skip` items were taken before."""
    gathered = Gathered(job=job)
    state = {key: one for key, one in state.items() if key not in {"items", "chain", "waits"}}
    for n, got in enumerate(_safely(job.format.name, read), start=1):
        if n <= skip:
            continue
        gathered.add(got, n - 1)
        if gathered.is_full:
            mid = {**state, "items": n}
            yield gathered.batch(cursors.make(opened, job.format.name, prints(), mid, finished_bytes=None))
    gathered.size_bytes = size_bytes
    yield gathered.batch(cursors.make(opened, job.format.name, prints(), state, finished_bytes=opened.size_bytes))


def _safely(name: str, read: Callable[[], Iterable[Read]]) -> Iterator[Read]:
    """The format's items; what it raises ends them with a defect."""
    n = 0
    try:
        for got in read():
            yield got
            n += 1
    except (NotReady, Unreadable):
        raise
    except OSError as error:  # of the file, not of what stands in it: read again another time
        raise ReadFailed(f"Reading failed: {error.strerror or error}.") from error
    except Exception as error:  # noqa: BLE001 - the same door, for formats that read a whole document
        yield Defect(offset=n, reason=f"{name} can't read the rest: {_told(error)}")


# --- Parquet ---------------------------------------------------------------------------------------------------


def _parquet(job: Job, opened: Opened, state: dict[str, Json]) -> Iterator[Batch]:
    assert job.format.reader is not None
    if opened.has_changed():
        raise NotReady("The Parquet file is being written.")
    prints = Fingerprint()
    for block in opened.blocks():
        prints.feed(block)
    taken = prints.prints()
    reader = job.format.reader(None, job.options)

    def read() -> Iterator[Read]:
        for row in parquet.rows(opened):
            yield from _one(job.format.name, reader, _as_item(job.format, row))

    yield from _items(job, opened, state, read, lambda: taken, skip=state.get("items", 0), size_bytes=taken.offset)


def _one(name: str, reader: LineReader, row: Json) -> Iterable[Read]:
    try:
        return list(reader.read(row)) or [NOTHING_TO_READ]
    except Exception as error:  # noqa: BLE001 - the same door, row by row
        return [Defect(offset=0, reason=f"{name} can't read this row: {_told(error)}")]


# --- archives --------------------------------------------------------------------------------------------------


def _archive(job: Job, opened: Opened, state: dict[str, Json]) -> Iterator[Batch]:
    """Batches of the members that were not read before; `state["members"]` tells name -> checksum of those that were."""
    listing = zips.listing(opened)
    _expect_end(job, opened, listing)
    finished: dict[str, int] = dict(state.get("members", {}))
    begun: dict[str, Any] = dict(state.get("begun", {}))
    gathered = Gathered(job=job)
    is_first_look = not finished and not begun
    for member in listing.members:
        if not _takes(job.format, member.name):
            if is_first_look:
                gathered.add(NO_RUN, 0)
            continue
        if finished.get(member.name) == member.crc:
            continue
        skip = begun["items"] if begun.get("crc") == member.crc and begun.get("name") == member.name else 0
        read = partial(_member_items, job, opened, member)
        gathered.size_bytes += member.packed_bytes
        for n, got in enumerate(_safely(job.format.name, read), start=1):
            if n > skip:
                gathered.add(got, n - 1)
            if gathered.is_full:
                begun = {"name": member.name, "crc": member.crc, "items": n}
                yield gathered.batch(_archive_cursor(job, opened, finished, begun, listed=""))
        finished[member.name] = member.crc
        begun = {}
    listed = cursors.listing_digest(listing.members)
    last = _archive_cursor(job, opened, finished, {}, listed=listed)
    if not listing.whole:
        last = replace(last, state={**last.state, "waits": True})
    yield gathered.batch(last)
    if not listing.whole:
        raise NotReady(
            "The archive has no directory; it is being written or was cut short. Its whole members were read."
        )


def _takes(format: Format, name: str) -> bool:
    return format.takes is None or format.takes(name)


def _member_items(job: Job, opened: Opened, member: zips.Member) -> Iterable[Read]:
    assert job.format.read_member is not None
    try:
        raw = zips.content(opened, member, job.settings.max_item_bytes)
        values = parsing.json_values(raw.replace(b"\r", b" "))
    except ValueError as error:
        return [Defect(offset=0, reason=f"{member.name}: {error}")]
    if len(values) != 1:
        return [Defect(offset=0, reason=f"{member.name}: not one JSON value")]
    return job.format.read_member(member.name, values[0], job.options)


def _expect_end(job: Job, opened: Opened, listing: zips.Listing) -> None:
    """Raises `NotReady` unless the archive carries its end mark or was left alone for a while."""
    if job.is_quiet(opened):
        return
    for member in listing.members:
        if member.name == job.format.end_member:
            try:
                end = job.format.end(orjson.loads(zips.content(opened, member, job.settings.max_item_bytes)))
            except Exception as error:  # the format meets whatever is in there
                raise NotReady(f"The archive's end can't be read: {_told(error)}") from error
            if end.mark:
                return
            raise NotReady(f"The archive may still be written: {end.reason}. {job.waits_until_quiet}")
    raise NotReady(f"The archive may still be written: its end mark is not there. {job.waits_until_quiet}")


def _archive_cursor(
    job: Job, opened: Opened, finished: Mapping[str, int], begun: Mapping[str, Any], *, listed: str
) -> Cursor:
    """`listed` is the digest of the archive's listing once all of it was read, "" before."""
    state: dict[str, Json] = {"kind": "archive", "shape": "archive", "members": dict(finished)}
    return Cursor(
        format=job.format.name,
        size_bytes=opened.size_bytes if listed else 0,
        mtime_ns=opened.mtime_ns if listed else 0,
        ctime_ns=opened.ctime_ns if listed else 0,
        birth_ns=opened.birth_ns,
        inode=opened.inode,
        content=listed,
        state={**state, "begun": dict(begun)} if begun else state,
    )
