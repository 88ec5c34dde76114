"""The command `compare`: which behaviours tell two sets of runs apart."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.command import DatasetOption, JsonOption, LimitOption, emit, open_pipeline
from components.load.report import printable
from components.settings import DEFAULT_DATASET

examples = "outcome=fail, model=x, since=7d, type=error, filename=*codex*, or any extra field; several must all hold"


def compare(
    a: Annotated[list[str], typer.Option("--a", metavar="NAME=VALUE", help=f"Runs of set a: {examples}.")],
    b: Annotated[
        list[str] | None,
        typer.Option("--b", metavar="NAME=VALUE", help="Runs of set b; without it, all other runs."),
    ] = None,
    dataset: DatasetOption = DEFAULT_DATASET,
    limit: LimitOption = 10,
    json: JsonOption = False,
) -> None:
    """Compare two sets of runs: which behaviours are more frequent in one of them."""
    with open_pipeline() as pipeline:
        found = pipeline.compare(dataset, a=a, b=b or ())
    emit(found.as_dict(), map(printable, found.lines(limit)), json=json)
