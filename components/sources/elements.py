"""The elements of one JSON list as pieces of bytes, so that a list of gigabytes is read as lines are, and resumed likewise."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from components.sources.lines import Piece

SEPARATORS: Final = b"\x00\xef\xbb\xbf \t\r\n,"
_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"|["\[\]{},]', re.DOTALL)  # a lone quote: a string that goes on
_REST_OF_STRING: Final = re.compile(rb'(?:[^"\\]++|\\.)*+"', re.DOTALL)
_QUOTE, _COMMA, _OPENING, _CLOSING = ord('"'), ord(","), b"[{", b"]}"


def elements(blocks: Iterator[bytes], offset: int, begin: int, max_bytes: int) -> Iterator[Piece]:
    """The elements of the list whose first one is at `begin` or behind, from `offset` on, which is between two of them.

    What is before the list is a piece of its own, and so is what follows its last element; together the pieces are the
    whole content. The last piece is open where the content ends within the list. An element larger than `max_bytes`
    comes in parts.

    >>> [piece.data for piece in elements(iter([b'[{"a": 1},', b' {"a": [2, 3]}]']), 0, 1, 100)]
    [b'[', b'{"a": 1}', b', {"a": [2, 3]}', b']']
    """
    held = b""
    while len(held) < begin - offset and (block := next(blocks, b"")):
        held += block
    if offset < begin:
        yield Piece(offset, held[: begin - offset], "whole")
        offset, held = begin, held[begin - offset :]
    scan = _Scan(offset=offset, held=held, max_bytes=max_bytes)
    yield from scan.pieces()
    for block in blocks:
        if scan.is_closed:
            yield Piece(scan.offset, block, "whole")
            scan.offset += len(block)
            continue
        scan.held += block
        yield from scan.pieces()
    if scan.held:
        yield Piece(scan.offset, scan.held, "part" if scan.is_too_long else "open")


@dataclass(slots=True, kw_only=True)
class _Scan:
    """The list as far as it was seen: `held` begins at `offset`, and its first `seen` bytes were looked at."""

    offset: int
    held: bytes
    max_bytes: int
    seen: int = 0
    depth: int = 0
    is_closed: bool = False
    is_in_string: bool = False  # of an element that is too long
    is_too_long: bool = False

    def pieces(self) -> Iterator[Piece]:
        """What is complete in what is held."""
        if self.is_in_string and not self._leave_string():
            yield self._take(len(self.held) - self.held.endswith(b"\\"), "part")
            return
        while (end := self._end()) is not None:
            if end:
                yield self._take(end, "last_part" if self.is_too_long or end > self.max_bytes else "whole")
                self.is_too_long = False
            if self.is_closed:
                yield self._take(len(self.held), "whole")
                return
        if len(self.held) > self.max_bytes:
            self.is_too_long = True
            self.is_in_string = self.seen < len(self.held)
            yield self._take(len(self.held) - (self.is_in_string and self.held.endswith(b"\\")), "part")

    def _end(self) -> int | None:
        """Where the element at hand ends; None if that is not in sight yet. Notes the end of the list."""
        for token in _TOKEN.finditer(self.held, self.seen):
            at = token.start()
            kind = self.held[at]
            if kind == _QUOTE:
                if token.end() == at + 1:
                    self.seen = at
                    return None
            elif kind in _OPENING:
                self.depth += 1
            elif kind in _CLOSING:
                self.depth -= 1
                if self.depth < 0:
                    self.is_closed = True
                    return at
            elif not self.depth and at:
                self.seen = at
                return at
        self.seen = len(self.held)
        return None

    def _leave_string(self) -> bool:
        if found := _REST_OF_STRING.match(self.held):
            self.seen, self.is_in_string = found.end(), False
        return found is not None

    def _take(self, size: int, kind: Literal["whole", "part", "last_part"]) -> Piece:
        piece = Piece(self.offset, self.held[:size], kind)
        self.offset += size
        self.held = self.held[size:]
        self.seen = max(0, self.seen - size)
        return piece


def list_around(head: bytes, name: bytes) -> int | None:
    """Where the list begins whose objects have the key `name` (a JSON string), in the beginning of a JSON value.

    0 if such an object is in no list; None if there is no object with that key. Of several the outermost counts.

    >>> list_around(b'{"response": {"docs": [{"id": 1, "by": [{"id": 2}]}]}}', b'"id"')
    23
    >>> list_around(b'{"id": 1, "by": [{"id": 2}]}', b'"id"'), list_around(b'[1, 2]', b'"id"')
    (0, None)
    """
    opened: list[int] = []
    found: tuple[int, int] | None = None  # depth, begin
    for token in _TOKEN.finditer(head):
        kind = head[token.start()]
        if kind in _OPENING:
            opened.append(token.start())
        elif kind in _CLOSING and opened:
            opened.pop()
        elif kind == _QUOTE and token.group() == name and opened and head[opened[-1]] == _OPENING[1]:
            is_key = head[token.end() : token.end() + 10].lstrip().startswith(b":")
            is_listed = len(opened) > 1 and head[opened[-2]] == _OPENING[0]
            if is_key and (is_listed or len(opened) == 1) and (found is None or len(opened) < found[0]):
                found = (len(opened), opened[-2] + 1 if is_listed else 0)
    return found[1] if found else None
