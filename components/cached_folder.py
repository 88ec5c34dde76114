"""Cached folders: complete and undamaged, or rebuilt.

The content of a cache can be derived again, so damage to it must never stop a run, nor change a result. A folder is
filled under a temporary name, the sizes and checksums of its files recorded in it, flushed to disk, and renamed.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import orjson
from isal.isal_zlib import crc32

from components.atomic import fsync_file, fsync_folder, make_folder, remove_folder, rename_folder

CHECKSUMS = "checksums.json"
abandoned_after_s = 3_600.0  # a folder without writes for so long was left behind by a killed writer

_block_bytes = 1 << 20


@contextmanager
def atomic_folder(path: Path, *, keep_intact: bool = False) -> Iterator[Path]:
    """A folder to fill; after the block it is durably at `path`, in place of what was there.

    A failing block keeps the old one. Of several writers at once the last one's folder stays, or an equal one. With
    `keep_intact`, for folders whose name decides their content, an undamaged one stays: another process may be reading it.
    """
    make_folder(path.parent)
    _remove_abandoned(path)
    aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
    try:
        yield aside
        (aside / CHECKSUMS).write_bytes(orjson.dumps({name: _sum(aside / name) for name in _files(aside)}))
        _flush(aside)
        if not keep_intact and path.exists():
            remove_folder(path)
        try:
            rename_folder(aside, path)
        except OSError:
            if is_intact(path):
                return  # another process was quicker
            if not path.exists():
                raise
            remove_folder(path)
            rename_folder(aside, path)
        fsync_folder(path.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def is_intact(folder: Path, *, thorough: bool = True) -> bool:
    """Does the folder hold what `atomic_folder` put there: by size, and if `thorough` by content?

    Reading 100 MB costs about 0.05 s. Files that were added later do not matter.
    """
    try:
        recorded: dict[str, list[int]] = orjson.loads((folder / CHECKSUMS).read_bytes())
        return all(
            (folder / name).stat().st_size == size and (not thorough or _crc32(folder / name) == checksum)
            for name, (size, checksum) in recorded.items()
        )
    except (OSError, ValueError, TypeError, AttributeError):
        return False


def _files(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def _sum(file: Path) -> tuple[int, int]:
    return file.stat().st_size, _crc32(file)


def _crc32(file: Path) -> int:
    checksum = 0
    with file.open("rb") as opened:
        while block := opened.read(_block_bytes):
            checksum = crc32(block, checksum)
    return checksum


def _flush(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_dir():
            fsync_folder(path)
        else:
            fsync_file(path)
    fsync_folder(folder)


def _remove_abandoned(path: Path) -> None:
    for aside in path.parent.glob(f".{path.name}-*"):
        with suppress(OSError):  # another process is removing it
            if time.time() - aside.stat().st_mtime > abandoned_after_s:
                shutil.rmtree(aside)
