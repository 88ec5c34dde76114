"""Whole JSON objects within a damaged line: writers that were killed or share a file leave records cut and joined.

All patterns see bytes decoded as Latin-1: an index is a byte's offset, and the structure of JSON is ASCII.
"""

from __future__ import annotations

import json
import re
from typing import Final, NamedTuple

from components.contracts import Json
from components.sources.parsing import json_value

WORK_FACTOR: Final = 64  # characters that the search may decode in vain, per character of the line
FREE_WORK: Final = 1 << 20  # and so many in any case
ATTEMPT_WORK: Final = 64  # that each attempt counts for at least
WINDOW: Final = 4_096  # characters that are decoded at first
LONGEST_TOKEN: Final = 16  # of those that the window's end may cut: "-Infinity", an escaped character

STRING: Final = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
BLANKS: Final = "\\x00\xef\xbb\xbf \t\r\n"
_STRINGS: Final = re.compile(STRING, re.DOTALL)
_PADDING: Final = re.compile(f"[{BLANKS}]*")
_SEPARATORS: Final = re.compile(f"[{BLANKS},]*")
_OBJECT: Final = re.compile(rf"\{{(?=[{BLANKS}]*+({STRING}))", re.DOTALL)  # group 1: its first key
_decode: Final = json.JSONDecoder(strict=False).raw_decode


class Found(NamedTuple):
    """A whole value, or where `reason` says why there is none, a damaged stretch; `raw` are its bytes."""

    offset: int
    raw: bytes
    value: Json = None
    reason: str = ""


def whole_objects(raw: bytes, start: int, reason: str = "") -> list[Found]:
    """The whole objects in `raw`, which begins at offset `start`, and the damaged stretches between them.

    `reason` is the defect where nothing whole is in it.

    >>> [found.value or found.reason for found in whole_objects(b'{"a": 1}{"a": "c{"a": 2}', 0)]
    [{'a': 1}, "not JSON: Expecting ',' delimiter at character 18", {'a': 2}]
    """
    text = raw.decode("latin-1")
    search = _Search(text)
    found: list[Found] = []
    at = _after(_SEPARATORS, text, 0)
    while at < len(text):
        end = search.end_of(at)
        if end is None:
            end = search.next_start(at)
            found.append(Found(start + at, raw[at:end], reason=search.reason(at)))
        else:
            found.append(_value(raw[at:end], start + at))
        at = _after(_SEPARATORS, text, end)
    if reason and len(found) == 1 and found[0].reason:
        return [found[0]._replace(reason=reason)]
    return found


def _value(raw: bytes, offset: int) -> Found:
    try:
        return Found(offset, raw, json_value(raw))
    except ValueError as error:
        return Found(offset, raw, reason=str(error))


def _after(blanks: re.Pattern[str], text: str, at: int) -> int:
    found = blanks.match(text, at)
    return found.end() if found else at


class _Search:
    """Finds the whole objects of a text; remembers how far decoding came from each offset."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.ends: dict[int, int] = {}
        self.errors: dict[int, tuple[int, str]] = {}  # offset -> where decoding from it failed, and why
        self.work_left = WORK_FACTOR * len(text) + FREE_WORK
        self.is_too_deep = False

    def end_of(self, at: int) -> int | None:
        """Where the object, or list of objects, that begins at `at` ends; None where there is no whole one."""
        if at not in self.ends and at not in self.errors:
            self._decode_at(at)
        return self.ends.get(at)

    def _decode_at(self, at: int) -> None:
        if self.text[at] not in "{[":
            self.errors[at] = (at, "no object begins here")
            return
        try:
            value, end = self._decoded(at)
        except json.JSONDecodeError as error:
            self.errors[at] = (at + error.pos, error.msg)
            self.work_left -= error.pos + ATTEMPT_WORK
        except RecursionError:
            self.is_too_deep = True
            self.errors[at] = (at, "")
        else:
            if isinstance(value, dict) or (value and all(isinstance(one, dict | list) for one in value)):
                self.ends[at] = end
            else:
                self.errors[at] = (at, "a list that holds no objects")

    def _decoded(self, at: int) -> tuple[Json, int]:
        """The value at `at` and its end. Raises `JSONDecodeError` with a position relative to `at`.

        Decodes windows of the text, since the error counts the lines of all that it is given.
        """
        size = WINDOW
        while True:
            window = self.text[at : at + size]
            is_rest = at + size >= len(self.text)
            try:
                value, end = _decode(window)
            except json.JSONDecodeError as error:
                is_cut = error.pos > size - LONGEST_TOKEN or error.msg.startswith("Unterminated string")
                if is_rest or not is_cut:
                    raise
                size *= 8
            else:
                return value, at + end

    def reason(self, at: int) -> str:
        """Why no whole value begins at `at`."""
        if self.is_too_deep:
            return "JSON nested too deeply"
        failed_at, why = self.errors[at]
        return f"not JSON: {why} at character {failed_at}"

    def next_start(self, at: int) -> int:
        """Where the next whole record behind the damaged one at `at` begins; the text's end where there is none.

        What decoding took for a part of the damaged value is none, unless it begins with the same key: then the
        value was cut right before the next record.
        """
        damaged = _Damaged(self.text, at, self.errors[at][0])
        for candidate in _OBJECT.finditer(self.text, at + 1):
            if self.is_too_deep or self.work_left < 0:
                break
            start = candidate.start()
            if damaged.has_part_at(start) and candidate[1] != damaged.first_key:
                continue
            end = self.end_of(start)
            if end is None:
                error = self.errors[start][0]
                if error > damaged.error:
                    damaged = _Damaged(self.text, start, error)
            elif self._may_end_at(end):
                return start
        return len(self.text)

    def _may_end_at(self, end: int) -> bool:
        """May a record end there, rather than a part of one?"""
        at = _after(_PADDING, self.text, end)
        return at == len(self.text) or self.text[at] in "{["


class _Damaged:
    """A value that can't be decoded beyond `error`."""

    def __init__(self, text: str, at: int, error: int) -> None:
        self.error = error
        found = _OBJECT.match(text, at)
        self.first_key = found[1] if found else None
        self._strings = _STRINGS.finditer(text, at, error)
        self._string = (at, at)

    def has_part_at(self, offset: int) -> bool:
        """Does a part of the value begin there, as decoding saw it? To be asked with growing offsets."""
        if offset >= self.error:
            return False
        while self._string[1] <= offset:
            following = next(self._strings, None)
            self._string = following.span() if following else (self.error, self.error + 1)
        return offset < self._string[0]
