"""The runs of a dataset: a list to sort and filter, and one run from start to end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Path, Query
from numpy.typing import NDArray

from api.dependencies import Dependencies, Deps
from api.filters import FilterParameters
from api.inputs import MAX_NUMBER, DatasetName
from api.map_data import MapData
from api.problems import Problem
from api.responses import Json
from components.errors import NotFound
from components.search.rows import accepted_rows
from components.store.records import Stored
from components.store.tags import RecordTag
from components.views.facets import OTHERS, RUN_NAME, Facets

router = APIRouter(tags=["data"])

MAX_RUNS = 1_000  # of one answer
MAX_RECORDS = 5_000  # of one answer
MAX_TEXT_CHARS = 4_000  # of a record in a run
SHOWN = ("tool", "model", "tokens", "cost", "outcome", "score")  # of `extra`, beside what says that it failed

Sort = Annotated[Literal["start", "records", "duration", "errors", "cost"], Query(description="Sort by this.")]
Order = Annotated[Literal["asc", "desc"], Query(description="Least or greatest first; runs without a value last.")]
Words = Annotated[
    str, Query(max_length=400, description="Only runs whose name or filename contains this, ignoring case.")
]
Limit = Annotated[int, Query(ge=1, le=MAX_RUNS, description="Number of runs.")]
RecordLimit = Annotated[int, Query(ge=1, le=MAX_RECORDS, description="Number of records.")]
Offset = Annotated[
    int, Query(ge=0, le=MAX_NUMBER, description="Where to continue: `next_offset` of the answer before.")
]
RunName = Annotated[str, Path(min_length=1, max_length=4_096, description="The whole filename of the run.")]


@router.get("/datasets/{dataset}/runs", response_class=Json, summary="List the runs")
def runs(
    deps: Deps,
    dataset: DatasetName,
    filters: FilterParameters,
    sort: Sort = "start",
    order: Order = "desc",
    q: Words = "",
    limit: Limit = 100,
    offset: Offset = 0,
) -> Json:
    """The runs of the newest snapshot that have a record which passes all filters; `matching` counts these.

    All other figures are of the whole run: `seconds` from its first record to its last, `errors` those that failed,
    `tokens` and `cost` in total, `model` and `tool` the most frequent ones.
    """
    data = deps.maps.newest(deps.state.output(dataset))
    facets = deps.facets.get(dataset, data)
    matching = _matching(deps, dataset, data, filters) if filters else facets.runs.records
    chosen = np.flatnonzero(matching > 0)
    if words := q.strip().lower():
        names = _names(facets)
        chosen = np.array(
            [at for at in chosen.tolist() if words in data.filenames[at].lower() or words in (names[at] or "").lower()],
            np.int64,
        )
    ordered = chosen[_order(_sorted_by(facets, sort)[chosen], descending=order == "desc")]
    shown = ordered[offset : offset + limit]
    rows = [{**run_json(data, facets, at), "matching": int(matching[at])} for at in shown.tolist()]
    end = offset + len(rows)
    body = {
        "snapshot": data.snapshot.number,
        "runs": rows,
        "total": len(ordered),
        "next_offset": end if end < len(ordered) else None,
    }
    return Json(body, headers={"Cache-Control": "no-cache"})


@router.get("/datasets/{dataset}/runs/{run:path}", response_class=Json, summary="Read a run")
def run(deps: Deps, dataset: DatasetName, run: RunName, offset: Offset = 0, limit: RecordLimit = 500) -> Json:
    """The records of a run from start to end, texts cut to 4,000 characters (`cut`); `row` is that of the map, if it is there."""
    number = deps.state.dataset_id(dataset)
    if number is None:
        raise NotFound(f"Nothing was loaded into dataset {dataset!r} yet.")
    total = deps.state.with_store(lambda store: store.records.run_length(number, run))
    if not total:
        raise Problem(404, "unknown-run", f"Dataset {dataset!r} has no run {run[:200]!r}; it lists them under …/runs.")
    page = deps.state.with_store(
        lambda store: store.records.page_of_run(number, run, offset=offset, limit=limit, max_chars=MAX_TEXT_CHARS)
    )
    ids = [stored.record.id for stored in page]
    tags = deps.state.with_store(lambda store: store.tags.of_records(number, ids))
    data = _map(deps, dataset)
    places = _places(data, ids)
    records = [
        {**place, **_record_json(stored, tags.get(stored.record.id, ()))}
        for stored, place in zip(page, places, strict=True)
    ]
    end = offset + len(records)
    body = {
        "run": _run_json(deps, dataset, data, run, total),
        "records": records,
        "records_total": total,
        "next_offset": end if end < total and records else None,
    }
    return Json(body, headers={"Cache-Control": "no-cache"})


def run_json(data: MapData, facets: Facets, at: int) -> dict[str, Any]:
    """A run by the code of its filename."""
    totals = facets.runs
    start, end = float(totals.start[at]), float(totals.end[at])
    named = {facet.name: facet for facet in facets.fields}
    most = {name: _value(named[name].values, codes[at]) for name, codes in totals.most.items() if name != RUN_NAME}
    return {
        "run": data.filenames[at],
        "key": data.filenames[at],
        "name": _value(facets.names, totals.most[RUN_NAME][at]),
        "filename": data.filenames[at],
        "start": _time(start),
        "end": _time(end),
        "seconds": None if np.isnan(start) else round(end - start, 3),
        "records": int(totals.records[at]),
        "errors": int(totals.errors[at]),
        "score": _number(totals.numbers["score"][at]),
        "tokens": _number(totals.numbers["tokens"][at]),
        "cost": _number(totals.numbers["cost"][at]),
        **most,
    }


def _run_json(deps: Dependencies, dataset: str, data: MapData | None, run: str, total: int) -> dict[str, Any]:
    """The run as in the list; of one that is not on the map yet only what the store counts."""
    if data is not None and run in data.filenames:
        return run_json(data, deps.facets.get(dataset, data), data.filenames.index(run))
    return {"run": run, "key": run, "filename": run, "records": total}


def _map(deps: Dependencies, dataset: str) -> MapData | None:
    try:
        return deps.maps.newest(deps.state.output(dataset))
    except NotFound:
        return None


def _places(data: MapData | None, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Row and topic of each record; None for one that is not on the map."""
    if data is None:
        return [{"row": None, "topic": None} for _ in ids]
    rows = data.index.rows_of(ids).tolist()
    return [{"row": row, "topic": int(data.topic[row])} if row >= 0 else {"row": None, "topic": None} for row in rows]


def _record_json(stored: Stored, tags: Sequence[RecordTag]) -> dict[str, Any]:
    record, extra = stored.record, stored.record.extra
    is_cut = len(record.text) > MAX_TEXT_CHARS
    return {
        "id": record.id,
        "iteration": record.iteration,
        "idx_in_iteration": record.idx_in_iteration,
        "type": record.type,
        "created_at": record.timestamp,
        "text": record.text[:MAX_TEXT_CHARS],
        "cut": is_cut,
        "failed": extra.get("failed") is True,
        "failure": extra.get("failure"),
        **{name: extra.get(name) for name in SHOWN},
        "tags": [tag.tag for tag in tags],
    }


def _matching(deps: Dependencies, dataset: str, data: MapData, filters: FilterParameters) -> NDArray[np.int64]:
    """How many records of each run pass the filters (runs,)."""
    number = deps.state.dataset_id(dataset)
    assert number is not None  # what is published was loaded
    rows = deps.state.with_store(lambda store: accepted_rows(store, number, data.snapshot, filters))
    return np.bincount(data.filename[rows], minlength=len(data.filenames))


def _names(facets: Facets) -> list[str | None]:
    return [_value(facets.names, code) for code in facets.runs.most[RUN_NAME].tolist()]


def _sorted_by(facets: Facets, sort: str) -> NDArray[np.float64]:
    totals = facets.runs
    match sort:
        case "start":
            return totals.start
        case "duration":
            return totals.end - totals.start
        case "records":
            return totals.records.astype(np.float64)
        case "errors":
            return totals.errors.astype(np.float64)
    return totals.numbers["cost"]


def _order(values: NDArray[np.float64], *, descending: bool) -> NDArray[np.int64]:
    """The order of the values, those that are missing last."""
    return np.argsort(-values if descending else values, kind="stable")  # NaN sorts last


def _value(values: Sequence[str], code: int) -> str | None:
    return None if code >= OTHERS else values[int(code)]


def _number(value: float) -> float | int | None:
    if np.isnan(value):
        return None
    return int(value) if float(value).is_integer() else round(float(value), 6)


def _time(seconds: float) -> str | None:
    if np.isnan(seconds):
        return None
    return f"{np.datetime64(round(seconds * 1e6), 'us')}Z"
