"""Commands on the output: `publish`, `export`, `verify`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from api.cli.command import DatasetOption, JsonOption, emit, open_pipeline
from api.cli.report import check_lines
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
    to: Annotated[Path, typer.Option("--to", help="Folder for logs.parquet and embeddings.parquet.")],
    dataset: DatasetOption = DEFAULT_DATASET,
    json: JsonOption = False,
) -> None:
    """Export the newest snapshot as two Parquet files."""
    with open_pipeline() as pipeline, users_umask():
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
