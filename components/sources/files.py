"""Files and database tables as a source of records: discovered, compared with the ledger, recognised, read."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Literal

from components.contracts import Batch, Cursor, Decision, Discovered, LedgerEntry, Locator, Record, no_records
from components.errors import NotReady, ReadFailed, SourceError, TooLarge, UnknownFormat
from components.redact import Redactor
from components.settings import CorpusSettings, LoadSettings
from components.sources import cursors, tables
from components.sources.cursors import LINE_KINDS
from components.sources.discover import discover
from components.sources.formats.contract import ASKED, Format, Options
from components.sources.formats.corpus import CORPUS
from components.sources.opener import Opened, open_file
from components.sources.read_totals import ReadTotals
from components.sources.reading.batches import Job
from components.sources.reading.read import defect_batch, from_cursor, from_start, records_before
from components.sources.recognition.corpora import recognise_corpus
from components.sources.recognition.recognise import GENERIC, Recognition, expect_format, named, recognise
from components.sources.recognition.unsupported import refuse_unsupported
from components.sources.records import RecordMaker, zone_named
from components.sources.stores.stores import Stores


class FileSource:
    """The `DataSource` of files and database tables. `format` overrides recognition, `now` is the clock (epoch s)."""

    def __init__(
        self,
        settings: LoadSettings,
        *,
        timezone: str = "UTC",
        history: Literal["new", "all"] = "new",
        columns: Mapping[str, str] | None = None,
        format: str | None = None,
        corpus: CorpusSettings | None = None,
        redact: bool = True,
        now: Callable[[], float] = time.time,
    ) -> None:
        if format:
            expect_format(format)
        self.settings = settings
        self.format = format
        self.redact = redact
        self.now = now
        self.stores = Stores(now)
        self.options = Options(history=history, columns=columns or {}, corpus=corpus)
        self.zone = zone_named(timezone)

    def discover(self, specs: Sequence[str]) -> Discovered:
        """Every file, table and stored session that `specs` name, by key; what is not there is a problem.

        Of databases the list of their sessions is read, of all other files nothing.
        """
        return self.stores.expanded(discover(specs))

    def explain(self, source: Locator | str) -> Recognition:
        """Which format reads the file and why, and why the others declined. Raises what `read` would."""
        locator = Locator(location=source, key=source) if isinstance(source, str) else source
        with _file_errors(), self._open(locator) as opened:
            return self._recognised(opened, locator.location).without_content()

    def _open(self, locator: Locator) -> Opened:
        """The file, or the stored session as one."""
        return self.stores.open_session(locator) if locator.kind == "session" else open_file(locator.location)

    def totals(self, locator: Locator) -> ReadTotals:
        """What a load of the whole source would give now; nothing is stored. Of one being written, what is complete."""
        seen = ReadTotals()
        with suppress(NotReady):
            for batch in self.read(locator, None):
                seen.add(batch)
        return seen

    def decide(
        self,
        locator: Locator,
        entry: LedgerEntry | None,
        *,
        verify: bool = False,
        is_stored: Callable[[Iterable[Record]], bool] = no_records,
    ) -> Decision:
        """`skip`, `resume` or `read`; a file that the directory shows unchanged is not opened unless `verify`."""
        cursor = entry.cursor if entry else None
        if entry is None or cursor is None:
            return Decision(action="read", reason="new")
        if self.format and self.format != cursor.format:
            return Decision(action="read", reason=f"asked for as {self.format}, read before as {cursor.format}")
        if cursor.state.get(ASKED, "") != self.options.corpus_digest:
            return Decision(action="read", reason="other fields of its documents were asked for before")
        if locator.kind == "table":
            return Decision(action="resume", reason="a table shows its changes only when asked")
        here_before = entry.location == locator.location
        waits = bool(cursor.state.get("waits"))
        if here_before and not verify and not waits and cursors.is_unchanged(locator, cursor):
            return Decision(action="skip", reason="unchanged")
        if not here_before and not (cursor.offset or cursor.state.get("members")):
            return Decision(action="read", reason="new")
        with _file_errors():
            try:
                with self._open(locator) as opened:
                    if not here_before:
                        return self._decide_elsewhere(opened, locator, entry, cursor)
                    found = self._decide_by_content(opened, locator, cursor, verify=verify)
                    if found.action == "read" and (cut := self._cut_at_head(opened, locator, cursor, is_stored)):
                        return cut
                    return found
            except ReadFailed:
                raise
            except SourceError as error:
                return Decision(action="read", reason=str(error))

    def _decide_elsewhere(self, opened: Opened, locator: Locator, entry: LedgerEntry, cursor: Cursor) -> Decision:
        """For a file at another location than the source had: is it that source?"""
        found = self._decide_by_content(opened, locator, cursor, verify=True)
        if found.action == "read" or cursors.is_same_source(opened, entry, cursor, grew=found.action == "resume"):
            return found
        return Decision(action="read", reason="begins like a source that is gone, but may be another one")

    def _decide_by_content(self, opened: Opened, locator: Locator, cursor: Cursor, *, verify: bool) -> Decision:
        replaced = not cursors.is_same_file(opened, cursor) and opened.size_bytes == cursor.size_bytes
        is_document = cursor.state.get("kind") == "document"  # edited anywhere, unlike a log
        is_edited = is_document or locator.kind == "session" or self.options.corpus is not None
        found = cursors.compare(opened, cursor, whole=verify or replaced or is_edited)
        if not found.same:
            shrunk = locator.size_bytes < cursor.size_bytes
            return Decision(action="read", reason="truncated or replaced" if shrunk else "rewritten")
        if cursor.state.get("waits") or "items" in cursor.state:
            return Decision(action="resume", reason="was not read to its end")
        if not found.more:
            return Decision(action="skip", reason="the same content")
        if cursor.state.get("kind") in {"document", "parquet"}:
            return Decision(action="read", reason="the document changed")
        return Decision(action="resume", reason="appended to")

    def _cut_at_head(
        self, opened: Opened, locator: Locator, cursor: Cursor, is_stored: Callable[[Iterable[Record]], bool]
    ) -> Decision | None:
        """How to go on with a log that lost its oldest lines: after the last line that was read; None if it is none.

        Every record of the lines that count as read must be stored: then nothing new is left out.
        """
        kept = cursors.kept_tail(opened, cursor)
        if kept is None:
            return None
        job = self._job(locator, self._format_of(cursor))
        if not is_stored(records_before(job, opened, cursor, kept.offset)):
            return None
        return Decision(action="resume", reason="its oldest lines were cut off", cursor=kept)

    def is_copy(self, locator: Locator, original: Locator, entry: LedgerEntry | None) -> bool:
        """Does this file hold only the beginning of the original beside it, as in the middle of a rotation?

        Documents are rewritten all the time: of these only a packed file counts as a copy.
        """
        with _file_errors(), open_file(locator.location) as copy, open_file(original.location) as first:
            if copy.packing == "zip" or first.packing == "zip":
                return False
            is_packed = copy.packing != "plain" and first.packing == "plain"
            kind = entry.cursor.state.get("kind") if entry and entry.cursor else None
            if not is_packed and kind not in LINE_KINDS:
                return False
            return cursors.begins_with(first, copy)

    def read(self, locator: Locator, cursor: Cursor | None) -> Iterator[Batch]:
        """Batches from `cursor` on, each with the cursor after it; see `DataSource.read`."""
        try:
            yield from self._read(locator, cursor)
        except SourceError as error:  # it may quote what the source holds
            redacted = Redactor().redact(str(error)) if self.redact else str(error)
            if redacted == str(error):
                raise
            raise type(error)(redacted) from None

    def _read(self, locator: Locator, cursor: Cursor | None) -> Iterator[Batch]:
        if locator.kind == "table":
            yield from tables.read(locator, cursor, self._job(locator, named(self.format or GENERIC, "lines")))
            return
        with _file_errors(), self._open(locator) as opened:
            if cursor is None:
                try:
                    recognition = self._recognised(opened, locator.location)
                except TooLarge as error:
                    yield defect_batch(opened, str(error))
                    raise
                job = self._job(locator, recognition.format)
                yield from _as_listed(locator, from_start(job, opened, recognition))
            else:
                if opened.seekable and not cursors.compare(opened, cursor, whole=False).same:
                    raise NotReady("It was replaced while it was being read; a later load reads it again.")
                job = self._job(locator, self._format_of(cursor))
                yield from _as_listed(locator, from_cursor(job, opened, cursor))

    def _format_of(self, cursor: Cursor) -> Format:
        """The format that a source was read with."""
        return CORPUS if cursor.format == CORPUS.name else named(cursor.format, cursor.state.get("shape", "lines"))

    def _recognised(self, opened: Opened, path: str) -> Recognition:
        name = os.path.basename(path)  # noqa: PTH119
        refuse_unsupported(opened)
        try:
            if self.options.corpus:
                return recognise_corpus(opened, name, self.options.corpus, self.settings.max_item_bytes)
            return recognise(
                opened, name, item_bytes=self.settings.max_item_bytes, wanted=self.format, columns=self.options.columns
            )
        except UnknownFormat as error:
            if not self._is_quiet(opened):
                summary, _, reasons = str(error).partition("\n")
                quiet = f"once it has not changed for {self.settings.quiet_s:g} s (load.quiet_s)"
                raise NotReady(
                    f"{summary} It was written to just now; a later load looks again {quiet}.\n{reasons}"
                ) from error
            raise

    def _is_quiet(self, opened: Opened) -> bool:
        """Has the file not changed for `quiet_s`? A modification time in the future counts as long ago."""
        return abs(self.now() - opened.mtime_ns / 1e9) >= self.settings.quiet_s

    def _job(self, locator: Locator, format: Format) -> Job:
        return Job(
            format=format,
            options=self.options,
            settings=self.settings,
            maker=RecordMaker(
                key=locator.key,
                zone=self.zone,
                max_text_chars=self.settings.max_text_chars,
                redactor=Redactor() if self.redact else None,
            ),
            is_quiet=self._is_quiet,
        )


def _as_listed(locator: Locator, batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches; a cursor at the end of a stored session has its size as its store lists it."""
    try:
        for batch in batches:
            is_at_end = locator.kind == "session" and batch.cursor.mtime_ns
            yield replace(batch, cursor=replace(batch.cursor, size_bytes=locator.size_bytes)) if is_at_end else batch
    except NotReady as error:
        if locator.kind == "session" and "not complete yet" in str(error):
            raise NotReady("Its last message is not complete yet; a later load reads it.") from error
        raise


@contextmanager
def _file_errors() -> Iterator[None]:
    """Turns the system's errors of reading a file into ours."""
    try:
        yield
    except OSError as error:
        raise ReadFailed(f"Reading failed: {error.strerror or error}.") from error
