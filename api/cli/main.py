"""The command line, `runatlas`. Reports go to stdout, logs to stderr; exit codes: 0 done, 1 failed, 2 wrong usage."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version as installed_version
from typing import Annotated

import typer

from api.cli.command import guarded
from api.cli.compare import compare
from api.cli.configuration import configure
from api.cli.discovering import discover
from api.cli.ingest import ingest_app
from api.cli.inspection import defects, doctor, failed, remove_sources, show, sources, status
from api.cli.loading import index, load
from api.cli.mcp import mcp
from api.cli.search import search, similar
from api.cli.serving import up, view, watch
from api.cli.snapshots import export, publish, verify
from api.cli.surveys import drop, survey
from api.cli.tags import tag, tags, untag
from api.cli.topics import merge_topics, rename_topic, topics
from api.json_logs import LOG_FORMAT_VARIABLE, LogFormat
from api.up.environment import bypass_proxy

commands: tuple[Callable[..., None], ...] = (  # in the order of `runatlas --help`
    *(discover, load, index),
    *(search, similar, compare, mcp),
    *(status, defects, failed, show, configure),
    *(tag, untag, tags),
    *(publish, export, verify),
    *(survey, drop),
    *(up, view, watch, doctor),
)

app = typer.Typer(
    name="runatlas",
    help="Builds a searchable map of agent logs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in commands:
    app.command()(guarded(command))

sources_app = typer.Typer(
    no_args_is_help=False, rich_markup_mode=None, help="List the sources of a dataset, or remove one."
)
sources_app.callback(invoke_without_command=True)(guarded(sources))
sources_app.command("remove")(guarded(remove_sources))
app.add_typer(sources_app, name="sources")

app.add_typer(ingest_app, name="ingest")

topics_app = typer.Typer(
    no_args_is_help=False, rich_markup_mode=None, help="List the topics of a map, or rename or merge some."
)
topics_app.callback(invoke_without_command=True)(guarded(topics))
topics_app.command("rename")(guarded(rename_topic))
topics_app.command("merge")(guarded(merge_topics))
app.add_typer(topics_app, name="topics")


def main() -> None:
    """Run the command that the arguments name; the entry point of the console script."""
    bypass_proxy()
    _leave_out_other_commands(sys.argv[1:])
    try:
        app()
    finally:
        gc.freeze()  # the end of the process frees everything; to look through it first takes a fifth of a second


def _leave_out_other_commands(arguments: Sequence[str]) -> None:
    """Keep only the command that is called: Typer builds all that it has, which takes longer than a search."""
    at = 0
    while at < len(arguments) and arguments[at].startswith("--log-format"):
        at += 1 if "=" in arguments[at] else 2
    called = arguments[at] if at < len(arguments) else ""
    kept = [one for one in app.registered_commands if one.callback and one.callback.__name__ == called]
    groups = [one for one in app.registered_groups if one.name == called]
    if (kept or groups) and "_RUNATLAS_COMPLETE" not in os.environ:  # which completes the names of commands
        app.registered_commands, app.registered_groups = kept, groups


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"runatlas {installed_version('runatlas')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[  # noqa: ARG001 - its callback does the work
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    log_format: Annotated[
        LogFormat | None, typer.Option("--log-format", help="Lines on stderr as text, or as JSON, one object a line.")
    ] = None,
) -> None:
    if log_format:
        os.environ[LOG_FORMAT_VARIABLE] = log_format


if __name__ == "__main__":
    main()
