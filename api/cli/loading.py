"""Commands that bring data in: `load` and `index`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from api.cli.command import DatasetOption, JsonOption, emit, open_pipeline
from api.cli.discovering import HomeOption, picked_sources
from api.cli.progress import progress
from api.cli.report import index_lines, load_lines
from components.errors import BadSetting
from components.load.report import read_nothing
from components.settings import DEFAULT_DATASET


def load(
    sources: Annotated[
        list[str] | None,
        typer.Argument(help="Files, folders, globs or database URLs; remembered for later loads."),
    ] = None,
    dataset: DatasetOption = DEFAULT_DATASET,
    format: Annotated[str | None, typer.Option(help="Read as this format instead of detecting it.")] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare full contents instead of sizes and modification times.")
    ] = False,
    found: Annotated[
        str | None,
        typer.Option(
            "--found", metavar="NAMES", help="Load the logs of these tools, which `discover` lists; `all` takes all."
        ),
    ] = None,
    home: HomeOption = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Load nothing; show the detected format of each file, and why.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Import new records (duplicates are skipped)."""
    if home is not None and found is None:
        raise BadSetting("--home says where --found looks: give --found NAMES with it.")
    if found is not None:
        sources = [*(sources or []), *picked_sources(found, home)]
    if explain:
        from api.cli.explain import explain_lines, explanations  # imports SQLAlchemy: 1 s

        explained = explanations(sources or [], dataset, format)
        emit(explained, explain_lines(explained), json=json)
        return
    with open_pipeline() as pipeline, progress(quiet=json) as on_progress:
        report = pipeline.load(sources or [], dataset, format=format, verify=verify, progress=on_progress)
    emit(asdict(report), load_lines(report), json=json)
    if read_nothing(report):
        raise typer.Exit(1)


def index(
    dataset: DatasetOption = DEFAULT_DATASET,
    recompute: Annotated[bool, typer.Option("--recompute", help="Rebuild the map, keeping its orientation.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Retry records that could not be embedded.")
    ] = False,
    renew_topics: Annotated[
        bool, typer.Option("--renew-topics", help="Look for topics from scratch, on the map as it is.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Index pending records."""
    with open_pipeline() as pipeline, progress(quiet=json) as on_progress:
        report = pipeline.index(
            dataset,
            recompute=recompute,
            retry_failed=retry_failed,
            renew_topics=renew_topics,
            progress=on_progress,
        )
        output = pipeline.output(dataset)
    emit(asdict(report), index_lines(report, output), json=json)
