"""What source specs name: files, folders (recursive), globs, database URLs. Reads no content, opens nothing.

A spec itself may be a link to anywhere. A link that is found below a folder or by a wildcard is followed only within the
same root: otherwise whoever can write there could have any file of the machine read.
"""

from __future__ import annotations

import errno
import fnmatch
import glob
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath

from components.contracts import Discovered, Locator, Problem
from components.errors import SourceError
from components.locations import absolute, glob_root, is_url, without_credentials
from components.sources.opener import inode_of
from components.sources.table_urls import table_locator

logger = logging.getLogger(__name__)

home_marks = frozenset({"home-id", "runatlas.db"})  # a folder that holds one of them is a home of runatlas
hidden_logs = frozenset(
    {".aider.chat.history.md", ".system_generated", ".specstory"}
)  # hidden names that tools give to logs
in_homes = frozenset(
    {
        "output",
        "vectors",
        "cache",
        "prefect",
        "credentials.json",
        "prefect-deployed",
        "up.pid",
        "asked-to-load",
        *home_marks,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A file, its real path (links resolved), and its directory entry."""

    path: str
    real: str
    stat: os.stat_result


@dataclass(frozen=True, slots=True, kw_only=True)
class _Root:
    """A folder that a spec names, its real path, and what was found there that can't be read."""

    path: str
    real: str
    outside: list[str] = field(default_factory=list)  # links to what is outside of it
    problems: list[Problem] = field(default_factory=list)

    def holds(self, real: str) -> bool:
        """Is this real path the root, or below it?"""
        return real == self.real or real.startswith(self.real if self.real.endswith(os.sep) else self.real + os.sep)

    def refuse(self, folder: str, error: OSError) -> None:
        """Note a folder that can't be listed; one that has vanished is no problem."""
        if error.errno not in {errno.ENOENT, errno.ENOTDIR}:
            reason = f"The folder can't be listed: {error.strerror or error}."
            self.problems.append(Problem(source=folder, reason=reason))


def _root(path: str) -> _Root:
    return _Root(path=path, real=os.path.realpath(path))


def discover(specs: Sequence[str]) -> Discovered:
    """Every source that `specs` name, by key; a file that is named twice, or linked, comes once."""
    locators: dict[str, Locator] = {}
    problems: list[Problem] = []
    for spec in specs:
        try:
            for real, locator in _named_by(spec, problems):
                locators.setdefault(real, replace(locator, spec=spec))
        except (SourceError, OSError) as error:
            reason = f"{error.strerror}." if isinstance(error, OSError) and error.strerror else str(error)
            problems.append(Problem(source=without_credentials(spec), reason=reason))
    ordered = sorted(locators.values(), key=lambda locator: (locator.key, locator.location))
    return Discovered(locators=ordered, problems=problems)


def _named_by(spec: str, problems: list[Problem]) -> Iterator[tuple[str, Locator]]:
    if is_url(spec):
        table = table_locator(spec)
        yield table.location, table
        return
    path = absolute(spec)
    if os.path.lexists(path):
        info = os.stat(path)  # noqa: PTH116
        if stat.S_ISREG(info.st_mode):
            found = Found(path=path, real=os.path.realpath(path), stat=info)
            yield found.real, _locator(found, root=os.path.dirname(path))  # noqa: PTH120
            return
        if not stat.S_ISDIR(info.st_mode):
            raise SourceError("This is neither a file nor a folder.")
        root = _root(path)
        files, nothing = _below(root), "There is no file in this folder."
    elif glob.has_magic(spec) and glob.has_magic(path):
        root = _root(glob_root(path))
        files, nothing = _matching(root, path), "No file matches this pattern."
    else:
        raise SourceError("There is no such file or folder.")
    is_empty = True
    for found in files:
        is_empty = False
        yield found.real, _locator(found, root=root.path)
    problems += root.problems
    _report_outside(spec, root, nothing=nothing if is_empty else "")


def _report_outside(spec: str, root: _Root, *, nothing: str) -> None:
    """Raises `SourceError` where `nothing` was found; links that were not followed are named in it, or in the log."""
    refused = ""
    if root.outside:
        n = f"{len(root.outside)} links lead" if len(root.outside) > 1 else "A link leads"
        refused = (
            f"{n} out of {root.path} and can't be followed, such as {min(root.outside)}. To read its target, give it as "
            "a source of its own."
        )
    if nothing and not root.problems:
        raise SourceError(f"{nothing} {refused}".strip())
    if refused:
        logger.warning("%s: %s", spec, refused)


def _below(root: _Root) -> Iterator[Found]:
    """Files below the root, links after what they may point to, each real folder once; hidden names are left out but for those of logs."""
    seen: set[str] = set()
    waiting = [(root.path, root.real)]
    linked: list[os.DirEntry[str]] = []
    while waiting:
        here, real_here = waiting.pop()
        if real_here in seen:
            continue
        seen.add(real_here)
        for entry in _entries(here, root):
            if entry.is_symlink():
                linked.append(entry)
            elif entry.is_dir(follow_symlinks=False):
                waiting.append((entry.path, f"{real_here}{os.sep}{entry.name}"))
            elif entry.is_file(follow_symlinks=False):
                yield from _found(entry.path, f"{real_here}{os.sep}{entry.name}")
        if not waiting:  # real folders first, so that a file keeps its own path and not that of a link
            for entry in sorted(linked, key=lambda entry: entry.path):
                real = os.path.realpath(entry.path)
                if not root.holds(real):
                    if os.path.exists(real):  # noqa: PTH110
                        root.outside.append(entry.path)
                elif os.path.isdir(real):  # noqa: PTH112
                    waiting.append((entry.path, real))
                elif os.path.isfile(real):  # noqa: PTH113
                    yield from _found(entry.path, real)
            linked = []


def _entries(folder: str, root: _Root) -> list[os.DirEntry[str]]:
    """The entries of a folder, without hidden ones and without what runatlas keeps in a home: its output is no log."""
    try:
        with os.scandir(folder) as entries:
            shown = [entry for entry in entries if not entry.name.startswith(".") or entry.name in hidden_logs]
    except OSError as error:  # the folders beside it are read
        root.refuse(folder, error)
        return []
    if not any(entry.name in home_marks for entry in shown):
        return shown
    return [entry for entry in shown if not _is_of_home(entry.name, is_below=folder != root.path)]


def _is_of_home(name: str, *, is_below: bool) -> bool:
    """Does runatlas write this in a home? `logs` directly in the folder that was named may be the user's."""
    return name in in_homes or name.startswith("runatlas.db") or (is_below and name == "logs")


def is_written_by_us(path: str, home: str) -> bool:
    """Is this a path that runatlas itself writes while it works in its home?

    >>> is_written_by_us("/data/runatlas.db-wal", "/data"), is_written_by_us("/data/logs/a.jsonl", "/data")
    (True, False)
    """
    below = path.removeprefix(home.rstrip(os.sep) + os.sep)
    if below == path:
        return False
    first, _, rest = below.partition(os.sep)
    return _is_of_home(first, is_below=False) or (first == "logs" and rest.startswith(("up.log", "prefect-server.log")))


def _found(path: str, real: str) -> Iterator[Found]:
    """The file, unless it has vanished since it was listed."""
    try:
        yield Found(path=path, real=real, stat=os.stat(path))  # noqa: PTH116
    except OSError:
        return


def _matching(root: _Root, pattern: str) -> Iterator[Found]:
    """Files below the root that match; `**` matches any folders but linked ones."""
    parts = PurePath(pattern.removeprefix(root.path).strip(os.sep)).parts
    for path in sorted(set(_expanded(root.path, parts, root))):
        real = os.path.realpath(path)
        if not root.holds(real):
            root.outside.append(path)
        elif os.path.isfile(real):  # noqa: PTH113
            yield from _found(path, real)


def _expanded(folder: str, parts: Sequence[str], root: _Root) -> Iterator[str]:
    """The paths below `folder` that match the parts of a pattern, as `glob` matches them."""
    part, *rest = parts
    if part == "**":
        yield from _expanded(folder, rest or ["*"], root)
        for entry in _entries(folder, root):
            if entry.is_dir(follow_symlinks=False):
                yield from _expanded(entry.path, parts, root)
        return
    if not rest:
        yield from _matching_names(folder, part, root)
        return
    for path in _matching_names(folder, part, root):
        if os.path.islink(path) and not root.holds(os.path.realpath(path)):  # noqa: PTH114
            root.outside.append(path)
        elif os.path.isdir(path):  # noqa: PTH112
            yield from _expanded(path, rest, root)


def _matching_names(folder: str, part: str, root: _Root) -> Iterator[str]:
    """The paths in `folder` whose names match; a wildcard matches hidden names only after a dot."""
    if not glob.has_magic(part):
        path = f"{folder.rstrip(os.sep)}{os.sep}{part}"
        if os.path.lexists(path):
            yield path
        return
    try:
        names = os.listdir(folder)  # noqa: PTH208
    except OSError as error:
        root.refuse(folder, error)
        return
    is_home = not home_marks.isdisjoint(names)
    for name in fnmatch.filter(names, part):
        is_hidden = name.startswith(".") and not part.startswith(".")
        if not is_hidden and not (is_home and _is_of_home(name, is_below=folder != root.path)):
            yield f"{folder.rstrip(os.sep)}{os.sep}{name}"


def _locator(found: Found, *, root: str) -> Locator:
    prefix = root if root.endswith(os.sep) else root + os.sep
    return Locator(
        location=found.path,
        key=found.path.removeprefix(prefix).replace(os.sep, "/"),
        root=root,
        size_bytes=found.stat.st_size,
        mtime_ns=found.stat.st_mtime_ns,
        ctime_ns=found.stat.st_ctime_ns,
        inode=inode_of(found.stat),
    )
