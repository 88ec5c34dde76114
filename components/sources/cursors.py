"""Has a source changed since its cursor was written, and how? From directory entries first, then from digests."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from components.contracts import Cursor, Json, LedgerEntry, Locator
from components.sources import lines, parsing, zips
from components.sources.fingerprints import EDGE_BYTES, Fingerprint, Prints, resume_start
from components.sources.opener import Opened

LINE_KINDS: Final = frozenset({"json", "stacked", "csv", "text"})  # contents that grow line by line
COMMON_LINES: Final = 5  # that different runs may have in common at their start
LAST_LINES: Final = 32
LAST_BYTES: Final = 64 << 10
LINE_END: Final = b"\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """`same`: what the cursor covers is still there, unchanged. `more`: there is something beyond it."""

    same: bool
    more: bool


def compare(opened: Opened, cursor: Cursor, *, whole: bool) -> Comparison:
    """The source against its cursor: by head and tail, or with `whole` by all content up to the offset."""
    if opened.packing == "zip" or "members" in cursor.state:
        return _compare_members(opened, cursor)
    if opened.seekable and opened.size_bytes < cursor.offset:
        return Comparison(same=False, more=False)
    if opened.seekable and not ((same := _same_edges(opened, cursor)) and whole):
        return Comparison(same=same, more=opened.size_bytes > cursor.offset)
    found, more = _print_up_to(opened.blocks(), cursor.offset)
    return Comparison(same=(found.offset, found.content) == (cursor.offset, cursor.content), more=more)


def _same_edges(opened: Opened, cursor: Cursor) -> bool:
    head = _bytes_at(opened, 0, cursor.head_bytes)
    tail_start = max(0, cursor.offset - EDGE_BYTES)
    tail = _bytes_at(opened, tail_start, cursor.offset - tail_start)
    return (_hex(head), _hex(tail)) == (cursor.head, cursor.tail)


def _bytes_at(opened: Opened, start: int, size_bytes: int) -> bytes:
    return os.pread(opened.file.fileno(), size_bytes, start)  # leaves the file's position to its reader


def _hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _print_up_to(blocks: Iterator[bytes], offset: int) -> tuple[Prints, bool]:
    """The prints of the first `offset` bytes, or of all if there are fewer, and whether more follows."""
    found = Fingerprint()
    left = offset
    for block in blocks:
        if left < len(block):
            found.feed(block[:left])
            return found.prints(), True
        found.feed(block)
        left -= len(block)
    return found.prints(), False


def _compare_members(opened: Opened, cursor: Cursor) -> Comparison:
    """Is every member that was read still there, unchanged, and are there others?"""
    if opened.packing != "zip":
        return Comparison(same=False, more=True)
    members = zips.listing(opened).members
    now = {member.name: member.crc for member in members}
    read: Mapping[str, int] = cursor.state.get("members", {})
    same = all(now.get(name) == crc for name, crc in read.items())
    return Comparison(same=same, more=listing_digest(members) != cursor.content)


# --- is it the same source? ------------------------------------------------------------------------------------


def is_unchanged(locator: Locator, seen: Cursor | LedgerEntry) -> bool:
    """Does the directory show the file that was `seen`: with the same size, times and inode? Reads no content.

    A file replaced by one of equal size and modification time has another inode, and mostly another change time, which
    no program can set back; that one counts where it is known of both.
    """
    if seen.ctime_ns and locator.ctime_ns and seen.ctime_ns != locator.ctime_ns:
        return False
    return (locator.size_bytes, locator.mtime_ns, locator.inode) == (seen.size_bytes, seen.mtime_ns, seen.inode)


def is_same_file(opened: Opened, cursor: Cursor) -> bool:
    """Is it the file that was read, whatever its content is now? Another file may have got the inode since."""
    births = {opened.birth_ns, cursor.birth_ns} - {0}
    return opened.inode == cursor.inode and len(births) < 2


def is_same_source(opened: Opened, entry: LedgerEntry, cursor: Cursor, *, grew: bool) -> bool:
    """Does a file that begins with all that was read of a source show that it is that source, and no other?

    Runs of one agent often begin with the same lines. It is the same one if it is the same file, is named after it as
    rotation does, or was moved with its time of writing; or if it has more in common than runs have.
    """
    if is_same_file(opened, cursor) or opened.path.startswith(entry.location):
        return True
    written = {time_ns // 10**9 for time_ns in (entry.mtime_ns, cursor.mtime_ns)}
    if not grew and opened.mtime_ns // 10**9 in written:
        return True
    kind = cursor.state.get("kind")
    if kind in LINE_KINDS:
        return _has_lines(opened, cursor.offset, COMMON_LINES)
    return kind != "document" or cursor.offset >= EDGE_BYTES


def _has_lines(opened: Opened, offset: int, n: int) -> bool:
    for block in opened.blocks():
        n -= block.count(b"\n", 0, min(offset, len(block)))
        offset -= len(block)
        if n <= 0 or offset <= 0:
            break
    return n <= 0


def begins_with(opened: Opened, copy: Opened) -> bool:
    """Is all content of `copy`, which is not empty, the beginning of this one?"""
    ours, held, is_empty = opened.blocks(), b"", True
    for block in copy.blocks():
        is_empty = False
        while len(held) < len(block) and (more := next(ours, b"")):
            held += more
        if not held.startswith(block):
            return False
        held = held[len(block) :]
    return not is_empty


# --- logs that lose their oldest lines ---------------------------------------------------------------------------


def _last_lines(opened: Opened, offset: int) -> str:
    """Checksums of the last whole lines before the offset, as hex, oldest first: 8 digits a line."""
    start = max(0, offset - LAST_BYTES)
    found = _bytes_at(opened, start, offset - start).splitlines(keepends=True)
    whole = found if start == 0 else found[1:]
    return "".join(_checksum(line) for line in whole[-LAST_LINES:])


def _checksum(line: bytes) -> str:
    return f"{zlib.crc32(line.rstrip(LINE_END)):08x}"


def kept_tail(opened: Opened, cursor: Cursor) -> Cursor | None:
    """The cursor after the last line that was read, in a log that now begins with a later line than before.

    None if no such line is found. Lines before it may still be new: only the last lines are compared.
    """
    spelled = cursor.state.get("last_lines", "")
    if not spelled or not opened.seekable:
        return None
    last = [spelled[at : at + 8] for at in range(0, len(spelled), 8)]
    held: deque[str] = deque(maxlen=len(last))
    found = Fingerprint()
    kept: Prints | None = None
    for piece in lines.lines(opened.blocks(), 0, LAST_BYTES):
        if piece.start + len(piece.data.rstrip(LINE_END)) >= cursor.offset:
            break  # what is left is shorter than what was read
        found.feed(piece.data)
        if piece.kind == "part" or (piece.start == 0 and _is_header(piece.data, cursor)):
            continue
        held.append("" if piece.kind == "last_part" else _checksum(piece.data))
        if held[-1] == last[-1] and list(held) == last[-len(held) :]:
            kept = found.prints()
    if kept is None:
        return None
    state = {key: value for key, value in cursor.state.items() if key not in {"chain", "waits"}}
    return make(opened, cursor.format, kept, state, finished_bytes=None)


def _is_header(line: bytes, cursor: Cursor) -> bool:
    header = cursor.state.get("header")
    if not header:
        return False
    rows = parsing.csv_rows(parsing.text_from(line), cursor.state["delimiter"])
    return bool(rows) and list(rows[0]) == list(header)


def listing_digest(members: Sequence[zips.Member]) -> str:
    """The digest of an archive's members: their names and checksums."""
    return _hex(orjson.dumps([[member.name, member.crc] for member in members]))


def fingerprint(opened: Opened, cursor: Cursor | None) -> Fingerprint:
    """The fingerprint of all before the cursor's offset, ready to grow; reads 1 MiB at most of a plain file."""
    if cursor is None or cursor.offset == 0:
        return Fingerprint()
    if not opened.seekable:
        found = Fingerprint()
        left = cursor.offset
        for block in opened.blocks():
            found.feed(block[:left])
            left -= min(left, len(block))
            if not left:
                break
        return found
    start = resume_start(cursor.offset)
    return Fingerprint.resumed(
        offset=cursor.offset,
        chain=cursor.state["chain"],
        head=_bytes_at(opened, 0, cursor.head_bytes),
        before=_bytes_at(opened, start, cursor.offset - start),
    )


def make(
    opened: Opened, format: str, prints: Prints, state: Mapping[str, Json], *, finished_bytes: int | None
) -> Cursor:
    """The cursor after what `prints` cover. `finished_bytes`: the file's size if this is as far as it can be read.

    A cursor in the middle claims to have seen no more of the file than its offset, so that the source counts as
    changed until it was read to its end.
    """
    finished = finished_bytes is not None
    if opened.seekable and state.get("kind") in LINE_KINDS:
        state = {**state, "last_lines": _last_lines(opened, prints.offset)}
    return Cursor(
        format=format,
        size_bytes=finished_bytes if finished_bytes is not None else prints.offset,
        mtime_ns=opened.mtime_ns if finished else 0,
        ctime_ns=opened.ctime_ns if finished else 0,
        birth_ns=opened.birth_ns,
        inode=opened.inode,
        offset=prints.offset,
        head=prints.head,
        head_bytes=prints.head_bytes,
        tail=prints.tail,
        content=prints.content,
        state={**state, "chain": prints.chain},
    )


def as_json(value: Any) -> Json:
    """A copy that shares nothing with the reader, which changes its state as it reads on."""
    try:
        return orjson.loads(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS))
    except TypeError:  # integers beyond 64 bits
        return json.loads(json.dumps(value, default=str))
