"""When a file was created: a renamed file keeps it, another file that was given the same inode does not."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from functools import cache
from typing import Any, Final

AT_EMPTY_PATH: Final = 0x1000
STATX_BTIME: Final = 0x800
STATX_BYTES: Final = 256  # linux/stat.h
MASK: Final = struct.Struct("=I")  # at 0: which fields the file system filled in
BIRTH: Final = struct.Struct("=qI")  # at 80: seconds and nanoseconds


@cache
def _statx() -> Any:
    """The C library's `statx`, or None where it has none."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return ctypes.CDLL(None, use_errno=True).statx
    except (OSError, AttributeError):
        return None


def birth_ns(descriptor: int) -> int:
    """When the open file was created, in nanoseconds since 1970; 0 where system or file system do not record it."""
    if seconds := getattr(os.fstat(descriptor), "st_birthtime", 0):
        return int(seconds * 1e9)
    statx = _statx()
    if statx is None:
        return 0
    found = ctypes.create_string_buffer(STATX_BYTES)
    if statx(descriptor, b"", AT_EMPTY_PATH, STATX_BTIME, found) != 0:
        return 0
    if not MASK.unpack_from(found.raw, 0)[0] & STATX_BTIME:
        return 0
    whole, fraction = BIRTH.unpack_from(found.raw, 80)
    return int(whole) * 10**9 + int(fraction)
