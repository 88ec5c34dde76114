"""Members of a zip archive, one at a time and checked: also zstd-packed ones, and those of an archive cut short."""

from __future__ import annotations

import mmap
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import zstandard

from components.errors import ReadFailed, Unreadable
from components.sources.opener import BOMB_FROM_BYTES, MAX_RATIO, ZSTD_MAX_WINDOW, Opened

STORED, DEFLATED, ZSTD = 0, 8, 93
LOCAL_HEADER: Final = struct.Struct("<4sHHHHHIIIHH")
LOCAL_MAGIC: Final = b"PK\x03\x04"
ENCRYPTED, SIZES_FOLLOW, UTF8_NAME = 0x1, 0x8, 0x800


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member: `start` is where its local header begins in the archive."""

    name: str
    method: int
    packed_bytes: int
    size_bytes: int
    crc: int
    start: int
    encrypted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The members in the order of the archive. `whole` is False where the archive's directory is missing."""

    members: Sequence[Member]
    whole: bool


def listing(opened: Opened) -> Listing:
    """What the archive holds: by its directory, or, where that is missing, by the members that are there in full.

    Raises `Unreadable` when the members together unpack to far more than the archive's size.
    """
    try:
        with zipfile.ZipFile(opened.path) as archive:
            members = [_member(info) for info in archive.infolist() if not info.is_dir()]
        found = Listing(members=members, whole=True)
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, struct.error):
        found = Listing(members=list(_recovered(opened)), whole=False)
    except OSError as error:
        raise ReadFailed(f"Reading failed: {error.strerror or error}.") from error
    unpacked = sum(member.size_bytes for member in found.members)
    if unpacked > BOMB_FROM_BYTES and unpacked > MAX_RATIO * max(opened.size_bytes, 1):
        raise Unreadable(f"The archive unpacks to more than {MAX_RATIO} times its size; it looks like a bomb.")
    return found


def _member(info: zipfile.ZipInfo) -> Member:
    return Member(
        name=info.filename,
        method=info.compress_type,
        packed_bytes=info.compress_size,
        size_bytes=info.file_size,
        crc=info.CRC,
        start=info.header_offset,
        encrypted=bool(info.flag_bits & ENCRYPTED),
    )


def content(opened: Opened, member: Member, limit_bytes: int) -> bytes:
    """The member's bytes. Raises `ValueError` with the reason where it is damaged, encrypted or too large."""
    if member.encrypted:
        raise ValueError("the member is encrypted")
    if member.size_bytes > limit_bytes:
        raise ValueError(f"the member is larger than {limit_bytes:,} bytes (load.max_item_bytes)")
    opened.file.seek(member.start)
    header = opened.file.read(LOCAL_HEADER.size)
    if len(header) < LOCAL_HEADER.size or not header.startswith(LOCAL_MAGIC):
        raise ValueError("the member's header is damaged")
    *_, name_bytes, extra_bytes = LOCAL_HEADER.unpack(header)
    opened.file.seek(member.start + LOCAL_HEADER.size + name_bytes + extra_bytes)
    packed = opened.file.read(member.packed_bytes)
    data = _unpacked(packed, member.method, member.size_bytes)
    if len(data) != member.size_bytes or zlib.crc32(data) != member.crc:
        raise ValueError("the member is damaged: its checksum differs")
    return data


def _unpacked(packed: bytes, method: int, size_bytes: int) -> bytes:
    try:
        if method == STORED:
            return packed
        if method == DEFLATED:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, size_bytes + 1)
        if method == ZSTD:
            decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_MAX_WINDOW)
            with decompressor.stream_reader(packed, read_across_frames=True) as reader:
                return _read_all(reader, size_bytes + 1)
    except (zlib.error, zstandard.ZstdError) as error:
        raise ValueError(f"the member is damaged: {error}") from error
    raise ValueError(f"the member is packed by method {method}, which is not read")


def _read_all(reader: Any, limit_bytes: int) -> bytes:
    data = bytearray()
    while len(data) < limit_bytes and (block := reader.read(min(1 << 20, limit_bytes - len(data)))):
        data += block
    return bytes(data)


def _recovered(opened: Opened) -> Iterator[Member]:
    """The members that are there in full, from their local headers, until the first that is not."""
    if opened.size_bytes < LOCAL_HEADER.size:
        return
    with mmap.mmap(opened.file.fileno(), 0, access=mmap.ACCESS_READ) as archive:
        start = 0
        while archive[start : start + 4] == LOCAL_MAGIC and start + LOCAL_HEADER.size <= len(archive):
            member, end = _at(archive, start)
            if member is None or end > len(archive):
                return
            if not member.name.endswith("/"):
                yield member
            start = end


def _at(archive: mmap.mmap, start: int) -> tuple[Member | None, int]:
    """The member whose local header begins at `start`, and where the next one begins."""
    header = LOCAL_HEADER.unpack(archive[start : start + LOCAL_HEADER.size])
    _, _, flags, method, _, _, crc, packed_bytes, size_bytes, name_bytes, extra_bytes = header
    name_at = start + LOCAL_HEADER.size
    data_at = name_at + name_bytes + extra_bytes
    raw = archive[name_at : name_at + name_bytes]
    name = raw.decode("utf-8" if flags & UTF8_NAME else "cp437", "replace")
    wide = packed_bytes == 0xFFFFFFFF or size_bytes == 0xFFFFFFFF
    if wide:
        packed_bytes, size_bytes = _wide_sizes(archive[name_at + name_bytes : data_at], packed_bytes, size_bytes)
    end = data_at + packed_bytes
    if flags & SIZES_FOLLOW:
        measured = _measured(archive, data_at, method)
        if measured is None:
            return None, 0
        packed_bytes, size_bytes, crc = measured
        end = _after_descriptor(archive, data_at + packed_bytes, crc, wide=wide)
    return Member(
        name=name,
        method=method,
        packed_bytes=packed_bytes,
        size_bytes=size_bytes,
        crc=crc,
        start=start,
        encrypted=bool(flags & ENCRYPTED),
    ), end


def _wide_sizes(extra: bytes, packed_bytes: int, size_bytes: int) -> tuple[int, int]:
    """Sizes from the zip64 field among the extra fields."""
    at = 0
    while at + 4 <= len(extra):
        tag, length = struct.unpack_from("<HH", extra, at)
        if tag == 1 and length >= 16:
            size_bytes, packed_bytes = struct.unpack_from("<QQ", extra, at + 4)
            break
        at += 4 + length
    return packed_bytes, size_bytes


def _measured(archive: mmap.mmap, data_at: int, method: int) -> tuple[int, int, int] | None:
    """Packed size, size and checksum of a member whose header lacks them; None when it isn't there in full."""
    if method == DEFLATED:
        unpacker: Any = zlib.decompressobj(-zlib.MAX_WBITS)
    elif method == ZSTD:
        unpacker = zstandard.ZstdDecompressor(max_window_size=ZSTD_MAX_WINDOW).decompressobj()
    else:
        return None
    at, size_bytes, crc = data_at, 0, 0
    while not unpacker.eof:
        if at >= len(archive) or size_bytes > MAX_RATIO * len(archive) + BOMB_FROM_BYTES:
            return None
        packed = archive[at : at + 2_048]
        try:
            data = unpacker.decompress(packed)
        except (zlib.error, zstandard.ZstdError):
            return None
        size_bytes += len(data)
        crc = zlib.crc32(data, crc)
        at += len(packed)
    return at - len(unpacker.unused_data) - data_at, size_bytes, crc


def _after_descriptor(archive: mmap.mmap, at: int, crc: int, *, wide: bool) -> int:
    """Where the data descriptor ends that follows a member's data; its magic number is optional."""
    if archive[at : at + 4] == b"PK\x07\x08":
        at += 4
    if archive[at : at + 4] != struct.pack("<I", crc):
        return len(archive) + 1
    for size in (20, 12) if wide else (12, 20):
        if archive[at + size : at + size + 2] in (b"PK", b""):
            return at + size
    return at + 12
