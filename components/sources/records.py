"""Events to records: texts are cleaned, times get a zone, numbers are checked, ids are computed.

A record's id is computed from its text as the log wrote it, so that ids stay when a text is made more readable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from components.columns import OpenCalls, with_columns
from components.contracts import Defect, Event, Json, Record, Skipped, keyed_record_id, record_id, type_names
from components.errors import BadSetting
from components.failures import JUDGED, failure_of
from components.redact import Redactor
from components.sources.cleaning import clean_extra, clean_text, with_letters, without_ansi_escapes

INT32_MAX: Final = 2**31 - 1
MAX_KEY_CHARS: Final = 500
MAX_FILENAMES: Final = 1_000  # that are remembered; a source may hold millions of runs
OFTEN_JSON: Final = frozenset({"tool_call", "tool_result", "error"})
SHORT_TEXT: Final = 20  # characters; a longer one is not compared with `NO_TEXT`
EXCERPT_CHARS: Final = 200
REASON_CHARS: Final = 400
REDACTED_CHARS: Final = 4_000  # of an excerpt or reason are searched for secrets before it is cut
NO_TEXT: Final = frozenset({"None", "null"})  # what programs print for nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordMaker:
    """Makes the records of one source. `key` is the source's, `zone` that of naive times.

    `run_names`: names of runs in place of the format's. `redactor`: what removes secrets; None keeps them. `calls`: the calls
    whose results are still to come.
    """

    key: str
    zone: tzinfo
    max_text_chars: int
    run_names: Mapping[str, str] = field(default_factory=dict)
    redactor: Redactor | None = None
    calls: OpenCalls = field(default_factory=OpenCalls, repr=False, compare=False)
    _filenames: dict[str, str] = field(init=False, default_factory=dict, repr=False, compare=False)  # run -> filename

    def record(self, event: Event) -> Record | Defect | Skipped:
        """The event as a record; a defect (its offset unknown) if a number is out of range; skipped if it has no text."""
        iteration, idx = event.iteration, event.idx_in_iteration
        if not (0 <= iteration <= INT32_MAX and 0 <= idx <= INT32_MAX):
            return Defect(offset=0, reason=f"iteration {iteration}, index {idx}: not between 0 and {INT32_MAX}")
        redactor = self.redactor
        n_redacted = redactor.total if redactor else 0
        bare = without_ansi_escapes(event.text, event.type)
        text = clean_text(bare, self.max_text_chars, redactor)
        if not text or text.isspace():
            return Skipped(rule="empty text")
        if len(text) < SHORT_TEXT and text.strip() in NO_TEXT:
            return Skipped(rule="text is only None or null")
        type = event.type if event.type in type_names else clean_text(event.type, 100, redactor)
        if event.key:
            return self._keyed(event, type, text)
        filename = self._filename_of(event.run)
        spelled, text = text, with_letters(text) if type in OFTEN_JSON else text
        id = record_id(filename=filename, iteration=iteration, idx_in_iteration=idx, type=type, text=text)
        extra = clean_extra(event.extra, redactor) if event.extra else event.extra
        extra = self._with_columns(type, text, extra, event.run)
        made = Record(id, in_utc(event.timestamp, self.zone), filename, text, iteration, idx, type, extra)
        is_mended = bare is not event.text or text != spelled or event.former_type or event.former_text
        if is_mended or (redactor and redactor.total != n_redacted):
            return self._with_former_id(made, event)
        return made

    def pass_over(self, read: Event | Defect | Skipped) -> None:
        """Take note of an item that was stored before: a result that follows may name its call."""
        if isinstance(read, Event):
            self.calls.tool_of(read.type, read.extra)

    def _with_columns(self, type: str, text: str, extra: Mapping[str, Json], run: str) -> Mapping[str, Json]:
        """`extra` with the columns that all formats have in common, and the failure that the record tells of."""
        more = with_columns(extra, run and self._filename_of(run)[len(self.key) + 1 :])
        if type not in JUDGED and type != "tool_call":
            return {**extra, **more} if more else extra
        if tool := self.calls.tool_of(type, extra):
            more["tool"] = tool
        if failure := failure_of(type, text, extra):
            more["failed"], more["failure"] = failure.failed, failure.kind
        return {**extra, **more} if more else extra

    def _keyed(self, event: Event, type: str, text: str) -> Record | Defect:
        """The record of an item that has a key, whose id does not depend on where the item stands."""
        if reason := key_problem(event.key):
            return Defect(offset=0, reason=reason, excerpt=event.key[:100])
        extra = clean_extra({**event.extra, "key": event.key}, self.redactor)
        made = Record(
            id="",
            timestamp=in_utc(event.timestamp, self.zone),
            filename=self._filename_of(event.run),
            text=text,
            iteration=event.iteration,
            idx_in_iteration=event.idx_in_iteration,
            type=type,
            extra=self._with_columns(type, text, extra, event.run),
            key=event.key,
        )
        return made._replace(id=keyed_record_id(made))

    def defect(self, defect: Defect, offset: int) -> Defect:
        """The defect at its offset, without secrets, short enough to be read."""
        reason, excerpt = (clean_text(text, REDACTED_CHARS, self.redactor) for text in (defect.reason, defect.excerpt))
        return Defect(offset=offset, reason=reason[:REASON_CHARS], excerpt=excerpt[:EXCERPT_CHARS].strip())

    def _filename_of(self, run: str) -> str:
        if (known := self._filenames.get(run)) is None:
            known = self._filename(run, self.redactor)
            if len(self._filenames) < MAX_FILENAMES:
                self._filenames[run] = known
        return known

    def _filename(self, run: str, redactor: Redactor | None) -> str:
        name = self.run_names.get(run, run)
        return f"{self.key}#{clean_text(name, 500, redactor)}" if name else self.key

    def _with_former_id(self, made: Record, event: Event) -> Record:
        """The record, with the id of the one that an earlier version stored instead: of the text as the log wrote it."""
        type = event.former_type or event.type
        former = record_id(
            filename=self._filename(event.run, None),
            iteration=made.iteration,
            idx_in_iteration=made.idx_in_iteration,
            type=type if type in type_names else clean_text(type, 100),
            text=clean_text(event.former_text or event.text, self.max_text_chars),
        )
        return made if former == made.id else made._replace(former_id=former)


def key_problem(key: str) -> str:
    """Why this can't be the key of a record, "" if it can.

    >>> key_problem("astro-ph/9901001")
    ''
    """
    if len(key) > MAX_KEY_CHARS:
        return f"the key is {len(key):,} characters long; at most {MAX_KEY_CHARS} are possible"
    if not key.isprintable():
        return "the key holds control characters"
    return ""


def zone_named(name: str) -> ZoneInfo:
    """The time zone of this name. Raises `BadSetting`."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise BadSetting(f"There is no time zone {name!r}; use a name such as 'Europe/Berlin'.") from error


def in_utc(when: datetime | None, zone: tzinfo) -> datetime | None:
    """The time in UTC; a naive one is taken to be in `zone`. None where that leaves the calendar."""
    if when is None or when.tzinfo is UTC:
        return when
    try:
        return (when if when.tzinfo else when.replace(tzinfo=zone)).astimezone(UTC)
    except (OverflowError, ValueError):
        return None
