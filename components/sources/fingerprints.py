"""Digests by which a source is identified: of its head, of the tail before the offset, and of all its content.

`content` is a chain, so that a log that grew is not hashed from its start: the digest of a full block of 1 MiB begins
with the digest of the block before it. What a cursor needs to go on is the digest of the last full block (`chain`) and
the bytes after it, which are read again: 1 MiB at most.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Final

CHAIN_BYTES: Final = 1 << 20
EDGE_BYTES: Final = 4_096  # head and tail


@dataclass(frozen=True, slots=True, kw_only=True)
class Prints:
    """The digests of the first `offset` bytes of a content, as hex."""

    offset: int
    head: str
    head_bytes: int
    tail: str
    content: str
    chain: str


@dataclass(slots=True)
class Fingerprint:
    """The digests of a growing content, which is fed in order."""

    offset: int = 0
    _head: bytes = b""
    _tail: bytes = b""
    _chain: bytes = b""
    _filled: int = 0
    _waiting: list[bytes | bytearray] = field(default_factory=list)
    _waiting_bytes: int = 0
    _open: hashlib._Hash = field(default_factory=hashlib.sha256)

    def feed(self, data: bytes | bytearray) -> None:
        """Add the next bytes."""
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes >= CHAIN_BYTES:
            self._digest_waiting()

    def prints(self) -> Prints:
        """The digests of everything fed so far."""
        self._digest_waiting()
        return Prints(
            offset=self.offset,
            head=hashlib.sha256(self._head).hexdigest(),
            head_bytes=len(self._head),
            tail=hashlib.sha256(self._tail).hexdigest(),
            content=self._open.copy().hexdigest(),
            chain=self._chain.hex(),
        )

    def _digest_waiting(self) -> None:
        if not self._waiting:
            return
        data = self._waiting[0] if len(self._waiting) == 1 else b"".join(self._waiting)
        self._waiting, self._waiting_bytes = [], 0
        if len(self._head) < EDGE_BYTES:
            self._head += data[: EDGE_BYTES - len(self._head)]
        self._tail = bytes(data[-EDGE_BYTES:]) if len(data) >= EDGE_BYTES else (self._tail + data)[-EDGE_BYTES:]
        self.offset += len(data)
        view = memoryview(data)
        while len(view) >= CHAIN_BYTES - self._filled:
            n_free = CHAIN_BYTES - self._filled
            self._open.update(view[:n_free])
            self._chain = self._open.digest()
            self._open = hashlib.sha256(self._chain)
            self._filled = 0
            view = view[n_free:]
        self._open.update(view)
        self._filled += len(view)

    @classmethod
    def resumed(cls, *, offset: int, chain: str, head: bytes, before: bytes) -> Fingerprint:
        """The fingerprint of the first `offset` bytes, from the chain's digest and the bytes `before` the offset.

        `before` reaches back to `resume_start(offset)`, `head` holds the first 4 KiB, or all if it is less.
        """
        since_chain = before[len(before) - offset % CHAIN_BYTES :]
        known = cls(offset=offset, _head=head[:EDGE_BYTES], _tail=before[-EDGE_BYTES:], _chain=bytes.fromhex(chain))
        known._open = hashlib.sha256(known._chain + since_chain)
        known._filled = len(since_chain)
        return known

    def copy(self) -> Fingerprint:
        """One that grows independently of this one."""
        self._digest_waiting()
        return replace(self, _waiting=[], _open=self._open.copy())


def resume_start(offset: int) -> int:
    """Where the bytes begin that `Fingerprint.resumed` wants to see again."""
    return max(0, min(offset - offset % CHAIN_BYTES, offset - EDGE_BYTES))
