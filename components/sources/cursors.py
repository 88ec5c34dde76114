"""Has a source changed since its cursor was written, and how? Answers come from digests, never from names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from components.contracts import Cursor, Json
from components.sources import zips
from components.sources.fingerprints import EDGE_BYTES, Fingerprint, Prints, resume_start
from components.sources.opener import Opened


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
    opened.file.seek(start)
    return opened.file.read(size_bytes)


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
    return Cursor(
        format=format,
        size_bytes=finished_bytes if finished_bytes is not None else prints.offset,
        mtime_ns=opened.mtime_ns if finished else 0,
        inode=opened.inode,
        offset=prints.offset,
        head=prints.head,
        head_bytes=prints.head_bytes,
        tail=prints.tail,
        content=prints.content,
        state={**state, "chain": prints.chain},
    )


def as_json(value: Any) -> Json:
    """A copy that shares nothing with a reader that reads on."""
    try:
        return orjson.loads(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS))
    except TypeError:  # integers beyond 64 bits
        return json.loads(json.dumps(value, default=str))
