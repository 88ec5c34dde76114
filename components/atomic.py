"""Atomic file writes: whatever has a name is complete, also after a power cut.

Libraries that write Parquet never fsync and may destroy the file they replace, so everything is written beside its
target, flushed to disk, renamed over it, and the folder flushed too. All calls that change what other processes see
are here.
"""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from components.errors import DiskFailed

_no_link = {errno.EPERM, errno.EXDEV, errno.ENOTSUP, errno.EMLINK, errno.EACCES, errno.ENOSYS}  # unsupported: copy

_ways_out = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "Free some space there"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "Make it writable for this user"),
}


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Raises `DiskFailed`, with the path and the way out, for each `OSError` in the block."""
    try:
        yield
    except OSError as error:
        path = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else folder
        way_out = _ways_out.get(error.errno or 0, "Check that disk")
        raise DiskFailed(
            f"Writing below {folder} failed: {error.strerror or error} ({path}). {way_out}, or point RUNATLAS_HOME "
            "elsewhere, then run it again: nothing that was committed is lost."
        ) from error


# --- files -------------------------------------------------------------------------------------------------------


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary name to write to; after the block that file is durably at `path`. A failing block keeps the old one."""
    make_folder(path.parent)
    aside = _aside(path)
    try:
        yield aside
        fsync_file(aside)
        replace(aside, path)
    except BaseException:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def create_file(path: Path, content: bytes) -> None:
    """Writes `path` durably unless it exists; of several processes at once the first one's content stays."""
    make_folder(path.parent)
    aside = _aside(path)
    try:
        write_flushed(aside, content)
        with suppress(FileExistsError):
            if not _linked(aside, path):
                replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    fsync_folder(path.parent)


def write_flushed(path: Path, content: bytes) -> None:
    """Writes and flushes a file under a name that no reader looks for."""
    path.write_bytes(content)
    fsync_file(path)


def link_or_copy(source: Path, target: Path) -> None:
    """`target` becomes another name of `source`; a durable copy where hard links are not supported."""
    if not _linked(source, target):
        shutil.copyfile(source, target)
        fsync_file(target)


def symlink(target: str, path: Path) -> bool:
    """Makes `path` a symbolic link to a folder; False where links are not supported."""
    try:
        os.symlink(target, path, target_is_directory=True)  # noqa: PTH211 - the call that crash tests watch
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in _no_link and os.name != "nt":
            raise
        return False
    return True


def replace(source: Path, target: Path) -> None:
    """Renames a file or link over `target`, in one step; the folder is still to be flushed."""
    os.replace(source, target)  # noqa: PTH105 - the call that crash tests watch


def fsync_file(path: Path) -> None:
    """Flushes one file's content to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _no_link:
            raise
        return False
    return True


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp")


# --- folders -----------------------------------------------------------------------------------------------------


def make_folder(path: Path) -> None:
    """Makes the folder and those above it, durably: a name in a folder that is lost itself is lost too."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        fsync_folder(folder.parent)
    path.mkdir(exist_ok=True)  # raises where a file has the name


def rename_folder(source: Path, target: Path) -> None:
    """Renames a folder; raises `OSError` where `target` exists, unless it is empty."""
    os.rename(source, target)  # noqa: PTH104 - the call that crash tests watch


def remove_folder(path: Path) -> bool:
    """Renames a folder out of sight, then deletes it. False where a reader prevents that (Windows)."""
    doomed = path.with_name(f".del-{path.name}-{uuid.uuid4().hex[:8]}")
    try:
        path.rename(doomed)
    except OSError:
        return False
    shutil.rmtree(doomed, ignore_errors=True)
    return True


def fsync_folder(path: Path) -> None:
    """Flushes a folder's names to disk; nothing where folders can't be opened (Windows)."""
    if os.name != "nt":
        fsync_file(path)
