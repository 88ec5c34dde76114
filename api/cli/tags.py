"""Commands on tags: `tag`, `untag`, `tags`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from api.cli.command import DatasetOption, JsonOption, emit, open_pipeline
from components.errors import BadSetting
from components.load.report import printable
from components.search.filters import Filters, parse_filters
from components.settings import DEFAULT_DATASET

TagArgument = Annotated[str, typer.Argument(help="The tag.", metavar="TAG")]
IdsArgument = Annotated[list[str] | None, typer.Argument(help="Ids of records (32 hex digits).", metavar="[ID]...")]
FilterOption = Annotated[
    list[str] | None,
    typer.Option(
        "--filter",
        metavar="NAME=VALUE",
        help="Records that pass this filter: outcome=fail, type=error, tag=x, since=7d …",
    ),
]


def filters_of(given: Sequence[str] | None) -> Filters | None:
    """The filters that options spell; None for none. Raises `BadSetting`."""
    return parse_filters(given, datetime.now(UTC)) if given else None


def tag(
    tag: TagArgument,
    ids: IdsArgument = None,
    filter: FilterOption = None,
    note: Annotated[str, typer.Option("--note", help="What to remember about these records.")] = "",
    dataset: DatasetOption = DEFAULT_DATASET,
    json: JsonOption = False,
) -> None:
    """Tag records, by their ids or by filters. Tags stay whatever happens to the map."""
    with open_pipeline() as pipeline:
        done = pipeline.tag(tag, ids or (), dataset, filters=filters_of(filter), note=note)
    noted = f" {done.changed:,} had it and have the new note." if done.changed else ""
    line = f"{done.added:,} records got the tag {printable(tag)!r}; {done.count:,} have it now.{noted}"
    emit({"tag": tag, **asdict(done)}, [line], json=json)


def untag(
    tag: TagArgument,
    ids: IdsArgument = None,
    filter: FilterOption = None,
    from_all: Annotated[bool, typer.Option("--all", help="Take it from all records that have it.")] = False,
    dataset: DatasetOption = DEFAULT_DATASET,
    json: JsonOption = False,
) -> None:
    """Take a tag from records, by ids or filters, or from all."""
    if from_all == bool(ids or filter):
        raise BadSetting("Choose records by ids or --filter, or take the tag from all of them by --all.")
    with open_pipeline() as pipeline:
        removed = pipeline.untag(tag, ids or (), dataset, filters=filters_of(filter))
    emit({"tag": tag, "removed": removed}, [f"{removed:,} records lost the tag {printable(tag)!r}."], json=json)


def tags(dataset: DatasetOption = DEFAULT_DATASET, json: JsonOption = False) -> None:
    """List the tags of records."""
    with open_pipeline() as pipeline:
        found = pipeline.tags(dataset)
    lines = [
        f"{one.count:>9,}  {printable(one.tag)}{f'  ({printable(one.note)})' if one.note else ''}" for one in found
    ]
    emit([asdict(one) for one in found], lines or ["No record has a tag."], json=json)
