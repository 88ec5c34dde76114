"""Files that are there whole or not at all, also after a power cut.

Libraries that write Parquet never fsync and may destroy what they were to replace, so everything is written beside
its target, flushed to disk, renamed over it, and the folder flushed too.
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

NO_LINK = {errno.EPERM, errno.EXDEV, errno.ENOTSUP, errno.EMLINK, errno.EACCES, errno.ENOSYS}
"""What a file system answers that can't link these two files; copying is the way out."""


_WAYS_OUT = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "Make room there"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "Make it writable for this user"),
}


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Raises `DiskFailed`, with the place and the way out, for what the disk refuses in the block."""
    try:
        yield
    except OSError as error:
        place = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else folder
        way_out = _WAYS_OUT.get(error.errno or 0, "Check that disk")
        raise DiskFailed(
            f"Writing below {folder} failed: {error.strerror or error} ({place}). {way_out}, or point RUNATLAS_HOME "
            "elsewhere, then run it again: nothing that was committed is lost."
        ) from error


def fsync_file(path: Path) -> None:
    """Flushes one file's content to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_folder(path: Path) -> None:
    """Flushes a folder's names to disk; nothing where folders can't be opened (Windows)."""
    if os.name != "nt":
        fsync_file(path)


def make_folder(path: Path) -> None:
    """The folder and those above it, durably: a name in a folder that is lost itself is lost too."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        fsync_folder(folder.parent)
    path.mkdir(exist_ok=True)  # raises where something else bears the name


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A name to write to; after the block that file stands durably at `path`. A failing block leaves the old one."""
    make_folder(path.parent)
    aside = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield aside
        fsync_file(aside)
        os.replace(aside, path)  # noqa: PTH105 - the call that crash tests watch
    except BaseException:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def link_or_copy(source: Path, target: Path) -> None:
    """`target` becomes another name of `source`; a durable copy where links are not to be had."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        shutil.copyfile(source, target)
        fsync_file(target)


def remove_folder(path: Path) -> bool:
    """Takes a folder out of sight at once, then deletes it. False where a reader keeps it from going (Windows)."""
    doomed = path.with_name(f".del-{path.name}-{uuid.uuid4().hex[:8]}")
    try:
        path.rename(doomed)
    except OSError:
        return False
    shutil.rmtree(doomed, ignore_errors=True)
    return True
