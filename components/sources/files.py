"""Files as a source of records: what they name, whether they changed, and what they say."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from components.contracts import Batch, Cursor, Decision, Discovered, LedgerEntry, Locator
from components.errors import BadSetting, NotReady, SourceError, TooLarge, UnknownFormat
from components.settings import LoadSettings
from components.sources import cursors, reading, tables
from components.sources.discover import discover
from components.sources.formats.contract import Format, Options
from components.sources.opener import Opened, open_file
from components.sources.recognise import (
    GENERIC,
    Limits,
    Recognition,
    named,
    recognise,
    refuse_other_files,
    without_document,
)
from components.sources.records import RecordMaker


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
        now: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.format = format
        self.now = now
        self.options = Options(history=history, columns=columns or {})
        self.limits = Limits(item_bytes=settings.max_item_bytes)
        try:
            self.zone = ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise BadSetting(f"There is no time zone {timezone!r}; use a name such as 'Europe/Berlin'.") from error

    def discover(self, specs: Sequence[str]) -> Discovered:
        """Every file and table that `specs` name, by key; what is not there is a problem. Reads no content."""
        return discover(specs)

    def explain(self, path: str) -> Recognition:
        """What the file is taken for and why, and why the others declined. Raises what `read` would."""
        with open_file(path) as opened:
            return without_document(self._recognised(opened, path))

    def decide(self, locator: Locator, entry: LedgerEntry | None, *, verify: bool = False) -> Decision:
        """`skip`, `resume` or `read`; a file that the directory shows unchanged is not opened unless `verify`."""
        cursor = entry.cursor if entry else None
        if entry is None or cursor is None:
            return Decision(action="read", reason="new")
        if self.format and self.format != cursor.format:
            return Decision(action="read", reason=f"asked for as {self.format}, read before as {cursor.format}")
        if locator.kind == "table":
            return Decision(action="resume", reason="a table shows its changes only when asked")
        here_before = entry.location == locator.location
        waits = bool(cursor.state.get("waits"))
        if here_before and not verify and not waits and _unchanged(locator, cursor):
            return Decision(action="skip", reason="unchanged")
        if not here_before and not (cursor.offset or cursor.state.get("members")):
            return Decision(action="read", reason="new")
        try:
            return self._decide_by_content(locator, cursor, whole=verify or not here_before)
        except SourceError as error:
            return Decision(action="read", reason=str(error))

    def _decide_by_content(self, locator: Locator, cursor: Cursor, *, whole: bool) -> Decision:
        with open_file(locator.location) as opened:
            replaced = opened.inode != cursor.inode and opened.size_bytes == cursor.size_bytes
            found = cursors.compare(opened, cursor, whole=whole or replaced or cursor.state.get("kind") == "document")
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

    def read(self, locator: Locator, cursor: Cursor | None) -> Iterator[Batch]:
        """Batches from `cursor` on, each with the cursor after it; see `DataSource.read`."""
        if locator.kind == "table":
            yield from tables.read(locator, cursor, self._job(locator, named(self.format or GENERIC, "lines")))
            return
        with open_file(locator.location) as opened:
            if cursor is None:
                try:
                    recognition = self._recognised(opened, locator.location)
                except TooLarge as error:
                    yield reading.only_defect(opened, str(error))
                    raise
                job = self._job(locator, recognition.format)
                yield from reading.from_start(job, opened, recognition)
            else:
                shape = cursor.state.get("shape", "lines")
                job = self._job(locator, named(cursor.format, shape))
                yield from reading.from_cursor(job, opened, cursor)

    def _recognised(self, opened: Opened, path: str) -> Recognition:
        name = os.path.basename(path)  # noqa: PTH119
        refuse_other_files(opened)
        try:
            return recognise(opened, name, limits=self.limits, wanted=self.format, columns=self.options.columns)
        except UnknownFormat as error:
            if not self._is_quiet(opened):
                told, _, reasons = str(error).partition("\n")
                quiet = f"once it was left alone for {self.settings.quiet_s:g} s (load.quiet_s)"
                raise NotReady(
                    f"{told} It was written to just now; a later load looks again {quiet}.\n{reasons}"
                ) from error
            raise

    def _is_quiet(self, opened: Opened) -> bool:
        """Was the file left alone for `quiet_s`? A time of writing in the future counts as long ago."""
        return abs(self.now() - opened.mtime_ns / 1e9) >= self.settings.quiet_s

    def _job(self, locator: Locator, format: Format) -> reading.Job:
        return reading.Job(
            format=format,
            options=self.options,
            settings=self.settings,
            maker=RecordMaker(key=locator.key, zone=self.zone, max_text_chars=self.settings.max_text_chars),
            is_quiet=self._is_quiet,
        )


def _unchanged(locator: Locator, cursor: Cursor) -> bool:
    return (locator.size_bytes, locator.mtime_ns, locator.inode) == (cursor.size_bytes, cursor.mtime_ns, cursor.inode)
