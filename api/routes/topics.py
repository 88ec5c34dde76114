"""List the topics of a dataset, and change them."""

from __future__ import annotations

from typing import Annotated, Any, Self

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError
from starlette.concurrency import run_in_threadpool

from api.dependencies import Dependencies, Deps
from api.inputs import MAX_NUMBER, DatasetName
from api.problems import Problem
from api.responses import Json
from api.run_starter import start_or_join
from components.dataset_topics import TopicList, edit_topic, list_topics, max_name_chars

router = APIRouter(tags=["data"])

TopicId = Annotated[int, Path(ge=0, le=MAX_NUMBER, description="Id of the topic.")]
Since = Annotated[
    int | None, Query(ge=1, le=MAX_NUMBER, description="Number of a snapshot: how each topic changed after it.")
]
All = Annotated[bool, Query(alias="all", description="Also topics that have ended or are part of others.")]


def _whole(value: Any) -> Any:
    """JSON knows one kind of number: 3.0 is a whole one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class TopicChange(BaseModel):
    """A name that a topic keeps from now on, or the topic that it becomes part of."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"oneOf": [{"required": ["name"]}, {"required": ["merge_into"]}]},
    )
    name: (
        Annotated[
            str,
            Field(min_length=1, max_length=max_name_chars, pattern=r"\w", description="The name that it keeps."),
        ]
        | SkipJsonSchema[None]
    ) = None
    merge_into: (
        Annotated[
            int,
            Field(ge=0, le=MAX_NUMBER, description="Id of the topic that it becomes part of."),
            BeforeValidator(_whole),
        ]
        | SkipJsonSchema[None]
    ) = None

    @model_validator(mode="after")
    def _is_one_change(self) -> Self:
        if sum(value is not None for value in (self.name, self.merge_into)) != 1 or len(self.model_fields_set) != 1:
            raise PydanticCustomError("one_change", "give either name or merge_into")
        return self


@router.get("/datasets/{dataset}/topics", response_class=Json, summary="List the topics")
def topics(deps: Deps, dataset: DatasetName, since: Since = None, all_states: All = False) -> Json:
    """The topics of the newest snapshot (level 3) and their groups (levels 0 to 2), the largest first on each level."""
    found = deps.state.with_store(lambda store: list_topics(store, dataset, _dataset_id(deps, dataset), since=since))
    return Json(_body(found, all_states=all_states), headers={"Cache-Control": "no-cache"})


@router.patch("/datasets/{dataset}/topics/{topic}", status_code=202, summary="Rename or merge a topic")
async def edit(deps: Deps, dataset: DatasetName, topic: TopicId, body: TopicChange) -> dict[str, Any]:
    """Name a topic, or make it part of another one; it stays so after every refit. An index publishes the change."""
    await run_in_threadpool(_store_edit, deps, dataset, topic, body)
    try:
        return await start_or_join(deps, "index", {"dataset": dataset}, None)
    except Problem as problem:
        if problem.status != 503:
            raise
        return {"flow_run_id": None, "state": None, "detail": f"Stored; the next index publishes it. {problem.detail}"}


def _store_edit(deps: Dependencies, dataset: str, topic: int, body: TopicChange) -> None:
    number = _dataset_id(deps, dataset)
    deps.state.with_store(
        lambda store: edit_topic(store, dataset, number, topic, name=body.name, merge_into=body.merge_into)
    )


def _dataset_id(deps: Dependencies, dataset: str) -> int:
    number = deps.state.dataset_id(dataset)
    if number is None:
        raise Problem(404, "not-found", f"Nothing was loaded into dataset {dataset!r} yet.")
    return number


def _body(found: TopicList, *, all_states: bool) -> dict[str, Any]:
    counts = {name: getattr(found.counts, name) for name in found.counts.__slots__}
    return {"snapshot": found.snapshot, "counts": counts, "topics": found.as_dicts(active_only=not all_states)}
