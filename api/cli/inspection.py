"""Commands that show what there is: `status`, `sources`, `defects`, `failed`, `show`, `doctor`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.command import DatasetOption, JsonOption, LimitOption, emit, open_pipeline
from api.cli.report import (
    check_lines,
    defect_lines,
    failure_lines,
    record_lines,
    removal_line,
    source_lines,
    status_lines,
)
from components.settings import DEFAULT_DATASET

if TYPE_CHECKING:
    from components.pipeline import Pipeline


def status(
    dataset: Annotated[str | None, typer.Option("--dataset", "-d", help="Only this dataset.")] = None,
    json: JsonOption = False,
) -> None:
    """Show dataset status."""
    with open_pipeline() as pipeline:
        if dataset is not None:
            pipeline.dataset_id(dataset)  # raises for an unknown one
        found = {name: state for name, state in _states(pipeline).items() if dataset in {None, name}}
    emit({"datasets": found}, status_lines(found), json=json)


def _states(pipeline: Pipeline) -> Mapping[str, dict[str, Any]]:
    return {
        name: {
            **{key: value for key, value in asdict(state).items() if key not in {"indexing", "rows"}},
            "output": str(pipeline.output(name) / "current"),
            "indexing": state.indexing.is_held,
            "sources": list(pipeline.sources(name)),
        }
        for name, state in pipeline.status().items()
    }


def sources(context: typer.Context, dataset: DatasetOption = DEFAULT_DATASET, json: JsonOption = False) -> None:
    """List the sources of a dataset, and what could not be read."""
    if context.invoked_subcommand:
        return
    with open_pipeline() as pipeline:
        listed = pipeline.source_list(dataset)
        problems = pipeline.store.ledger.problems(pipeline.dataset_id(dataset))
    value = {"sources": [asdict(one) for one in listed], "problems": [asdict(one) for one in problems]}
    emit(value, source_lines(listed, problems), json=json)


def remove_sources(
    sources: Annotated[list[str], typer.Argument(help="Sources as `runatlas sources` lists them.")],
    dataset: DatasetOption = DEFAULT_DATASET,
    with_records: Annotated[
        bool, typer.Option("--with-records", help="Remove their records from the map, too (with the next index).")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Remove sources, so that later loads ignore them. Their records stay, unless --with-records is given."""
    with open_pipeline() as pipeline:
        removed = pipeline.remove_sources(sources, dataset, with_records=with_records)
    emit(asdict(removed), [removal_line(removed, with_records=with_records)], json=json)


def defects(dataset: DatasetOption = DEFAULT_DATASET, limit: LimitOption = 100, json: JsonOption = False) -> None:
    """List lines and items that could not be converted to records."""
    with open_pipeline() as pipeline:
        found = pipeline.defects(dataset, limit)
    emit(found, defect_lines(found), json=json)


def failed(dataset: DatasetOption = DEFAULT_DATASET, limit: LimitOption = 100, json: JsonOption = False) -> None:
    """List records that could not be embedded, with the error."""
    with open_pipeline() as pipeline:
        found = pipeline.failed(dataset, limit)
    emit(found, failure_lines(found, dataset), json=json)


def show(
    id: Annotated[str, typer.Argument(metavar="ID", help="Id of the record (32 hex digits), or its key.")],
    dataset: DatasetOption = DEFAULT_DATASET,
    json: JsonOption = False,
) -> None:
    """Show one record."""
    with open_pipeline() as pipeline:
        record = pipeline.record(id, dataset)
    emit(record, record_lines(record), json=json)


def doctor(json: JsonOption = False) -> None:
    """Check this installation, and show how to fix problems."""
    from api.cli.doctor import examine  # imports SQLAlchemy: 1 s

    findings = examine()
    emit([asdict(finding) for finding in findings], check_lines(findings), json=json)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)
