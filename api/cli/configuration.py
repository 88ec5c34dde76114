"""The command `configure`: settings of one dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from api.cli.command import DatasetOption, JsonOption, emit, open_pipeline
from components.errors import BadSetting
from components.settings import DEFAULT_DATASET

if TYPE_CHECKING:
    from components.dataset_settings import SettingValue


def configure(
    changes: Annotated[list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", help="Settings to change.")] = None,
    dataset: DatasetOption = DEFAULT_DATASET,
    unset: Annotated[list[str] | None, typer.Option("--unset", help="Restore the default of a setting.")] = None,
    json: JsonOption = False,
) -> None:
    """Show or change the settings of a dataset."""
    wanted = parsed(changes or []) | dict.fromkeys(unset or [])
    with open_pipeline() as pipeline:
        if not wanted:
            settings = pipeline.dataset_settings(dataset)
            emit([asdict(one) for one in settings], setting_lines(settings), json=json)
            return
        done = pipeline.configure(dataset, **wanted)
    shown = [one for one in done.settings if one.name in wanted]
    emit(asdict(done), [*setting_lines(shown), *done.notes], json=json)


def parsed(changes: Sequence[str]) -> dict[str, Any]:
    """Settings by name; a value is JSON where it can be read as such, and text otherwise.

    >>> parsed(["index_threshold=50", "format=codex", 'extras=["cost:float"]'])
    {'index_threshold': 50, 'format': 'codex', 'extras': ['cost:float']}
    """
    found: dict[str, Any] = {}
    for change in changes:
        name, is_assigned, raw = change.partition("=")
        if not is_assigned:
            raise BadSetting(f"{change!r} is no setting: write NAME=VALUE, or --unset NAME.")
        found[name] = raw
        with suppress(orjson.JSONDecodeError):
            found[name] = orjson.loads(raw)
    return found


def setting_lines(settings: Sequence[SettingValue]) -> Iterator[str]:
    """One line per setting: name, value, origin."""
    width = max((len(one.name) for one in settings), default=0)
    for one in settings:
        yield f"{one.name:<{width}}  {orjson.dumps(one.value).decode()}  ({one.origin})"
