"""Whole lines, and items of several lines, out of blocks of bytes; memory is bounded by the longest line allowed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
            yield Piece(offset, data, "last_part" if too_long else "whole")
            offset += len(data)
            too_long = False
            begin = end
        if begin < len(block):
            held.append(block[begin:])
            held_bytes += len(block) - begin
        if held_bytes > max_bytes:
            data = b"".join(held)
            held, held_bytes, too_long = [], 0, True
            yield Piece(offset, data, "part")
            offset += len(data)
    if held:
        yield Piece(offset, b"".join(held), "part" if too_long else "open")


def grouped(
    pieces: Iterator[Piece], closes: Callable[[bytes, bytes], bool], *, at_blank_line: bool, max_bytes: int
) -> Iterator[Piece]:
    """Items of several lines. `closes(item, line)`: does `line` begin a new item?

    With `at_blank_line` a blank line ends the item before it; other items end only where the next one begins, so the
    last one of a content is open.
    """
    item, start = b"", 0
    for piece in pieces:
        if piece.kind in {"part", "last_part"}:
            if item:
                yield Piece(start, item, "whole")
                item = b""
            yield piece
            continue
        if item and (len(item) > max_bytes or (not piece.data.isspace() and closes(item, piece.data))):
            yield Piece(start, item, "whole")
            item = b""
        start = start if item else piece.start
        item += piece.data
        if at_blank_line and piece.data.isspace() and not item.isspace():
            yield Piece(start, item, "whole")
            item = b""
    if item:
        yield Piece(start, item, "open")


def rows(pieces: Iterator[Piece], max_bytes: int) -> Iterator[Piece]:
    """CSV rows: a line end between quotes does not end its row."""
    row, start = b"", 0
    for piece in pieces:
        if piece.kind in {"part", "last_part"}:
            if row:
                yield Piece(start, row, "whole")
                row = b""
            yield piece
            continue
        start = start if row else piece.start
        row += piece.data
        if len(row) > max_bytes or row.count(b'"') % 2 == 0:
            yield Piece(start, row, piece.kind)
            row = b""
    if row:
        yield Piece(start, row, "open")
