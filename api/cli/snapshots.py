"""Commands on the output: `publish`, `export`, `verify`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from api.cli.command import DatasetOption, JsonOption, emit, open_pipeline
from api.cli.report import check_lines
from api.cli.tags import FilterOption, filters_of
from components.errors import BadSetting
from components.private import users_umask
from components.settings import DEFAULT_DATASET


def publish(
    dataset: DatasetOption = DEFAULT_DATASET,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Take over the output from another home that uses the same database.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Complete an interrupted publication."""
    with open_pipeline() as pipeline:
        number = pipeline.publish(dataset, adopt=adopt)
    line = (
        "Nothing to publish: the dataset has no snapshot yet." if number is None else f"Snapshot {number} is published."
    )
    emit({"dataset": dataset, "snapshot": number}, [line], json=json)


def export(
    to: Annotated[Path | None, typer.Option("--to", help="Folder for logs.parquet and embeddings.parquet.")] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="File for the map with its records, which opens without a network.")
    ] = None,
    filter: FilterOption = None,
    max_mb: Annotated[int, typer.Option("--max-mb", min=1, max=1_000, help="Size limit of the HTML file.")] = 50,
    dataset: DatasetOption = DEFAULT_DATASET,
    json: JsonOption = False,
) -> None:
    """Export the newest snapshot as two Parquet files, or as one HTML file, whose secrets are redacted."""
    if (to is None) == (html is None):
        raise BadSetting("Give either --to FOLDER for Parquet files, or --html FILE for a map that opens from disk.")
    if to is not None and filter:
        raise BadSetting("--filter chooses the records of --html FILE; Parquet files hold the whole snapshot.")
    with open_pipeline() as pipeline, users_umask():
        if html is not None:
            filters = filters_of(filter)
            made = pipeline.export_html(html, dataset, filters=filters, max_bytes=max_mb * 1_000_000)
            value = {"records": made.records, "redacted": made.redacted, "report": list(made.report)}
            emit({"dataset": dataset, "files": [str(html)], **value}, [str(html), *made.report], json=json)
            return
        assert to is not None
        files = [str(path) for path in pipeline.export(to, dataset)]
    emit({"dataset": dataset, "files": files}, files, json=json)


def verify(dataset: DatasetOption = DEFAULT_DATASET, json: JsonOption = False) -> None:
    """Check the integrity of the database and the newest snapshot."""
    with open_pipeline() as pipeline:
        checks = pipeline.verify(dataset)
    is_ok = all(check.ok for check in checks)
    emit({"ok": is_ok, "checks": [asdict(check) for check in checks]}, check_lines(checks), json=json)
    if not is_ok:
        raise typer.Exit(1)
