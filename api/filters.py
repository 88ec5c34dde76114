"""The filters of searches, lists of runs and exports, as parameters of a request and as members of a body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Query
from pydantic import Field

from api.inputs import MAX_NUMBER
from api.problems import Problem
from components.errors import BadSetting
from components.search.filters import Filters, parse_filters

MAX_VALUES = 100  # of one filter
MAX_VALUE_CHARS = 1_000

Value = Annotated[str, Field(max_length=MAX_VALUE_CHARS)]
Values = Annotated[list[Value], Query(max_length=MAX_VALUES)]
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
Tags = Annotated[list[Value], Query(max_length=MAX_VALUES, description="Only records with one of these tags.")]
Extras = Annotated[list[Value], Query(max_length=MAX_VALUES, description="Other extra fields, each as `NAME=VALUE`.")]


def _filters(
    type: Values = [],  # noqa: B006 - FastAPI copies it
    filename: Globs = [],  # noqa: B006
    run: Values = [],  # noqa: B006
    since: Since = None,
    until: Until = None,
    topic: Topics = [],  # noqa: B006
    new_since: NewSince = None,
    tag: Tags = [],  # noqa: B006
    tool: Values = [],  # noqa: B006
    model: Values = [],  # noqa: B006
    project: Values = [],  # noqa: B006
    outcome: Values = [],  # noqa: B006
    extra: Extras = [],  # noqa: B006
) -> Filters:
    """Filters must all hold; several values of one filter are alternatives."""
    named = {"tool": tool, "model": model, "project": project, "outcome": outcome}
    return Filters(
        type=tuple(type),
        filename=tuple(filename),
        run=tuple(run),
        since=since,
        until=until,
        topic=tuple(topic),
        new_since=new_since,
        tag=tuple(tag),
        extra={name: values for name, values in named.items() if values} | _extras(extra),
    )


FilterParameters = Annotated[Filters, Depends(_filters)]

Plain = str | int | float | bool
FilterMembers = Annotated[
    dict[Annotated[str, Field(max_length=MAX_VALUE_CHARS)], Plain | list[Plain]],
    Field(
        max_length=50,
        description='Filters by name, each with a value or a list of alternatives: `{"type": "error", "topic": [3, 4]}`.',
        examples=[{"outcome": "fail", "type": ["error"]}],
    ),
]


def filters_of_members(members: Mapping[str, Plain | Sequence[Plain]]) -> Filters:
    """The filters of a body. Raises `BadSetting` for what can't be understood."""
    spelled = []
    for name, given in members.items():
        values = [given] if isinstance(given, Plain) else list(given)
        if len(values) > MAX_VALUES:
            raise BadSetting(
                f"The filter {name[:100]!r} has {len(values):,} values; at most {MAX_VALUES} are possible."
            )
        spelled += [f"{name}={str(value).lower() if isinstance(value, bool) else value}" for value in values]
    return parse_filters(spelled, datetime.now(UTC))


def _extras(given: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for at, one in enumerate(given):
        name, is_pair, value = one.partition("=")
        if not is_pair or not name:
            message = f"{one[:100]!r} is no NAME=VALUE"
            raise Problem(
                422,
                "invalid-request",
                f"extra.{at}: {message}; for instance extra=team=search.",
                errors=[{"field": f"extra.{at}", "message": message}],
            )
        found.setdefault(name, []).append(value)
    return found
