"""Search a dataset by meaning and by words."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from api.dependencies import Deps
from api.inputs import MAX_NUMBER, DatasetName
from api.problems import Problem
from api.responses import Json
from components.search import search as searching
from components.search.filters import Filters

router = APIRouter(tags=["data"])

MAX_VALUES = 100  # of one filter
MAX_VALUE_CHARS = 1_000
MAX_HITS = 100

Value = Annotated[str, Field(max_length=MAX_VALUE_CHARS)]
Values = Annotated[list[Value], Query(max_length=MAX_VALUES)]
Text = Annotated[str, Query(max_length=searching.max_query_chars, description="What to search for.")]
Id = Annotated[str, Query(max_length=1_000, description="Id of a record: the records most similar to it.")]
HowMany = Annotated[int, Query(ge=1, le=MAX_HITS, description="Number of hits.")]
Mode = Annotated[searching.Mode, Query(description="How to compare texts: by meaning, by words, or both, fused.")]
Globs = Annotated[list[Value], Query(max_length=MAX_VALUES, description="Globs of filenames, for instance `*codex*`.")]
Since = Annotated[datetime | None, Query(description="Only records at or after this time (ISO 8601).")]
Until = Annotated[datetime | None, Query(description="Only records before this time.")]
NewSince = Annotated[
    int | None, Query(ge=1, le=MAX_NUMBER, description="Only records that this snapshot did not have.")
]
Topics = Annotated[
    list[Annotated[int, Field(ge=-1, le=MAX_NUMBER)]],
    Query(max_length=MAX_VALUES, description="Ids of topics, or of groups of topics; -1 for records without one."),
]
Within = Annotated[
    Literal["everything", "operation"],
    Query(
        description="`operation`, with the `id` of a span: only spans of its operation, by what differs between them."
    ),
]
Extras = Annotated[list[Value], Query(max_length=MAX_VALUES, description="Other extra fields, each as `NAME=VALUE`.")]


@router.get("/datasets/{dataset}/search", response_class=Json, summary="Search by meaning and words")
def search(
    deps: Deps,
    dataset: DatasetName,
    q: Text = "",
    id: Id = "",
    k: HowMany = 10,
    mode: Mode = "both",
    type: Values = [],  # noqa: B006 - FastAPI copies it
    filename: Globs = [],  # noqa: B006
    run: Values = [],  # noqa: B006
    since: Since = None,
    until: Until = None,
    topic: Topics = [],  # noqa: B006
    new_since: NewSince = None,
    tool: Values = [],  # noqa: B006
    model: Values = [],  # noqa: B006
    project: Values = [],  # noqa: B006
    outcome: Values = [],  # noqa: B006
    extra: Extras = [],  # noqa: B006
    within: Within = "everything",
) -> Json:
    """The records of the newest snapshot that fit a text, or that are most similar to a record, the best first.

    Records of equal text are one hit with their number. Words are never syntax, except that those in double quotes are a
    phrase. Filters must all hold; several values of one filter are alternatives.
    """
    named = {"tool": tool, "model": model, "project": project, "outcome": outcome}
    wanted = searching.Query(
        text=q,
        like=(id,) if id else (),
        mode=mode,
        k=k,
        within_operation=within == "operation",
        filters=Filters(
            type=tuple(type),
            filename=tuple(filename),
            run=tuple(run),
            since=since,
            until=until,
            topic=tuple(topic),
            new_since=new_since,
            extra={name: values for name, values in named.items() if values} | _extras(extra),
        ),
    )
    searching.check(wanted)
    opened = deps.searches.get(dataset)
    hits = searching.search(opened, wanted)
    return Json(
        {"snapshot": opened.snapshot.number, "mode": mode, "hits": [hit.as_dict() for hit in hits]},
        headers={"Cache-Control": "no-cache"},
    )


def _extras(given: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for at, one in enumerate(given):
        name, is_pair, value = one.partition("=")
        if not is_pair or not name:
            message = "is no NAME=VALUE"
            raise Problem(
                422, "invalid-request", f"extra.{at} {message}.", errors=[{"field": f"extra.{at}", "message": message}]
            )
        found.setdefault(name, []).append(value)
    return found
