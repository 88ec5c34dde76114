"""Whole JSON values from lines that are not one value each.

Writers that were killed, or several that share a file, leave two records on one line, a cut record with the next one
right behind it, or one record over several lines. Every whole record is found wherever it begins; each damaged stretch
between them is one defect.

What is found depends on the content alone, never on how much of it was there when: lines that a later line may still
complete are held back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from components.contracts import Json
from components.sources.json_prefix import MAX_DEPTH, Prefix
from components.sources.json_search import Found, whole_objects
from components.sources.lines import Piece
from components.sources.parsing import PADDING, json_values

MAX_HELD_BYTES: Final = 8 << 20  # of a record over several lines
_STARTS_BLANK: Final = frozenset({b"\x00", b"\xef", b" ", b"\t", b"\r"})


class Stretch(NamedTuple):
    """Bytes that are settled, and all that was found in them, in order."""

    data: bytes
    found: list[Found]


@dataclass(slots=True)
class Recovery:
    """Takes lines in order and returns them once it is settled what they hold.

    `held`: lines that may be the beginning of a record; the next ones decide.
    """

    held: list[Piece] = field(default_factory=list)
    _held_bytes: int = 0
    _prefix: Prefix = field(default_factory=Prefix)

    @property
    def held_at(self) -> tuple[int, int] | None:
        """The offset of the held lines, and their size in bytes; None if none are held."""
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
        return [Stretch(joined, whole_objects(joined, start, reason))]

    def _is_clean(self) -> bool:
        """Do the held lines hold nothing but whole values?"""
        found = whole_objects(b"".join(one.data for one in self.held), 0)
        return bool(found) and not any(one.reason for one in found)

    def _released(self) -> list[Piece]:
        held, self.held, self._held_bytes, self._prefix = self.held, [], 0, Prefix()
        return held


def _plain(piece: Piece) -> Stretch | None:
    """The values of a line of plain JSON; None where it is none, or may go on."""
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
    return Found(offset_of(piece), piece.data, value, reason)


def offset_of(piece: Piece) -> int:
    """The offset at which the line's content begins: behind blanks and what separates it from the value before it."""
    data = piece.data
    return piece.start + len(data) - len(data.lstrip(PADDING)) if data[:1] in _STARTS_BLANK else piece.start


def _fresh(piece: Piece) -> Stretch:
    """What a line holds by itself."""
    return _plain(piece) or Stretch(piece.data, whole_objects(piece.data, piece.start, _refusal(piece.data)))


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
