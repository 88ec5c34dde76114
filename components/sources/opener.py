"""Opens files: plain, gzip and zstd as blocks of unpacked bytes; UTF-16 comes as UTF-8.

Offsets count these bytes, whatever the packing, so a log that is compressed after rotation is still the same log.
"""

from __future__ import annotations

import codecs
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, Final, Literal, Self

import zstandard
from isal import isal_zlib

from components.errors import ReadFailed, TooLarge, Unreadable
from components.sources.creation_time import birth_ns

Packing = Literal["plain", "gzip", "zstd", "zip"]

BLOCK_BYTES: Final = 1 << 20
MAX_RATIO: Final = 500  # unpacked to packed; logs reach 4-30
BOMB_FROM_BYTES: Final = 64 << 20  # what is smaller does no harm
ZSTD_STEP_BYTES: Final = 2_048  # zstd unpacks 4 bytes to 128 KiB at most: 64 MiB a step
ZSTD_MAX_WINDOW: Final = 128 << 20
DAMAGE: Final[tuple[Any, ...]] = (zlib.error, isal_zlib.error, zstandard.ZstdError, EOFError)
MAX_INODE: Final = 2**63 - 1
PLAIN: Final[Packing] = "plain"
MAGIC: Final[tuple[tuple[bytes, Packing], ...]] = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
)


@dataclass(slots=True)
class Opened:
    """An open file. `blocks()` gives its content; `cut` and `damage` then show how the content ended."""

    path: str
    file: BinaryIO
    packing: Packing
    encoding: str  # "utf-8" or a UTF-16 codec
    size_bytes: int
    mtime_ns: int
    inode: int
    ctime_ns: int = 0
    birth_ns: int = 0
    cut: bool = field(default=False)  # the packed stream stops before its end
    damage: str = field(default="")  # why the packed stream can't be unpacked any further

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    @property
    def seekable(self) -> bool:
        """Is an offset of the content also one of the file?"""
        return self.packing == "plain" and self.encoding == "utf-8"

    def blocks(self, offset: int = 0) -> Iterator[bytes]:
        """The content from `offset` on, in blocks of at most some MiB. Raises `Unreadable` on a bomb, `ReadFailed`."""
        self.cut, self.damage = False, ""
        try:
            if self.seekable:
                self.file.seek(offset)
                yield from iter(lambda: self.file.read(BLOCK_BYTES), b"")
                return
            self.file.seek(0)
            yield from _after(offset, self._decoded())
        except OSError as error:
            raise ReadFailed(f"Reading failed: {error.strerror or error}.") from error

    def start(self, size_bytes: int) -> bytes:
        """The first `size_bytes` bytes of the content, or all of it if it is shorter."""
        if self.seekable:
            self.file.seek(0)
            return self.file.read(size_bytes)
        start = bytearray()
        for block in self.blocks():
            start += block
            if len(start) >= size_bytes:
                break
        return bytes(start[:size_bytes])

    def whole(self, limit_bytes: int) -> bytearray:
        """All of the content. Raises `TooLarge` where it is larger than `limit_bytes`."""
        if self.seekable and self.size_bytes > limit_bytes:
            raise _too_large(limit_bytes)
        content = bytearray()
        for block in self.blocks():
            content += block
            if len(content) > limit_bytes:
                raise _too_large(limit_bytes)
        return content

    def has_changed(self) -> bool:
        """Was the file written to since it was opened?"""
        now = os.fstat(self.file.fileno())
        return (now.st_size, now.st_mtime_ns) != (self.size_bytes, self.mtime_ns)

    def _decoded(self) -> Iterator[bytes]:
        if self.encoding == "utf-8":
            return self._unpacked()
        return _as_utf8(self._unpacked(), self.encoding)

    def _unpacked(self) -> Iterator[bytes]:
        if self.packing == "gzip":
            return self._guarded(self._unpack(lambda: isal_zlib.decompressobj(wbits=31), BLOCK_BYTES >> 4))
        if self.packing == "zstd":
            maker = zstandard.ZstdDecompressor(max_window_size=ZSTD_MAX_WINDOW)
            return self._guarded(self._unpack(maker.decompressobj, ZSTD_STEP_BYTES))
        return iter(lambda: self.file.read(BLOCK_BYTES), b"")

    def _unpack(self, new_frame: Callable[[], Any], step: int) -> Iterator[bytes]:
        """What one or several packed frames hold; notes a frame that stops early or is damaged, and ends there."""
        frame, fed = new_frame(), False
        while packed := self.file.read(step):
            while packed:
                try:
                    block = frame.decompress(packed)
                except DAMAGE as error:
                    if fed or self.file.tell() == len(packed):
                        self.damage = f"the packed data is damaged ({error})"
                    return  # else: what follows the last frame is no frame, as gzip itself sees it
                fed = True
                if block:
                    yield block
                packed = frame.unused_data if frame.eof else b""
                if frame.eof:
                    frame, fed = new_frame(), False
        self.cut = fed

    def _guarded(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        total = 0
        for block in blocks:
            total += len(block)
            if total > BOMB_FROM_BYTES and total > MAX_RATIO * max(self.file.tell(), 1):
                raise Unreadable(f"The file unpacks to more than {MAX_RATIO} times its size; it looks like a bomb.")
            for at in range(0, len(block), BLOCK_BYTES):
                yield block[at : at + BLOCK_BYTES]


@dataclass(slots=True)
class _Start:
    """The first `size_bytes` bytes of a file, as a file."""

    file: BinaryIO
    size_bytes: int

    def read(self, n: int) -> bytes:
        return self.file.read(max(0, min(n, self.size_bytes - self.file.tell())))

    def seek(self, offset: int) -> int:
        return self.file.seek(offset)

    def tell(self) -> int:
        return self.file.tell()

    def fileno(self) -> int:
        return self.file.fileno()


def up_to(opened: Opened, size_bytes: int) -> Opened:
    """The first `size_bytes` bytes of an open file whose offsets are those of its content."""
    start: Any = _Start(opened.file, size_bytes)
    return replace(opened, file=start, size_bytes=size_bytes)


def _too_large(limit_bytes: int) -> TooLarge:
    return TooLarge(
        f"The document is larger than {limit_bytes:,} bytes (load.max_item_bytes): raise that setting and load the "
        "source with --verify, or split the document."
    )


def open_file(path: str) -> Opened:
    """The file, its packing and encoding recognised by its first bytes. Raises `ReadFailed` with the reason."""
    try:
        file = open(path, "rb", buffering=0)  # noqa: SIM115, PTH123 - the caller closes what comes back
    except OSError as error:
        raise ReadFailed(f"The file can't be opened: {error.strerror or error}.") from error
    try:
        info = os.fstat(file.fileno())
        magic = file.read(4)
        packing = next((one for start, one in MAGIC if magic.startswith(start)), PLAIN)
        opened = Opened(
            path=path,
            file=file,
            packing=packing,
            encoding="utf-8",
            size_bytes=info.st_size,
            mtime_ns=info.st_mtime_ns,
            inode=inode_of(info),
            ctime_ns=info.st_ctime_ns,
            birth_ns=birth_ns(file.fileno()),
        )
        if packing != "zip":
            opened.encoding = encoding_of(opened.start(1_024))
    except OSError as error:
        file.close()
        raise ReadFailed(f"Reading failed: {error.strerror or error}.") from error
    except BaseException:
        file.close()
        raise
    return opened


def inode_of(info: os.stat_result) -> int:
    """The file's inode in 63 bits, as the database can keep it; some file systems count to 2**64."""
    return info.st_ino & MAX_INODE


def encoding_of(start: bytes) -> str:
    """The codec of a text that begins so: UTF-16 by its mark or by NUL at every other byte, else UTF-8.

    >>> encoding_of('{"a": 1}'.encode("utf-16-le")), encoding_of(b'{"a": 1}')
    ('utf-16-le', 'utf-8')
    """
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    sample = start[: len(start) & ~1]
    half = len(sample) // 2
    for codec, nul, other in (("utf-16-le", 1, 0), ("utf-16-be", 0, 1)):
        if half >= 4 and sample[nul::2].count(0) > 0.9 * half and sample[other::2].count(0) == 0:
            return codec
    return "utf-8"


def _as_utf8(blocks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    for block in blocks:
        if text := decoder.decode(block).encode("utf-8", "replace"):
            yield text


def _after(offset: int, blocks: Iterator[bytes]) -> Iterator[bytes]:
    for block in blocks:
        if offset >= len(block):
            offset -= len(block)
            continue
        yield block[offset:] if offset else block
        offset = 0
