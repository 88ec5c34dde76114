"""The question of the first start: which known tools' logs to load. Nothing is read before the person agrees."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import typer

from api.cli.discovering import tool_lines
from components.errors import BadSetting, NotFound
from components.settings import DEFAULT_DATASET, Settings
from components.sources.installed_tools import ALL, FoundTool, find_tools, pick
from components.wiring import open_store

ASKED_FILE = "asked-to-load"  # in the home: the question was answered


def ask_at_first_start(settings: Settings) -> None:
    """Asks once, where a person sits at the terminal and nothing is loaded yet; remembers what is picked as sources.

    The first load of `up` reads them.
    """
    asked = settings.home / ASKED_FILE
    if (
        not (sys.stdin.isatty() and sys.stdout.isatty())
        or asked.exists()
        or any(d.sources for d in settings.datasets.values())
    ):
        return
    with closing(open_store(settings)) as store:
        if store.datasets.ids():
            return
        picked = _ask(find_tools(Path.home()), Path.home())
        if picked:
            number = store.datasets.id(DEFAULT_DATASET, create=True)
            assert number is not None
            store.datasets.remember(number, [source for tool in picked for source in tool.sources])
            typer.echo(f"Loading {', '.join(tool.title for tool in picked)} once everything runs.")
    asked.touch()


def _ask(found: Sequence[FoundTool], place: Path) -> list[FoundTool]:
    if not found:
        return []
    typer.echo("Logs of tools that runatlas reads are on this machine:")
    for line in tool_lines(found, place):
        typer.echo(line)
    while True:
        names = _answer(f"Load which? Names separated by commas, `{ALL}`, or Enter for none")
        if not names.strip():
            return []
        try:
            return pick(found, names, place)
        except (BadSetting, NotFound) as error:
            typer.echo(str(error))


def _answer(question: str) -> str:
    """What the person types; Ctrl-C stops the start, the end of the input is no answer."""
    typer.echo(f"{question}: ", nl=False)
    return sys.stdin.readline()
