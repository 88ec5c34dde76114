"""What formats make of items, collected into batches.

Formats are pure and may meet anything: what they raise on an item becomes a defect here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from components.contracts import Batch, Cursor, Defect, Event, Json, Record, Skipped
from components.errors import NotReady, ReadFailed, Unreadable
from components.settings import LoadSettings
from components.sources import parsing
from components.sources.formats.contract import Format, Options, Read
from components.sources.opener import Opened
from components.sources.recognition.recognise import GENERIC
from components.sources.records import REDACTED_CHARS, RecordMaker

NOTHING_TO_READ: Final = Skipped(rule="item without anything to read", is_unknown=True)


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
        return f"A later load reads it once it has not changed for {self.settings.quiet_s:g} s (load.quiet_s)."


@dataclass(slots=True)
class BatchBuilder:
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
        """Does the batch hold as much as the settings want in one transaction?"""
        settings = self.job.settings
        if self.size_bytes >= settings.batch_bytes:
            return True
        return len(self.records) + len(self.defects) >= settings.batch_records

    def add(self, got: Read, offset: int) -> None:
        """Add what a format read from the item at `offset`."""
        made = self.job.maker.record(got) if isinstance(got, Event) else got
        if isinstance(made, Record):
            self.records.append(made)
            if (key := self.job.format.session_key) and isinstance(session := made.extra.get(key), str):
                self.sessions.add(session)
        elif isinstance(made, Skipped):
            self.skipped[made.rule] += 1
            self.n_unknown += made.is_unknown
        else:
            self.defects.append(self.job.maker.defect(made, offset))

    def add_defect(self, offset: int, reason: str, raw: bytes = b"") -> None:
        """Add a defect with the beginning of the bytes that could not be read."""
        excerpt = raw[:REDACTED_CHARS].decode("utf-8", "replace").replace("\x00", "\ufffd").strip()
        self.defects.append(self.job.maker.defect(Defect(offset=0, reason=reason, excerpt=excerpt), offset))

    def add_all(self, read: Callable[[Json], Iterable[Read]], item: Json, offset: int, raw: bytes = b"") -> None:
        """Add all that the format makes of one item, or a defect in its place if the format raises.

        An item of which the format makes nothing is counted as skipped, so that none is missing from the report.
        """
        try:
            found = list(read(item)) or [NOTHING_TO_READ]
            for got in found:
                self.add(got, offset)
            if all(isinstance(got, Skipped) and got.is_unknown for got in found):
                self.unknown_bytes += len(raw)
        except Exception as error:  # noqa: BLE001 - whatever a format raises: an odd item must not cost its file
            self.add_defect(offset, f"{self.job.format.name} can't read this item: {spelled(error)}", raw)

    def take(self, cursor: Cursor) -> Batch:
        """What was collected, as a batch; the builder is empty afterwards."""
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


def spelled(error: Exception) -> str:
    """The error's type and message, for a defect."""
    return f"{type(error).__name__}: {error}"[:REDACTED_CHARS]


def safely(name: str, read: Callable[[], Iterable[Read]]) -> Iterator[Read]:
    """The items that format `name` reads; what it raises ends them with a defect."""
    n = 0
    try:
        for got in read():
            yield got
            n += 1
    except (NotReady, Unreadable):
        raise
    except OSError as error:  # of the file, not of its content: read again another time
        raise ReadFailed(f"Reading failed: {error.strerror or error}.") from error
    except Exception as error:  # noqa: BLE001 - as in `add_all`, for formats that read a whole document
        yield Defect(offset=n, reason=f"{name} can't read the rest: {spelled(error)}")


def as_item(format: Format, row: Json) -> Json:
    """A row of a table as its format reads it: only the generic one knows columns, the others know objects."""
    return row if format.name == GENERIC else parsing.unfolded(row)
