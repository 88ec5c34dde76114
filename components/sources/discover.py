"""What source specs name: files, folders (recursive), globs, database URLs. Reads no content, opens nothing."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from components.contracts import Discovered, Locator, Problem
from components.errors import SourceError
from components.sources import tables


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A file, where it really lies (links resolved), and what the directory said of it."""

    path: str
    real: str
    stat: os.stat_result


def discover(specs: Sequence[str]) -> Discovered:
    """Every source that `specs` name, by key; a file that is named twice, or linked, comes once."""
    locators: dict[str, Locator] = {}
    problems: list[Problem] = []
    for spec in specs:
        try:
            for real, locator in _named_by(spec):
                locators.setdefault(real, replace(locator, spec=spec))
        except (SourceError, OSError) as error:
            reason = f"{error.strerror}." if isinstance(error, OSError) and error.strerror else str(error)
            problems.append(Problem(source=tables.without_secrets(spec), reason=reason))
    ordered = sorted(locators.values(), key=lambda locator: (locator.key, locator.location))
    return Discovered(locators=ordered, problems=problems)


def _named_by(spec: str) -> Iterator[tuple[str, Locator]]:
    if tables.is_url(spec):
        yield spec, tables.locator(spec)
        return
    path = os.path.abspath(os.path.expanduser(spec))  # noqa: PTH100, PTH111 - a Path costs more than the look-up
    if os.path.lexists(path):
        yield from _below(path)
    elif glob.has_magic(spec):
        yield from _matching(path)
    else:
        raise SourceError("There is no such file or folder.")


def _below(path: str) -> Iterator[tuple[str, Locator]]:
    info = os.stat(path)  # noqa: PTH116
    real = os.path.realpath(path)
    if stat.S_ISREG(info.st_mode):
        yield real, _locator(Found(path=path, real=real, stat=info), root=os.path.dirname(path))  # noqa: PTH120
        return
    if not stat.S_ISDIR(info.st_mode):
        raise SourceError("This is neither a file nor a folder.")
    is_empty = True
    for found in _files(path, real):
        is_empty = False
        yield found.real, _locator(found, root=path)
    if is_empty:
        raise SourceError("There is no file in this folder.")


def _matching(pattern: str) -> Iterator[tuple[str, Locator]]:
    root = _fixed_prefix(pattern)
    n = 0
    for path in sorted(glob.iglob(pattern, recursive=True)):  # noqa: PTH207
        if os.path.isfile(path):  # noqa: PTH113
            n += 1
            found = Found(path=path, real=os.path.realpath(path), stat=os.stat(path))  # noqa: PTH116
            yield found.real, _locator(found, root=root)
    if n == 0:
        raise SourceError("No file matches this pattern.")


def _fixed_prefix(pattern: str) -> str:
    """The folders of `pattern` before its first wildcard.

    >>> _fixed_prefix("/logs/app/*/run-?.jsonl")
    '/logs/app'
    """
    folder = os.path.dirname(pattern)  # noqa: PTH120
    while glob.has_magic(folder):
        folder = os.path.dirname(folder)  # noqa: PTH120
    return folder


def _files(folder: str, real: str) -> Iterator[Found]:
    """Files below `folder`, links after what they may point to, each real folder once; hidden names are left out."""
    seen: set[str] = set()
    waiting = [(folder, real)]
    linked: list[os.DirEntry[str]] = []
    while waiting:
        here, real_here = waiting.pop()
        if real_here in seen:
            continue
        seen.add(real_here)
        for entry in _entries(here):
            if entry.is_symlink():
                linked.append(entry)
            elif entry.is_dir(follow_symlinks=False):
                waiting.append((entry.path, f"{real_here}{os.sep}{entry.name}"))
            elif entry.is_file(follow_symlinks=False):
                yield Found(path=entry.path, real=f"{real_here}{os.sep}{entry.name}", stat=entry.stat())
        if not waiting:  # real folders first, so that a file keeps its own path and not that of a link
            for entry in sorted(linked, key=lambda entry: entry.path):
                if entry.is_dir():
                    waiting.append((entry.path, os.path.realpath(entry.path)))
                elif entry.is_file():
                    yield Found(path=entry.path, real=os.path.realpath(entry.path), stat=entry.stat())
            linked = []


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError:  # vanished or not ours to read: the folders beside it are
        return []


def _locator(found: Found, *, root: str) -> Locator:
    prefix = root if root.endswith(os.sep) else root + os.sep
    return Locator(
        location=found.path,
        key=found.path.removeprefix(prefix).replace(os.sep, "/"),
        root=root,
        size_bytes=found.stat.st_size,
        mtime_ns=found.stat.st_mtime_ns,
        inode=found.stat.st_ino,
    )
