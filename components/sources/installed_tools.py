"""Which known tools have logs in a person's home: places, sizes and times of files. No file is opened."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from components.contracts import Locator
from components.errors import BadSetting, NotFound
from components.sources.discover import discover
from components.sources.known_tools import TOOLS, Tool

ALL: Final = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTool:
    """The logs of one tool: how many files, and sessions where files are sessions; when they were first and last written."""

    name: str
    title: str
    files: int
    sessions: int | None  # None: a database holds them, and it is not opened
    bytes: int
    first: datetime
    last: datetime
    sources: Sequence[str]  # to load: folders, files, globs


def find_tools(home: Path, tools: Iterable[Tool] = TOOLS) -> list[FoundTool]:
    """The tools that have logs below `home`, in their order. Raises `BadSetting` where it is no folder."""
    if not home.is_dir():
        raise BadSetting(f"{home} is no folder: give a home to search with --home DIR.")
    return [found for tool in tools if (found := _found(tool, str(home.absolute()))) is not None]


def pick(found: Sequence[FoundTool], names: str, home: Path) -> list[FoundTool]:
    """The found tools that `names`, separated by commas, name; `all` names all. Raises `BadSetting`, `NotFound`."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if not wanted:
        raise BadSetting("--found needs the names of tools, separated by commas, or `all`; see `runatlas discover`.")
    known = [tool.name for tool in TOOLS]
    by_name = {tool.name: tool for tool in found}
    for name in wanted:
        if name not in (*known, ALL):
            near = get_close_matches(name, known, 1)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            raise BadSetting(f"--found: {name!r} is no known tool.{meant} Known: {', '.join(known)}, or {ALL}.")
        if name != ALL and name not in by_name:
            raise NotFound(f"No logs of {name!r} were found below {home}: see `runatlas discover`.")
    if not found:
        raise NotFound(f"No logs of any known tool were found below {home}.")
    return list(found) if ALL in wanted else [by_name[name] for name in dict.fromkeys(wanted)]


def _found(tool: Tool, home: str) -> FoundTool | None:
    locators: dict[str, Locator] = {}
    sources = []
    for place in tool.places:
        spec = os.path.join(glob.escape(home), *place.split("/"))  # noqa: PTH118 - a Path would lose the last slash
        spec = spec if glob.has_magic(place) else os.path.join(home, *place.split("/"))  # noqa: PTH118
        if not glob.has_magic(spec) and not os.path.exists(spec):  # noqa: PTH110
            continue
        files = discover([spec.rstrip(os.sep)]).locators
        if files:
            sources.append(spec.rstrip(os.sep))
            locators |= {file.location: file for file in files}
    if not locators:
        return None
    times = sorted(file.mtime_ns for file in locators.values())
    return FoundTool(
        name=tool.name,
        title=tool.title,
        files=len(locators),
        sessions=_sessions(tool, locators),
        bytes=sum(file.size_bytes for file in locators.values()),
        first=datetime.fromtimestamp(times[0] / 1e9, tz=UTC),
        last=datetime.fromtimestamp(times[-1] / 1e9, tz=UTC),
        sources=sources,
    )


def _sessions(tool: Tool, locations: Iterable[str]) -> int | None:
    names = [Path(location).name for location in locations]
    return sum(fnmatch(name, tool.sessions) for name in names) or None if tool.sessions else None
