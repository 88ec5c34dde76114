"""The command `discover`, and what `load --found` loads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from api.cli.command import JsonOption, emit
from api.cli.report import counted
from components.sources.installed_tools import FoundTool, find_tools, pick

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", metavar="DIR", help="Look in this home instead of your own.", show_default=False),
]


def discover(home: HomeOption = None, json: JsonOption = False) -> None:
    """Find the logs of known tools on this machine.

    Reads nothing: only names, sizes and times of files. `runatlas load --found NAMES` loads what you pick.
    """
    place = home or Path.home()
    found = find_tools(place)
    emit([asdict(tool) for tool in found], found_lines(found, place, home), json=json)


def picked_sources(names: str, home: Path | None) -> list[str]:
    """The sources of the found tools that `names` picks. Raises `BadSetting`, `NotFound`."""
    place = home or Path.home()
    return [source for tool in pick(find_tools(place), names, place) for source in tool.sources]


def found_lines(found: Sequence[FoundTool], place: Path, home: Path | None) -> Iterator[str]:
    """What was found where, and the command that loads it."""
    if not found:
        yield f"No logs of any known tool below {place}. Nothing was read."
        return
    yield from tool_lines(found, place)
    yield "Nothing was read yet. Load what you pick, by names or `all`:"
    where = f" --home {home}" if home else ""
    yield f"  runatlas load --found {','.join(tool.name for tool in found[:2])}{where}"


def tool_lines(found: Sequence[FoundTool], place: Path) -> Iterator[str]:
    """A line for each tool: name, sessions, size and span of time; below it its places."""
    width = max(len(tool.name) for tool in found)
    for tool in found:
        sessions = counted(tool.sessions, "session") if tool.sessions else counted(tool.files, "file")
        span = f"{tool.first:%Y-%m-%d} to {tool.last:%Y-%m-%d}"
        yield f"{tool.name:<{width}}  {sessions:>15}  {_size(tool.bytes):>9}  {span}  {tool.title}"
        for source in tool.sources:
            yield f"{'':<{width}}  {_short(source, place)}"


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.1f} MB" if size_bytes >= 100_000 else f"{size_bytes / 1e3:,.1f} kB"


def _short(source: str, place: Path) -> str:
    below = source.removeprefix(f"{place.absolute()}/")
    return source if below == source else f"~/{below}"
