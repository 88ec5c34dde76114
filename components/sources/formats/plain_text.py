"""Plain text logs: a record per stamped entry, per paragraph or per line, as the text itself suggests.

Used only on request (`--format`), or when the text clearly is a log: lines that begin with a time or a level, or a transcript.
A plain text has no model responses to count, so all its records are of iteration 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from components.contracts import Defect, Json
from components.sources.formats.contract import Format, Head, Options, Read, Turns, Verdict, accept, decline
from components.sources.formats.times import timestamp

JUDGED_LINES: Final = 400
_TIME = r"\d{4}[-/]\d\d[-/]\d\d[T ,_]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d| UTC)?"
_STAMP = re.compile(rf"\s*[\[(]?({_TIME})")
_OTHER_STAMP = re.compile(
    r"\s*[\[(]?(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d\d:\d\d:\d\d\b|\d\d[/.]\d\d[/.]\d{2,4} \d\d:\d\d)"
)
_LEVEL = re.compile(r"\s*[\[(<]?(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL)[\])>]?[:\s|]")
_ERROR = re.compile(r"\b(ERROR|CRITICAL|FATAL)\b|^Traceback \(most recent call last\)", re.MULTILINE)
_SPEAKER = re.compile(
    r"\s*(?:> ?think:|\*{0,2}(User|Assistant|Human|AI|System|Agent|Thought|Action|Action Input|Observation|Reflection|"
    r"Question|Answer|Trial|Environment|Step|Tool|Task)\b[ #\d]*\*{0,2}:)"
)


def recognises(head: Head) -> Verdict:
    """Do its lines begin with times, levels or speakers?"""
    lines = [line for line in head.text.splitlines()[:JUDGED_LINES] if line.strip()]
    if len(lines) < 2:
        return decline("too short to be recognised as a log; `--format plain_text` reads it")
    stamped = sum(is_stamped(line) for line in lines)
    if stamped >= 0.5 * len(lines) or (stamped >= 0.1 * len(lines) and is_stamped(lines[0])):
        return accept(f"{stamped} of its first {len(lines)} lines begin with a time or a level")
    speakers = [found.group(1) or "think" for line in lines if (found := _SPEAKER.match(line))]
    if len(speakers) >= 0.1 * len(lines) and len(set(speakers)) >= 2 and len(speakers) >= 4:
        return accept(f"a transcript: {len(speakers)} of its first {len(lines)} lines name who speaks")
    return decline("its lines begin with neither a time, a level nor a speaker; `--format plain_text` reads it")


def is_stamped(line: str) -> bool:
    """Does the line begin with a time or a level?"""
    return any(pattern.match(line) for pattern in (_STAMP, _OTHER_STAMP, _LEVEL))


def unit_of(text: str) -> str:
    """What makes a record of this text: `stamped` entries, each a `paragraph`, or each a `line`."""
    lines = text.splitlines()[:JUDGED_LINES]
    filled = [line for line in lines if line.strip()]
    if filled and sum(is_stamped(line) for line in filled) >= 0.1 * len(filled):
        return "stamped"
    return "paragraph" if len(lines) - len(filled) >= 0.05 * len(lines) and len(filled) > 1 else "line"


def _begins_item(unit: str, _: bytes, line: bytes) -> bool:
    """Does `line` begin a new record, whatever came before it?"""
    return unit == "line" or (unit == "stamped" and is_stamped(line[:80].decode("utf-8", "replace")))


def grouping(unit: str) -> Callable[[bytes, bytes], bool]:
    """What decides whether a line begins a new record."""
    return partial(_begins_item, unit)


class Reader:
    """Counts the records; each item is one text."""

    def __init__(self, state: Json, _: Options) -> None:
        self.turns = Turns(idx=(state or {}).get("idx", 0))

    def state(self) -> Json:
        """The number of records so far."""
        return {"idx": self.turns.idx}

    def read(self, item: Json) -> Iterable[Read]:
        """The record of one text."""
        if not isinstance(item, str):
            return (Defect(offset=0, reason="not a text"),)
        found = _STAMP.match(item)
        when = timestamp(found.group(1).replace("/", "-").replace(",", ".").replace("_", "T")) if found else None
        text = item.strip()
        return (self.turns.event("error" if _ERROR.search(text[:2_000]) else "text", text, when),)


ROWS = (
    Format(name="plain_text", shape="text", recognises=recognises, reader=Reader, unit_of=unit_of, grouping=grouping),
)
