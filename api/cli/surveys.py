"""Commands on uploaded tables, and the removal of datasets: `survey` and `drop`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.command import JsonOption, emit, open_pipeline
from api.cli.progress import progress
from api.cli.report import counted
from components.errors import BadSetting
from components.private import users_umask

if TYPE_CHECKING:
    from components.removal import Dropped
    from components.survey.export import Format
    from components.survey.run import SurveyReport

kinds: dict[str, Format] = {"weighted": "weighted", "resampled": "resampled"}


def survey(
    file: Annotated[Path, typer.Argument(help="A CSV file with a header and at least 50 rows.")],
    text_column: Annotated[
        str | None, typer.Option("--text-column", help="The column to survey; without, it is found.")
    ] = None,
    export: Annotated[
        str | None, typer.Option("--export", help="Also write the table: `weighted`, or `resampled` to equal hills.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="File of the export; .parquet for Parquet. Without: beside FILE.")
    ] = None,
    rows: Annotated[int | None, typer.Option("--rows", min=1, help="Rows of a resampled export.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the choice of rows of a resampled export.")] = 42,
    pin: Annotated[bool, typer.Option("--pin", help="Keep the dataset until it is dropped.")] = False,
    json: JsonOption = False,
) -> None:
    """Show the topics of a table as hills, and write a balanced table."""
    if export is not None and export not in kinds:
        raise BadSetting(f"--export {export!r} is not known: write `weighted` or `resampled`.")
    with open_pipeline() as pipeline, progress(quiet=json) as on_progress:
        upload = pipeline.surveys.upload(file, text_column=text_column)
        if pin:
            pipeline.configure(upload.dataset_id, pinned=True)
        report = pipeline.surveys.run(upload.dataset_id, progress=on_progress)
        target = None
        if export is not None:
            target = to or file.with_name(f"{file.stem}-{export}.csv")
            with users_umask():
                pipeline.surveys.export(upload.dataset_id, target, kinds[export], rows=rows, seed=seed)
        hills = [(hill.size, hill.label) for hill in pipeline.surveys.terrain(upload.dataset_id).hills]
    value = asdict(upload) | asdict(report) | {"export": str(target) if target else None}
    emit(value, survey_lines(report, hills, upload.warnings, target), json=json)


def survey_lines(
    report: SurveyReport, hills: list[tuple[int, str]], warnings: object, target: Path | None
) -> Iterator[str]:
    """The hills of a survey, and where they are shown."""
    assert isinstance(warnings, list | tuple)
    yield from (f"  {warning}" for warning in warnings)
    noise = f", {report.noise:,} rows in none" if report.noise else ""
    yield f"{counted(report.rows, 'row')}, {counted(report.hills, 'hill')}{noise}. Gini {report.gini:.2f}, flatness {report.flatness:.2f}."
    yield from (f"  {size:>7,}  {label}" for size, label in hills)
    if target is not None:
        yield f"Written: {target}"
    yield f"The terrain is at /terrain/{report.dataset} of the API; `runatlas drop {report.dataset}` deletes it."


def drop(
    dataset: Annotated[str, typer.Argument(help="Name of the dataset, or the id of an upload.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: JsonOption = False,
) -> None:
    """Delete a dataset with its records, map, snapshots and vectors. The logs themselves stay."""
    with open_pipeline() as pipeline:
        if not yes and not json:
            typer.confirm(f"Delete dataset {dataset} with everything that runatlas has of it?", abort=True)
        dropped = pipeline.drop(dataset)
    emit(asdict(dropped), [drop_line(dropped)], json=json)


def drop_line(dropped: Dropped) -> str:
    """What was deleted."""
    line = f"Deleted dataset {dropped.dataset}: {counted(dropped.records, 'record')}"
    if dropped.vectors is None:
        return f"{line}. Its vectors follow when no index runs (the cleanup flow, or the next drop)."
    return f"{line}, {counted(dropped.vectors, 'vector')} that no other dataset uses."
