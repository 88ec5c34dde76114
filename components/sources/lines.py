"""Whole lines, and items of several lines, out of blocks of bytes; memory is bounded by the longest line allowed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple


class Piece(NamedTuple):
    """A line or item with its line end, and where it starts.

    `whole`: it is complete. `open`: the content ends within it. `part`, `last_part`: a stretch of a line that is too
    long to be held; only its last part is marked so.
    """

    start: int
    data: bytes
    kind: Literal["whole", "open", "part", "last_part"]


def lines(blocks: Iterator[bytes], offset: int, max_bytes: int) -> Iterator[Piece]:
    """The lines of a content from `offset` on. Lines longer than `max_bytes` come in parts."""
    held: list[bytes] = []
    held_bytes = 0
    too_long = False
    for block in blocks:
        begin = 0
        while (end := block.find(b"\n", begin) + 1) > 0:
            data = block[begin:end]
            if held:
                held.append(data)
                data = b"".join(held)
                held, held_bytes = [], 0
            yield Piece(offset, data, "last_part" if too_long or len(data) > max_bytes else "whole")
            offset += len(data)
            too_long = False
            begin = end
        if begin < len(block):
            held.append(block[begin:])
            held_bytes += len(block) - begin
        if held_bytes > max_bytes or too_long:
            parts, held, held_bytes, too_long = held, [], 0, True
            for data in parts:  # not joined: that would take the same memory once more
                yield Piece(offset, data, "part")
                offset += len(data)
    if held:
        yield Piece(offset, b"".join(held), "part" if too_long else "open")


def grouped(
    pieces: Iterator[Piece], closes: Callable[[bytes, bytes], bool], *, at_blank_line: bool, max_bytes: int
) -> Iterator[Piece]:
    """Items of several lines. `closes(last, line)`: does an item that ended in `last` end before `line`?

    With `at_blank_line` a blank line ends the item before it; other items end only where the next one begins, so the
    last one of a content is open.
    """
    held = _Held()
    for piece in pieces:
        is_blank = piece.data.isspace()
        if piece.kind in {"part", "last_part"}:
            yield from held.release("whole")
            yield piece
            continue
        if held.buffer and (held.size_bytes > max_bytes or (not is_blank and closes(held.last, piece.data))):
            yield from held.release("whole")
        held.take(piece)
        held.has_text = held.has_text or not is_blank
        if at_blank_line and is_blank and held.has_text:
            yield from held.release("whole")
    yield from held.release("open")


def stacked(pieces: Iterator[Piece], max_bytes: int) -> Iterator[Piece]:
    """JSON objects that a program printed over several lines, one below the other; what is between them is its own."""
    return grouped(pieces, _ends_object, at_blank_line=False, max_bytes=max_bytes)


def _ends_object(last: bytes, line: bytes) -> bool:
    return last.startswith(b"}") or line.startswith(b"{")


def rows(pieces: Iterator[Piece], max_bytes: int) -> Iterator[Piece]:
    """CSV rows: a line end between quotes does not end its row. A stray quote joins several rows to one piece."""
    held = _Held()
    n_quotes = 0
    for piece in pieces:
        if piece.kind in {"part", "last_part"}:
            yield from held.release("whole")
            n_quotes = 0
            yield piece
            continue
        held.take(piece)
        n_quotes += piece.data.count(b'"')
        if held.size_bytes > max_bytes or n_quotes % 2 == 0:
            yield from held.release(piece.kind)
            n_quotes = 0
    yield from held.release("open")


@dataclass(slots=True)
class _Held:
    """Lines that may be one item, in one buffer: a list of millions of short ones takes ten times their size."""

    start: int = 0
    size_bytes: int = 0
    has_text: bool = False
    buffer: bytearray = field(default_factory=bytearray)
    last: bytes = b""  # line

    def take(self, piece: Piece) -> None:
        if not self.buffer:
            self.start = piece.start
        self.buffer += piece.data
        self.last = piece.data
        self.size_bytes += len(piece.data)

    def release(self, kind: Literal["whole", "open", "part", "last_part"]) -> Iterator[Piece]:
        if self.buffer:
            data, self.buffer = bytes(self.buffer), bytearray()
            yield Piece(self.start, data, kind)
        self.size_bytes, self.has_text = 0, False
