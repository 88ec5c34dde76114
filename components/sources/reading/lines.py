"""Sources that grow line by line: JSON lines, CSV, text. Each batch ends at an item, and reading resumes there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from components.columns import OpenCalls
from components.contracts import Batch, Cursor, Defect, Json
from components.errors import NotReady
from components.sources import cursors, elements, lines, parsing
from components.sources.fingerprints import Fingerprint
from components.sources.formats.contract import LineReader
from components.sources.opener import Opened
from components.sources.reading.batches import BatchBuilder, Job, as_item
from components.sources.recovery import Recovery, Stretch, offset_of


def from_lines(
    job: Job, opened: Opened, state: dict[str, Json], prints: Fingerprint, *, n_neutral: int = 0
) -> Iterator[Batch]:
    """Batches from the end of what `prints` cover; `state` is the cursor's.

    Raises `NotReady` at the end where the last item is not complete, or where all `n_neutral` lines are bookkeeping.
    """
    assert job.format.reader is not None
    start = prints.prints().offset
    reader = job.format.reader(state.get("reader"), job.options)
    calls = OpenCalls(dict(state.get("calls", {})))
    job = replace(job, maker=replace(job.maker, run_names=state.get("run_names", {}), calls=calls))
    reading = _Reading(
        job=job,
        opened=opened,
        state=state,
        reader=reader,
        prints=prints,
        batch=BatchBuilder(job=job),
        values=_parser(state, skip_header=start == 0),
        recovery=Recovery(),
    )
    reason = ""
    for piece in _pieces(job, opened, state, start):
        reason = reading.skip_long(piece) if piece.kind in {"part", "last_part"} else reading.add(piece)
        if reading.batch.is_full and reading.before_long is None:
            yield reading.batch.take(reading.cursor())
    reason = reading.at_end(reason)
    size_bytes = opened.size_bytes
    if opened.seekable:  # as much as was there when its end was reached, not when it was opened
        size_bytes = max(opened.file.tell(), reading.prints.offset)
    yield reading.batch.take(reading.cursor(finished_bytes=size_bytes, waits=bool(reason)))
    if reason:
        raise NotReady(reason)
    if n_neutral:
        raise NotReady(
            f"It holds {n_neutral:,} lines of bookkeeping of {job.format.name} and no message yet; "
            "a later load reads on once it grows."
        )


@dataclass(slots=True)
class _Reading:
    """The reading of a growing source: the format's reader with its memory, and the batch so far."""

    job: Job
    opened: Opened
    state: dict[str, Json]
    reader: LineReader
    prints: Fingerprint
    batch: BatchBuilder
    values: Callable[[bytes], Sequence[Json]]
    recovery: Recovery
    long_start: int = 0
    before_long: Fingerprint | None = None  # within a line that is too long

    def add(self, piece: lines.Piece) -> str:
        """Read the piece. Gives why it has to wait where it is not yet a whole item, else ""."""
        if self._read(piece):
            return ""
        at, size = self.recovery.held_at or (piece.start, len(piece.data))
        return f"The last item, {size:,} bytes at offset {at:,}, is not complete yet."

    def skip_long(self, piece: lines.Piece) -> str:
        """Leave out a part of a line that is too long; the last one makes it a defect. Gives why it has to wait, or ""."""
        self._release_held()
        if self.before_long is None:
            self.long_start, self.before_long = piece.start, self.prints
            self.prints = self.before_long.copy()
        self._accept(piece.data)
        if piece.kind == "part":
            return "The last line is very long and not complete."
        size = piece.start + len(piece.data) - self.long_start
        self.batch.add_defect(self.long_start, f"a line of {size:,} bytes, larger than load.max_item_bytes")
        self.before_long = None
        return ""

    def at_end(self, reason: str) -> str:
        """Take back an open line that is too long; of a damaged source read all. Gives why the rest has to wait, or ""."""
        if self.before_long is not None:
            self.prints, self.before_long = self.before_long, None
        if self.opened.damage:
            self._release_held()
            self.batch.add_defect(self.prints.prints().offset, f"Nothing more can be read: {self.opened.damage}")
            return ""
        return (
            "The packed file stops before its end; it is being written or was cut short." if self.opened.cut else reason
        )

    def _read(self, piece: lines.Piece) -> bool:
        """Read the piece; False if it is not yet a whole item, so that it has to wait."""
        if self.recovery.held:
            return self._recover(self.recovery.add(piece))
        try:
            values = self.values(piece.data)
        except ValueError as error:
            if self.state["kind"] in {"json", "stacked"}:
                return self._recover(self.recovery.add(piece))
            if piece.kind == "open":
                return False
            self.batch.add_defect(piece.start, str(error), piece.data)
            values = []
        if piece.kind == "open" and not self._may_end_with(values):
            return False
        offset = offset_of(piece) if self.state["kind"] == "json" else piece.start
        for value in values:
            if isinstance(value, Defect):
                self.batch.add(value, piece.start)
            elif self.state["kind"] == "csv":
                row = as_item(self.job.format, value)
                self.batch.add_all(self.reader.read, row, piece.start, piece.data)
            elif isinstance(value, dict | list | str):
                self.batch.add_all(self.reader.read, value, offset, piece.data)
            else:
                self.batch.add_defect(offset, "not a JSON object", piece.data)
        self._accept(piece.data)
        return True

    def _recover(self, settled: Sequence[Stretch]) -> bool:
        """Read what is whole in lines that are not one value each; False while the last ones may still go on."""
        for stretch in settled:
            for found in stretch.found:
                if found.reason:
                    self.batch.add_defect(found.offset, found.reason, found.raw)
                else:
                    self.batch.add_all(self.reader.read, found.value, found.offset, found.raw)
            self._accept(stretch.data)
        return not self.recovery.held

    def _release_held(self) -> None:
        """Read the lines that were held back as they are: what follows can't complete them."""
        self._recover(self.recovery.flush())

    def _may_end_with(self, values: Sequence[Json]) -> bool:
        """A JSON object can't go on after its brace; rows and text may, until the source is quiet."""
        if self.state["kind"] in {"json", "stacked"}:
            return bool(values) and all(isinstance(value, dict | list) for value in values)
        if self.state["kind"] == "array":  # the list goes on
            return False
        return self.job.is_quiet(self.opened)

    def _accept(self, data: bytes) -> None:
        """Count these bytes as read."""
        self.prints.feed(data)
        self.batch.size_bytes += len(data)

    def cursor(self, *, finished_bytes: int | None = None, waits: bool = False) -> Cursor:
        """The cursor after all that was accepted; see `cursors.make`."""
        state = {key: value for key, value in self.state.items() if key not in {"waits", "chain", "calls"}}
        if calls := self.job.maker.calls.tools:
            state["calls"] = dict(calls)
        state["reader"] = cursors.as_json(self.reader.state())
        if waits:
            state["waits"] = True
        return cursors.make(
            self.opened, self.job.format.name, self.prints.prints(), state, finished_bytes=finished_bytes
        )


def _pieces(job: Job, opened: Opened, state: Mapping[str, Json], start: int) -> Iterator[lines.Piece]:
    max_bytes = job.settings.max_item_bytes
    if state["kind"] == "array":
        return elements.elements(opened.blocks(start), start, state["begin"], max_bytes)
    found = lines.lines(opened.blocks(start), start, max_bytes)
    if state["kind"] == "stacked":
        return lines.stacked(found, max_bytes)
    if state["kind"] == "csv":
        return lines.rows(found, max_bytes)
    if state["kind"] == "text" and job.format.grouping:
        unit = state["unit"]
        return lines.grouped(found, job.format.grouping(unit), at_blank_line=unit == "paragraph", max_bytes=max_bytes)
    return found


def _parser(state: Mapping[str, Json], *, skip_header: bool) -> Callable[[bytes], Sequence[Json]]:
    """What turns an item's bytes into values; the first row of a table is its header."""
    if state["kind"] in {"json", "stacked"}:
        return parsing.json_values
    if state["kind"] == "text":
        return lambda raw: [text] if (text := parsing.text_from(raw).strip("\r\n")).strip() else []
    if state["kind"] == "array":
        return _element_parser(skip_header=skip_header)
    header, delimiter, ahead = state["header"], state["delimiter"], skip_header

    def row(raw: bytes) -> Sequence[Json]:
        nonlocal ahead
        if not raw.strip():
            return []
        rows = parsing.csv_rows(parsing.text_from(raw), delimiter)
        rows, ahead = rows[int(ahead) :], False
        return [_row_value(header, fields) for fields in rows]

    return row


def _element_parser(*, skip_header: bool) -> Callable[[bytes], Sequence[Json]]:
    """What turns an element with the separators before it into values; what is around the list is none."""
    is_before, is_behind = skip_header, False

    def values(raw: bytes) -> Sequence[Json]:
        nonlocal is_before, is_behind
        if is_before:
            is_before = False
            return ()
        bare = raw.strip(elements.SEPARATORS)
        is_behind = is_behind or bare.startswith(b"]")
        return () if is_behind or not bare else (parsing.json_value(bare),)

    return values


def _row_value(header: Sequence[str], fields: Sequence[str]) -> Json | Defect:
    try:
        return parsing.row_item(header, fields)
    except ValueError as error:
        return Defect(offset=0, reason=str(error))
