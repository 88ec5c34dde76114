"""Commands that find records: `search` and `similar`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.command import DatasetOption, JsonOption, emit, open_pipeline
from components.errors import BadSetting
from components.load.report import printable
from components.search.filters import Filters
from components.settings import DEFAULT_DATASET

if TYPE_CHECKING:
    from components.search.search import Hit

shown_chars = 160  # of a text, in a line

WithinOption = Annotated[
    bool,
    typer.Option("--within-operation", help="Of a span: only spans of its operation, by what differs between them."),
]
KOption = Annotated[int, typer.Option("-k", min=1, max=1_000, help="Number of hits.")]
TypeOption = Annotated[list[str] | None, typer.Option("--type", help="Only records of this type.")]
FileOption = Annotated[list[str] | None, typer.Option("--filename", help="Only filenames that match this glob.")]
RunOption = Annotated[list[str] | None, typer.Option("--run", help="Only the run with this filename.")]
SinceOption = Annotated[datetime | None, typer.Option("--since", help="Only records at or after this time.")]
UntilOption = Annotated[datetime | None, typer.Option("--until", help="Only records before this time.")]
TopicOption = Annotated[
    list[int] | None, typer.Option("--topic", min=-1, help="Only this topic or group of topics; -1: records in none.")
]
NewOption = Annotated[
    int | None, typer.Option("--new-since", help="Only records that this snapshot did not have.", min=1)
]
TagOption = Annotated[list[str] | None, typer.Option("--tag", help="Only records with this tag.")]
ExtraOption = Annotated[
    list[str] | None, typer.Option("--extra", metavar="NAME=VALUE", help="Only records with this extra field.")
]


def search(
    query: Annotated[str, typer.Argument(help="What to search for; words in double quotes are a phrase.")],
    dataset: DatasetOption = DEFAULT_DATASET,
    k: KOption = 10,
    mode: Annotated[str, typer.Option("--mode", help="meaning, words, or both.")] = "both",
    type: TypeOption = None,
    filename: FileOption = None,
    run: RunOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    topic: TopicOption = None,
    new_since: NewOption = None,
    tag: TagOption = None,
    extra: ExtraOption = None,
    json: JsonOption = False,
) -> None:
    """Search records by meaning and words."""
    if mode not in {"meaning", "words", "both"}:
        raise BadSetting(f"--mode is {mode!r}: choose meaning, words or both.")
    filters = _filters(type, filename, run, since, until, topic, new_since, tag, extra)
    _search(dataset, json=json, text=query, mode=mode, k=k, filters=filters)


def similar(
    id: Annotated[str, typer.Argument(help="Id of a record (32 hex digits).")],
    dataset: DatasetOption = DEFAULT_DATASET,
    k: KOption = 10,
    type: TypeOption = None,
    filename: FileOption = None,
    run: RunOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    topic: TopicOption = None,
    new_since: NewOption = None,
    tag: TagOption = None,
    extra: ExtraOption = None,
    within_operation: WithinOption = False,
    json: JsonOption = False,
) -> None:
    """List the records that are most similar to one."""
    filters = _filters(type, filename, run, since, until, topic, new_since, tag, extra)
    _search(dataset, json=json, like=(id,), k=k, filters=filters, within_operation=within_operation)


def _search(dataset: str, *, json: bool, filters: Filters, **query: Any) -> None:
    with open_pipeline() as pipeline:
        hits = pipeline.search(dataset=dataset, filters=filters, **query)
    emit([hit.as_dict() for hit in hits], hit_lines(hits), json=json)


def _filters(
    type: list[str] | None,
    filename: list[str] | None,
    run: list[str] | None,
    since: datetime | None,
    until: datetime | None,
    topic: list[int] | None,
    new_since: int | None,
    tag: list[str] | None,
    extra: list[str] | None,
) -> Filters:
    found: dict[str, list[str]] = {}
    for one in extra or []:
        name, is_pair, value = one.partition("=")
        if not is_pair or not name:
            raise BadSetting(f"--extra {one!r} is no NAME=VALUE.")
        found.setdefault(name, []).append(value)
    return Filters(
        type=tuple(type or ()),
        filename=tuple(filename or ()),
        run=tuple(run or ()),
        since=since,
        until=until,
        topic=tuple(topic or ()),
        new_since=new_since,
        tag=tuple(tag or ()),
        extra=found,
    )


def hit_lines(hits: Sequence[Hit]) -> Iterator[str]:
    """Two lines for each hit: where it is, and the beginning of its text."""
    for hit in hits:
        record = hit.record
        count = f"  ({hit.count:,} records)" if hit.count > 1 else ""
        yield f"{hit.score:.3f}  {record.id}  {printable(record.filename)}  {printable(record.type)}{count}"
        text = " ".join(record.text.split())
        yield f"       {printable(text[:shown_chars])}{'…' if len(text) > shown_chars else ''}"
    if not hits:
        yield "No records found."
