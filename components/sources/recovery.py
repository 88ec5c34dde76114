"""Whole JSON values from lines that are not one value each.

Writers that were killed, or several that share a file, leave two records on one line, a cut record with the next one
right behind it, or one record over several lines. Every whole record is found wherever it stands; each damaged stretch
between them is one defect.

What is found depends on the content alone, never on how much of it was there when: lines that a later line may still
complete are held back.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from components.contracts import Json
from components.sources.lines import Piece
from components.sources.parsing import PADDING, json_value, json_values

MAX_DEPTH: Final = 200  # of records that go over several lines; logs nest some 20 levels
WORK_FACTOR: Final = 64  # characters that the search may look at in vain, per character of the line
MAX_HELD_BYTES: Final = 8 << 20  # of a record over several lines
FREE_WORK: Final = 1 << 20  # and so many in any case
ATTEMPT_WORK: Final = 64  # that each attempt counts for at least
WINDOW: Final = 4_096  # characters that are decoded at first
LONGEST_TOKEN: Final = 16  # of those that the window's end may cut: "-Infinity", an escaped character

# All patterns meet bytes decoded as Latin-1: an index is a byte's offset, and JSON's structure is ASCII.
_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_BLANKS = "\\x00\xef\xbb\xbf \t\r\n"
_STRINGS: Final = re.compile(_STRING, re.DOTALL)
_STRING_REST: Final = re.compile(r'[^"\\]*+(?:\\.[^"\\]*+)*+("?)', re.DOTALL)
_TOKEN: Final = re.compile(
    rf"[{_BLANKS}]+|[{{}}\[\]:,]"
    r'|"[^"\\]*+(?:\\.[^"\\]*+)*+(?P<closed>"?)'
    r"|-?\d[\d.eE+-]*|true|false|null|NaN|-?Infinity",
    re.DOTALL,
)
_CUT_TOKEN: Final = re.compile(r"[-+.\w]*")
_PADDING: Final = re.compile(f"[{_BLANKS}]*")
_SEPARATORS: Final = re.compile(f"[{_BLANKS},]*")
_OBJECT: Final = re.compile(rf"\{{(?=[{_BLANKS}]*+({_STRING}))", re.DOTALL)  # group 1: its first key
_STARTS_BLANK: Final = frozenset({b"\x00", b"\xef", b" ", b"\t", b"\r"})
_decode: Final = json.JSONDecoder(strict=False).raw_decode


class Found(NamedTuple):
    """A whole value, or where `reason` says why there is none, a damaged stretch; `raw` are its bytes."""

    offset: int
    raw: bytes
    value: Json = None
    reason: str = ""


class Stretch(NamedTuple):
    """Bytes that are settled, and all that was found in them, in order."""

    data: bytes
    found: list[Found]


# --- one line, or several joined -------------------------------------------------------------------------------


def split(raw: bytes, start: int, reason: str = "") -> list[Found]:
    """The whole objects in `raw`, which begins at offset `start`, and the damaged stretches between them.

    `reason` is told where nothing whole is in it.

    >>> [found.value or found.reason for found in split(b'{"a": 1}{"a": "c{"a": 2}', 0)]
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
    """Finds the whole objects of a text; remembers how far decoding came from each place."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.ends: dict[int, int] = {}
        self.errors: dict[int, tuple[int, str]] = {}  # place -> where decoding from it failed, and why
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
        place, why = self.errors[at]
        return f"not JSON: {why} at character {place}"

    def next_start(self, at: int) -> int:
        """Where the next whole record behind the damaged one at `at` begins; the text's end where there is none.

        What decoding took for a part of the damaged value is none, unless it begins with the same key: then the
        value was cut right before the next record.
        """
        damaged = _Damaged(self.text, at, self.errors[at][0])
        for candidate in _OBJECT.finditer(self.text, at + 1):
            if self.is_too_deep or self.work_left < 0:
                break
            place = candidate.start()
            if damaged.has_part_at(place) and candidate[1] != damaged.first_key:
                continue
            end = self.end_of(place)
            if end is None:
                error = self.errors[place][0]
                if error > damaged.error:
                    damaged = _Damaged(self.text, place, error)
            elif self._may_end_at(end):
                return place
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

    def has_part_at(self, place: int) -> bool:
        """Does a part of the value begin there, as decoding saw it? Asked with growing places."""
        if place >= self.error:
            return False
        while self._string[1] <= place:
            following = next(self._strings, None)
            self._string = following.span() if following else (self.error, self.error + 1)
        return place < self._string[0]


# --- records over several lines --------------------------------------------------------------------------------


class Prefix:
    """Follows JSON line by line: may what was fed so far be the beginning of a value?"""

    def __init__(self) -> None:
        self.stack: list[str] = []
        self.expects = "top"
        self.in_string = False

    def feed(self, text: str, *, is_last: bool = False) -> Literal["open", "closed", "broken"]:
        """`open`: a value goes on behind the line. `closed`: it ends within it. `broken`: no value can begin so.

        `is_last`: the text stops in the middle of a line, so that a token may be cut.
        """
        at = 0
        if self.in_string:
            rest = _STRING_REST.match(text)
            if rest is None or not rest[1]:
                return "open"
            self.in_string = False
            self._take('"')
            at = rest.end()
        while at < len(text):
            token = _TOKEN.match(text, at)
            if token is None:
                return "open" if is_last and self.stack and _CUT_TOKEN.fullmatch(text, at) else "broken"
            at = token.end()
            if token[0][0] == '"' and not token["closed"]:
                self.in_string = self.expects in ("key", "key or end", "value", "value or end")
                return "open" if self.in_string else "broken"
            if token[0][0] not in "\x00\xef\xbb\xbf \t\r\n" and not self._take(token[0][0]):
                return "broken"
        return "open" if self.stack else "closed"

    def _take(self, mark: str) -> bool:
        """Follow one token, given by its first character; False if it can't stand there."""
        if mark in "}]":
            return self._close(mark)
        if mark == ",":
            if self.stack and self.expects != "separator":
                return False
            self.expects = ("key" if self.stack[-1] == "{" else "value") if self.stack else "top"
            return True
        if mark == ":":
            expected, self.expects = self.expects, "value"
            return expected == "colon"
        if mark == '"' and self.expects in ("key", "key or end"):
            self.expects = "colon"
            return True
        return self._open_value(mark)

    def _open_value(self, mark: str) -> bool:
        if self.expects not in ("value", "value or end") and not (self.expects == "top" and mark in "{["):
            return False
        if mark in "{[":
            self.stack.append(mark)
            self.expects = "key or end" if mark == "{" else "value or end"
            return len(self.stack) <= MAX_DEPTH
        self.expects = "separator"
        return True

    def _close(self, mark: str) -> bool:
        opener, or_end = ("{", "key or end") if mark == "}" else ("[", "value or end")
        if not self.stack or self.stack[-1] != opener or self.expects not in ("separator", or_end):
            return False
        self.stack.pop()
        self.expects = "separator" if self.stack else "top"
        return True


@dataclass(slots=True)
class Recovery:
    """Takes lines in order and gives them back once it is settled what they hold.

    `held`: lines that may be the beginning of a record, and need the next ones to tell.
    """

    held: list[Piece] = field(default_factory=list)
    _held_bytes: int = 0
    _prefix: Prefix = field(default_factory=Prefix)

    @property
    def place(self) -> tuple[int, int] | None:
        """Where the held lines begin, and how many bytes they are."""
        return (self.held[0].start, self._held_bytes) if self.held else None

    def add(self, piece: Piece) -> list[Stretch]:
        """What is settled with this line; of an open one (the content ends in it) only what nothing can change."""
        settled: list[Stretch] = []
        waiting = deque([piece])
        while waiting:
            settled += self._settled(waiting.popleft(), waiting)
        return _merged(settled)

    def flush(self) -> list[Stretch]:
        """Everything held, as it is: nothing can complete it any more."""
        held = self._released()
        return _merged([_fresh(piece) for piece in held])

    def _settled(self, piece: Piece, waiting: deque[Piece]) -> list[Stretch]:
        is_open = piece.kind == "open"
        if not self.held and (stretch := _plain(piece)):
            return [stretch]
        state = self._prefix.feed(piece.data.decode("latin-1"), is_last=is_open)
        if state == "broken" and self.held and not (is_open and _plain(piece) is None):
            is_too_deep = len(self._prefix.stack) > MAX_DEPTH
            held = self._released()
            if is_too_deep:  # looking at each of these lines as a beginning would take the square of their number
                waiting.appendleft(piece)
                return [_fresh(one) for one in held]
            waiting.extendleft(reversed([*held[1:], piece]))
            return [_fresh(held[0])]
        self.held.append(piece)
        self._held_bytes += len(piece.data)
        if state == "open" and self._held_bytes > MAX_HELD_BYTES:
            held = self._released()
            waiting.extendleft(reversed(held[1:]))
            return [_fresh(held[0])]
        if state == "open" or (is_open and not self._is_clean()):
            return []
        joined = b"".join(one.data for one in self.held)
        start = self.held[0].start
        reason = _refusal(joined) if len(self.held) == 1 else ""
        self._released()
        return [Stretch(joined, split(joined, start, reason))]

    def _is_clean(self) -> bool:
        """Do the held lines hold nothing but whole values?"""
        found = split(b"".join(one.data for one in self.held), 0)
        return bool(found) and not any(one.reason for one in found)

    def _released(self) -> list[Piece]:
        held, self.held, self._held_bytes, self._prefix = self.held, [], 0, Prefix()
        return held


def _plain(piece: Piece) -> Stretch | None:
    """The line where it is JSON as it stands; None where it is none, or ends before it is sure."""
    try:
        values = json_values(piece.data)
    except ValueError:
        return None
    are_items = all(isinstance(value, dict | list) for value in values)
    if piece.kind == "open" and not (values and are_items):
        return None
    return Stretch(piece.data, [_item(piece, value) for value in values])


def _item(piece: Piece, value: Json) -> Found:
    reason = "" if isinstance(value, dict | list) else "not a JSON object"
    return Found(place_of(piece), piece.data, value, reason)


def place_of(piece: Piece) -> int:
    """Where what a line holds begins: behind blanks and what parts it from the value before it."""
    data = piece.data
    return piece.start + len(data) - len(data.lstrip(PADDING)) if data[:1] in _STARTS_BLANK else piece.start


def _fresh(piece: Piece) -> Stretch:
    """What a line holds by itself."""
    return _plain(piece) or Stretch(piece.data, split(piece.data, piece.start, _refusal(piece.data)))


def _refusal(raw: bytes) -> str:
    try:
        json_values(raw)
    except ValueError as error:
        return str(error)
    return ""


def _merged(stretches: list[Stretch]) -> list[Stretch]:
    """The same as one, with one defect for damage that goes over several lines."""
    if len(stretches) < 2:
        return stretches
    found: list[Found] = []
    for one in (one for stretch in stretches for one in stretch.found):
        last = found[-1] if found else None
        if last and last.reason and one.reason:
            found[-1] = last._replace(raw=last.raw + one.raw)
        else:
            found.append(one)
    return [Stretch(b"".join(stretch.data for stretch in stretches), found)]


def values(pieces: Iterator[Piece]) -> Iterator[Found]:
    """Everything found on the lines of a content, as far as it is settled."""
    recovery = Recovery()
    for piece in pieces:
        is_too_long = piece.kind in {"part", "last_part"}
        settled = recovery.flush() if is_too_long else recovery.add(piece)
        for stretch in settled:
            yield from stretch.found
