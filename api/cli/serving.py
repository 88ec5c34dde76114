"""Commands that keep running: `up`, `view`, `watch`. Each imports its services when it is used: they take seconds."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.command import DatasetOption
from components.settings import DEFAULT_DATASET, load_settings


def up(
    demo: Annotated[bool, typer.Option("--demo", help="Load and index the sample logs, and open their map.")] = False,
    open_browser: Annotated[
        bool | None,
        typer.Option("--open/--no-open", help="Open the map in the browser when ready (default with --demo)."),
    ] = None,
) -> None:
    """Start Prefect server, worker, triggers, HTTP API and map."""
    from api.up.supervisor import run_up

    raise typer.Exit(run_up(load_settings(), demo=demo, open_browser=demo if open_browser is None else open_browser))


def view(
    dataset: DatasetOption = DEFAULT_DATASET,
    light: Annotated[bool, typer.Option("--light", help="Open the WebGL map instead of Embedding Atlas.")] = False,
) -> None:
    """Open the map in the browser.

    Serves it until Ctrl-C where no server is running.
    """
    from api.cli.view import open_map

    open_map(load_settings(), dataset, light=light)


def watch() -> None:
    """Load whenever a folder or database changes, until Ctrl-C."""
    from api.cli.watch import watch_and_load

    watch_and_load(load_settings())
