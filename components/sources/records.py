"""Events to records: the one place where texts are cleaned, times get a zone and numbers are checked.

A record's id is made of its text as the log wrote it, so that ids stay when a text is made more readable.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Final

import orjson

from components.contracts import Defect, Event, Json, Record, Skipped, record_id, type_names
from components.redact import Redactor
from components.sources.escapes import with_letters

INT32_MAX: Final = 2**31 - 1
WINDOW: Final = 256
SHORTEST_DATA_URL: Final = 22
MOST_FILENAMES: Final = 1_000  # that are remembered; a source may hold millions of runs
SHORTEST_TOKEN: Final = 12  # of what stands by itself; a password in a URL may be shorter, and comes before an `@`
LONG_BLOB: Final = 2 * WINDOW  # every run of so many characters covers a whole window
_DATA_URL = re.compile(r"data:([a-z]+)/[\w.+-]+(?:;[\w.=+-]+)*;base64,[A-Za-z0-9+/=_-]*")
_BLOB = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{512,}={0,2}")
_BLOB_WINDOW = re.compile(r"[A-Za-z0-9+/=_-]{256}")
_SURROGATE = re.compile("[\ud800-\udfff]")
OFTEN_JSON: Final = frozenset({"tool_call", "tool_result", "error"})
SHORT_TEXT: Final = 20  # characters; a longer one is not looked at for `NO_TEXT`
NO_TEXT: Final = frozenset({"None", "null"})  # what programs print for nothing
_ESCAPE = re.compile(  # ECMA-48: control sequences (colours, cursor), strings (titles, links), two-character escapes
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]+[0-~]|[0-Z\\^-~])"
)
_ESCAPE_IN_JSON = re.compile(r"(?<!\\)((?:\\\\)*)\\u001[bB]\[[0-?]*[ -/]*[@-~]")
_FEW_KINDS: Final = 24  # distinct characters; base64 of real data has some 60, a line of dashes one, hex 16


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordMaker:
    """Makes the records of one source. `key` is the source's, `zone` what naive times are in.

    `run_names`: the names of runs that are other than the format says. `redactor`: what takes secrets out; None keeps
    them.
    """

    key: str
    zone: tzinfo
    max_text_chars: int
    run_names: Mapping[str, str] = field(default_factory=dict)
    redactor: Redactor | None = None
    _filenames: dict[str, str] = field(init=False, default_factory=dict, repr=False, compare=False)  # run -> filename

    def record(self, event: Event) -> Record | Defect | Skipped:
        """The event as a record; a defect (its place unknown) if its numbers can't be; skipped if it says nothing."""
        iteration, idx = event.iteration, event.idx_in_iteration
        if not (0 <= iteration <= INT32_MAX and 0 <= idx <= INT32_MAX):
            return Defect(offset=0, reason=f"iteration {iteration}, index {idx}: not between 0 and {INT32_MAX}")
        redactor = self.redactor
        n_redacted = redactor.total if redactor else 0
        bare = without_escapes(event.text, event.type)
        text = clean_text(bare, self.max_text_chars, redactor)
        if not text or text.isspace():
            return Skipped(rule="empty text")
        if len(text) < SHORT_TEXT and text.strip() in NO_TEXT:
            return Skipped(rule="text is only None or null")
        type = event.type if event.type in type_names else clean_text(event.type, 100, redactor)
        filename = self._filename_of(event.run)
        spelled, text = text, with_letters(text) if type in OFTEN_JSON else text
        id = record_id(filename=filename, iteration=iteration, idx_in_iteration=idx, type=type, text=text)
        extra = clean_extra(event.extra, redactor) if event.extra else event.extra
        made = Record(id, in_utc(event.timestamp, self.zone), filename, text, iteration, idx, type, extra)
        if bare is not event.text or text != spelled or (redactor and redactor.total != n_redacted):
            return self._with_former_id(made, event)
        return made

    def _filename_of(self, run: str) -> str:
        if (known := self._filenames.get(run)) is None:
            known = self._filename(run, self.redactor)
            if len(self._filenames) < MOST_FILENAMES:
                self._filenames[run] = known
        return known

    def _filename(self, run: str, redactor: Redactor | None) -> str:
        name = self.run_names.get(run, run)
        return f"{self.key}#{clean_text(name, 500, redactor)}" if name else self.key

    def _with_former_id(self, made: Record, event: Event) -> Record:
        """The record, with the id of the one that version 0.1 stored in its place: of the text as the log wrote it."""
        former = record_id(
            filename=self._filename(event.run, None),
            iteration=made.iteration,
            idx_in_iteration=made.idx_in_iteration,
            type=event.type if event.type in type_names else clean_text(event.type, 100),
            text=clean_text(event.text, self.max_text_chars),
        )
        return made if former == made.id else made._replace(former_id=former)


def without_escapes(text: str, type: str = "") -> str:
    r"""The text without ANSI escapes; of a tool call also without those that its JSON spells.

    >>> without_escapes("\x1b[1;31mred\x1b[0m \x1b]8;;http://a\x07link\x1b]8;;\x07")
    'red link'
    """
    if "\x1b" in text:
        text = _ESCAPE.sub("", text).replace("\x1b", "")
    if type == "tool_call" and "\\u001" in text:
        text = _ESCAPE_IN_JSON.sub(r"\1", text)
    return text


def in_utc(when: datetime | None, zone: tzinfo) -> datetime | None:
    """The time in UTC; a naive one is taken to be in `zone`. None where that leaves the calendar."""
    if when is None or when.tzinfo is UTC:
        return when
    try:
        return (when if when.tzinfo else when.replace(tzinfo=zone)).astimezone(UTC)
    except (OverflowError, ValueError):
        return None


def clean_text(text: str, max_chars: int, redactor: Redactor | None = None) -> str:
    r"""The text without what no database or reader takes: NUL and lone surrogates become U+FFFD, blobs a short mark.

    Secrets are redacted before the text is cut, or what is left of one would not be recognised.

    >>> clean_text("a\x00b data:image/png;base64,iVBORw0KGgo= c", 100)
    'a�b [image] c'
    >>> clean_text("abcdef", 4)
    'abcd… [2 more characters]'
    """
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            text = _SURROGATE.sub("\ufffd", text)
    if redactor is not None and (len(text) >= SHORTEST_TOKEN or "@" in text):
        text = redactor.redact(text)
    if len(text) < SHORTEST_DATA_URL:
        return text if len(text) <= max_chars else _cut(text, max_chars)
    if ";base64," in text:
        text = _DATA_URL.sub(r"[\1]", text)
    if len(text) >= LONG_BLOB and _may_hold_blob(text):
        text = _BLOB.sub(_blob_mark, text)
    return text if len(text) <= max_chars else _cut(text, max_chars)


def _cut(text: str, max_chars: int) -> str:
    return f"{text[:max_chars]}… [{len(text) - max_chars} more characters]"


def _may_hold_blob(text: str) -> bool:
    """A look at every 256th character's window: 100x faster than searching, and no long run escapes it."""
    for at in range(0, len(text) - WINDOW + 1, WINDOW):
        if text.find(" ", at, at + WINDOW) < 0 and _BLOB_WINDOW.match(text, at):
            return True
    return False


def _blob_mark(found: re.Match[str]) -> str:
    blob = found.group()
    return blob if len(set(blob[:2_048])) < _FEW_KINDS else f"[base64, {len(blob)} characters]"


def clean_extra(extra: Json, redactor: Redactor | None = None) -> Json:
    """The same JSON, fit for every database: clean strings, nothing that is not JSON, no secrets."""
    try:
        spelled = orjson.dumps(extra)
    except TypeError:
        cleaned = _clean_value(extra, 0)
        return redactor.redact_values(cleaned) if redactor else cleaned
    if redactor is not None and redactor.suspects(spelled):
        extra = redactor.redact_values(extra)
    if b"\\u0000" in spelled or b";base64," in spelled or len(spelled) > 65_536:
        return _clean_value(extra, 0)
    return extra


def _clean_value(value: Json, depth: int) -> Json:
    if isinstance(value, str):
        return clean_text(value, 65_536)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int):
        return value if abs(value) < 2**63 else str(value)
    if depth > 32:
        return "[nested too deeply]"
    if isinstance(value, dict):
        return {clean_text(str(key), 1_000): _clean_value(one, depth + 1) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_clean_value(one, depth + 1) for one in value]
    return clean_text(str(value), 65_536)
