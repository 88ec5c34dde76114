"""Events to records: the one place where texts are cleaned, times get a zone and numbers are checked."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Final

import orjson

from components.contracts import Defect, Event, Json, Record, Skipped, record_id, type_names

INT32_MAX: Final = 2**31 - 1
WINDOW: Final = 256
SHORTEST_DATA_URL: Final = 22
LONG_BLOB: Final = 2 * WINDOW  # every run of so many characters covers a whole window
_DATA_URL = re.compile(r"data:([a-z]+)/[\w.+-]+(?:;[\w.=+-]+)*;base64,[A-Za-z0-9+/=_-]*")
_BLOB = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{512,}={0,2}")
_BLOB_WINDOW = re.compile(r"[A-Za-z0-9+/=_-]{256}")
_SURROGATE = re.compile("[\ud800-\udfff]")
NO_TEXT: Final = frozenset({"None", "null"})  # what programs print for nothing
_ESCAPE = re.compile(  # ECMA-48: control sequences (colours, cursor), strings (titles, links), two-character escapes
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]+[0-~]|[0-Z\\^-~])"
)
_ESCAPE_IN_JSON = re.compile(r"(?<!\\)((?:\\\\)*)\\u001[bB]\[[0-?]*[ -/]*[@-~]")
_FEW_KINDS: Final = 24  # distinct characters; base64 of real data has some 60, a line of dashes one, hex 16


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordMaker:
    """Makes the records of one source. `key` is the source's, `zone` what naive times are in.

    `run_names`: the names of runs that are other than the format says.
    """

    key: str
    zone: tzinfo
    max_text_chars: int
    run_names: Mapping[str, str] = field(default_factory=dict)

    def record(self, event: Event) -> Record | Defect | Skipped:
        """The event as a record; a defect (its place unknown) if its numbers can't be; skipped if it says nothing."""
        iteration, idx = event.iteration, event.idx_in_iteration
        if not (0 <= iteration <= INT32_MAX and 0 <= idx <= INT32_MAX):
            return Defect(offset=0, reason=f"iteration {iteration}, index {idx}: not between 0 and {INT32_MAX}")
        text = clean_text(without_escapes(event.text, event.type), self.max_text_chars)
        if not text or text.isspace():
            return Skipped(rule="empty text")
        if len(text) < 20 and text.strip() in NO_TEXT:
            return Skipped(rule="text is only None or null")
        type = event.type if event.type in type_names else clean_text(event.type, 100)
        run = self.run_names.get(event.run, event.run)
        filename = f"{self.key}#{clean_text(run, 500)}" if run else self.key
        id = record_id(filename=filename, iteration=iteration, idx_in_iteration=idx, type=type, text=text)
        extra = clean_extra(event.extra) if event.extra else event.extra
        return Record(id, in_utc(event.timestamp, self.zone), filename, text, iteration, idx, type, extra)


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


def clean_text(text: str, max_chars: int) -> str:
    r"""The text without what no database or reader takes: NUL and lone surrogates become U+FFFD, blobs a short mark.

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


def clean_extra(extra: Json) -> Json:
    """The same JSON, fit for every database: clean strings, nothing that is not JSON."""
    try:
        spelled = orjson.dumps(extra)
    except TypeError:
        return _clean_value(extra, 0)
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
