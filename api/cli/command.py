"""What all commands share: option types, error handling, access to the pipeline, output."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, ParamSpec

import orjson
import typer

from api.json_logs import is_json, message_line, set_up_logging
from components.errors import BadSetting, Cancelled, RunAtlasError
from components.private import private_umask
from components.settings import Settings, disable_telemetry, load_settings

if TYPE_CHECKING:
    from components.pipeline import Pipeline

P = ParamSpec("P")

DatasetOption = Annotated[str, typer.Option("--dataset", "-d", help="Name of the dataset.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")]
LimitOption = Annotated[int, typer.Option("--limit", "-n", min=1, help="Maximum number of entries.")]

resumable = frozenset({"load", "index", "ingest"})  # commands that continue where an interrupted run stopped


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """The command, with errors printed as one line on stderr and mapped to exit codes; every command goes through it."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        settings = _settings_if_valid()
        set_up_logging(settings.log_format if settings else "text")
        disable_telemetry()
        try:
            with private_umask(settings):
                command(*args, **kwargs)
        except BadSetting as error:
            _fail(str(error), 2)
        except (Cancelled, KeyboardInterrupt) as error:
            _fail(str(error) or _stopped(command.__name__), 130)
        except RunAtlasError as error:
            _fail(str(error), 1)
        except BrokenPipeError:
            sys.stderr.close()
            raise typer.Exit(1) from None

    return run


def _settings_if_valid() -> Settings | None:
    """The settings; None where they are invalid, which the command itself reports."""
    with suppress(BadSetting):
        return load_settings()
    return None


def _stopped(command: str) -> str:
    return f"Stopped. Progress is saved; run `{command}` to resume." if command in resumable else "Stopped."


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(message_line(message, "ERROR") if is_json() else f"runatlas: {message}", err=True)
    raise typer.Exit(code)


def open_pipeline(settings: Settings | None = None) -> Pipeline:
    """The pipeline; imported here, since it takes a second that `runatlas --help` has no use for."""
    from components.pipeline import Pipeline

    return Pipeline(settings)


def emit(value: Any, lines: Iterable[str], *, json: bool) -> None:
    """Print a result on stdout: `value` as JSON, or `lines` for people."""
    if json:
        sys.stdout.write(orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    for line in lines:
        typer.echo(line)
