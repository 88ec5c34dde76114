"""Files that are there whole or not at all, also after a power cut.

Libraries that write Parquet never fsync and may destroy what they were to replace, so everything is written beside
its target, flushed to disk, renamed over it, and the folder flushed too.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NO_LINK = {errno.EPERM, errno.EXDEV, errno.ENOTSUP, errno.EMLINK, errno.EACCES, errno.ENOSYS}
"""What a file system answers that can't link these two files; copying is the way out."""


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


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A name to write to; after the block that file stands durably at `path`. A failing block leaves the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
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
    doomed = path.with_name(f".del-{path.name}-{os.getpid()}")
    try:
        path.rename(doomed)
    except OSError:
        return False
    shutil.rmtree(doomed, ignore_errors=True)
    return True
