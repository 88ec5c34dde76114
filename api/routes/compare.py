"""Compare two sets of runs of a dataset."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from api.comparisons import Question, as_json, ask, kept, question_of
from api.dependencies import Dependencies, Deps
from api.inputs import DatasetName
from api.prefect_client import Run
from api.responses import Json
from api.run_report import links
from components.compare.compare import sides_of_rows
from components.snapshot.read import map_columns
from components.views.difference import difference_codes

router = APIRouter(tags=["data"])

MAX_FILTERS = 50
MAX_FILTER_CHARS = 1_000

Filter = Annotated[str, Field(min_length=1, max_length=MAX_FILTER_CHARS)]
SetA = Annotated[
    list[Filter],
    Query(
        min_length=1,
        max_length=MAX_FILTERS,
        description="Filters of set a, each as NAME=VALUE: `outcome=fail`, `model=x`, `since=7d`, `type=error`, any extra field.",
    ),
]
SetB = Annotated[
    list[Filter], Query(max_length=MAX_FILTERS, description="Filters of set b. Without any: all other runs.")
]
ComparisonId = Annotated[str, Path(min_length=1, max_length=100, description="Id of the result.")]

started: dict[int | str, dict[str, Any]] = {
    202: {
        "description": "A run computes it; repeat the call, or follow the run.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}


@router.get("/datasets/{dataset}/compare", response_class=Json, responses=started, summary="Compare two sets of runs")
async def compare(deps: Deps, dataset: DatasetName, a: SetA, b: SetB = []) -> Json:  # noqa: B006 - FastAPI copies it
    """Which behaviours tell two sets of runs apart: a reading list with counts of runs, p and q, topics, and a summary.

    A run is in a set if one of its records passes all filters, and began within `since` and `until`. What takes longer than
    some seconds is computed by a run (202 with its id); the result is kept, under the address in `links`.
    """
    question = await run_in_threadpool(ask, deps.state, dataset, a, b)
    if question.is_quick:
        found = await run_in_threadpool(question.answer)
        return Json(as_json(dataset, found), headers={"Cache-Control": "no-cache"})
    run = await _started_or_joined(deps, dataset, question)
    answer = {
        "flow_run_id": run.id,
        "name": run.name,
        "state": run.state,
        "url": run.url,
        "links": {
            **links(run.id, dataset),
            "result": f"/datasets/{dataset}/compare/{question.request.key(question.opened.snapshot)}",
        },
    }
    return Json(answer, status_code=202, headers={"Cache-Control": "no-cache"})


@router.get("/datasets/{dataset}/compare/{id}", response_class=Json, summary="Result of a comparison")
def result(deps: Deps, dataset: DatasetName, id: ComparisonId) -> Json:
    """A result that is kept."""
    return Json(as_json(dataset, kept(deps.state, dataset, id)), headers={"Cache-Control": "no-cache"})


@router.get("/map/{dataset}/difference.json", response_class=Json, summary="Difference at each row")
def difference(
    deps: Deps,
    dataset: DatasetName,
    compare: Annotated[str, Query(min_length=1, max_length=100, description="Id of the result.")],
) -> Json:
    """How the sets of a kept comparison differ at each row of the newest snapshot.

    `codes`: a number for each row, 0 for one in neither set, else 1 (only b) over 128 (alike) to 255 (only a).
    """
    found = kept(deps.state, dataset, compare)
    opened, request = question_of(deps.state, dataset, found)
    sides, columns = sides_of_rows(opened, request), map_columns(opened.snapshot)
    positions = np.stack([np.asarray(columns["x"], np.float32), np.asarray(columns["y"], np.float32)], axis=1)
    codes = difference_codes(positions, sides.side, sides.weight)
    return Json({"snapshot": opened.snapshot.number, "codes": codes.tolist()}, headers={"Cache-Control": "no-cache"})


async def _started_or_joined(deps: Dependencies, dataset: str, question: Question) -> Run:
    """The run that computes the answer: one that does so already, or a new one."""
    request = question.request
    parameters = {"dataset": dataset, "a": request.a.spelled(), "b": request.b.spelled() if request.b else []}
    for run in await deps.prefect.active(["compare"]):
        if {name: run.parameters.get(name) for name in parameters} == parameters:
            return run
    return await deps.prefect.start("compare/compare", parameters, None)
