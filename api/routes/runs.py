"""Start loads and indexes, and ask how they are doing. The work itself is Prefect's."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from api.dependencies import Dependencies, Deps
from api.health import percent
from api.inputs import MAX_NAME_CHARS, MAX_SOURCE_CHARS, MAX_SOURCES, NAME_OR_ALL_PATTERN, IdempotencyKey
from api.prefect_client import Run
from api.problems import Problem
from components.errors import BadSetting
from components.locations import without_password
from components.redact import public_text, public_values
from components.sources import specs

if TYPE_CHECKING:
    from components.store import Store
    from components.store.runs import RunInfo

router = APIRouter(tags=["runs"])

every_dataset = "*"


DatasetOrAll = Field(
    "default",
    description='Name of the dataset; "*" for all.',
    min_length=1,
    max_length=MAX_NAME_CHARS,
    pattern=NAME_OR_ALL_PATTERN,
)
SourceSpec = Annotated[str, Field(min_length=1, max_length=MAX_SOURCE_CHARS)]


class LoadRequest(BaseModel):
    """What to load. Without `sources`: everything that the dataset is configured with or remembers."""

    model_config = ConfigDict(extra="forbid", strict=True)
    dataset: str = DatasetOrAll
    sources: list[SourceSpec] | None = Field(
        None,
        description="Files, folders or globs below the dataset's own sources.",
        min_length=1,
        max_length=MAX_SOURCES,
    )


class IndexRequest(BaseModel):
    """What to index."""

    model_config = ConfigDict(extra="forbid", strict=True)
    dataset: str = DatasetOrAll
    recompute: bool = Field(False, description="Draw the map anew from all records, laid over the old one.")
    retry_failed: bool = Field(False, description="Try the records again that could not be embedded.")


@router.post("/load", status_code=202)
async def load(deps: Deps, body: LoadRequest | None = None, idempotency_key: IdempotencyKey = None) -> dict[str, Any]:
    """Bring every new record of the dataset into the store. Joins a load of the same sources that has not begun."""
    wanted = body or LoadRequest()
    sources = await run_in_threadpool(allowed_sources, deps, wanted.dataset, wanted.sources)
    parameters: dict[str, Any] = {"dataset": wanted.dataset}
    if sources is not None:
        parameters["sources"] = sources
    return await _start_or_join(deps, "load", parameters, idempotency_key)


@router.post("/index", status_code=202)
async def index(deps: Deps, body: IndexRequest | None = None, idempotency_key: IdempotencyKey = None) -> dict[str, Any]:
    """Embed what waits, place it, publish it. Joins the index of this dataset that is at work."""
    wanted = body or IndexRequest()
    await run_in_threadpool(known_dataset, deps, wanted.dataset)
    parameters: dict[str, Any] = {"dataset": wanted.dataset, "recompute": wanted.recompute}
    if wanted.retry_failed:
        parameters["retry_failed"] = True
    return await _start_or_join(deps, "index", parameters, idempotency_key)


@router.get("/runs/{flow_run_id}")
async def run(deps: Deps, flow_run_id: UUID) -> JSONResponse:
    """How a run is doing: state, progress in percent, and its report once it is done."""
    noted, told = await asyncio.gather(_noted(deps, flow_run_id), _told(deps, flow_run_id))
    found = told if isinstance(told, Run) else None
    lines = noted if isinstance(noted, dict) else {}
    if found is None and not lines:
        for failure in (told, noted):
            if isinstance(failure, Problem):
                raise failure
        raise Problem(404, "unknown-run", f"There is no run {flow_run_id}. POST /load and POST /index answer with ids.")
    return JSONResponse(run_json(str(flow_run_id), found, lines))


async def _told(deps: Dependencies, id: UUID) -> Run | Problem | None:
    """What Prefect knows of the run, or why it can't say."""
    try:
        return await deps.prefect.read(id)
    except Problem as problem:
        return problem


async def _noted(deps: Dependencies, id: UUID) -> dict[str, RunInfo] | Problem:
    """What the run itself wrote down, by dataset: one line, or several where it went through all datasets."""

    def lines(store: Store) -> dict[str, RunInfo]:
        ids = [str(id), *(f"{id}/{name}" for name in store.ledger.datasets())]
        return {line.dataset: line for line in map(store.runs.get, ids) if line is not None}

    try:
        return await run_in_threadpool(deps.state.ask, lines)
    except Problem as problem:
        return problem


# --- joining -------------------------------------------------------------------------------------------------------

_starting = asyncio.Lock()


async def _start_or_join(deps: Dependencies, flow: str, parameters: dict[str, Any], key: str | None) -> dict[str, Any]:
    dataset = str(parameters["dataset"])
    async with _starting:  # of two requests at once the second one joins
        is_held_back = flow == "index" and await run_in_threadpool(
            deps.state.ask, lambda store: store.runs.is_held_back(dataset)
        )
        find = partial(joinable, flow=flow, parameters=parameters, is_held_back=is_held_back)
        joined = None if key else find(await deps.prefect.active([flow]))
        if joined is not None and (wished := beyond(joined.parameters, parameters)):
            await run_in_threadpool(leave_wish, deps, dataset, wished)
            # one that was just ending may not have seen it
            joined = find(await deps.prefect.active([flow]))
        found = joined or await deps.prefect.start(f"{flow}/{flow}", parameters, key)
    if key and not is_same_request(found.parameters, parameters):
        raise _key_reused(found)
    answer = {
        "flow_run_id": found.id,
        "name": found.name,
        "state": found.state,
        "url": found.url,
        "joined": joined is not None,
        "links": links(found.id, dataset),
    }
    if joined is not None:
        answer["detail"] = _joined_detail(flow, joined, parameters)
    return answer


def joinable(active: Sequence[Run], flow: str, parameters: dict[str, Any], *, is_held_back: bool = False) -> Run | None:
    """The run that does what is asked for, or will; None where a new one is needed.

    An index goes on until nothing waits, so one at work takes what came meanwhile along. A load that has begun may
    have passed by what came since, so only one that waits is joined. A run that is being cancelled does nothing more,
    and one of all datasets may leave out a dataset that is held back, because its index was cancelled.
    """
    takes = {parameters["dataset"]} if is_held_back else {parameters["dataset"], every_dataset}
    for found in active:
        if found.type == "CANCELLING":
            continue
        if flow == "index" and found.parameters.get("dataset", "default") in takes:
            return found
        if flow == "load" and found.type in {"SCHEDULED", "PENDING"} and _asks_the_same(found.parameters, parameters):
            return found
    return None


unasked = {"dataset": "default", "sources": None, "verify": False, "recompute": False, "retry_failed": False}


def is_same_request(given: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Does a run with the `given` parameters do exactly what is wanted?

    >>> is_same_request({"dataset": "a", "recompute": False}, {"dataset": "a"}), is_same_request({"dataset": "b"}, {})
    (True, False)
    """
    return {**unasked, **given} == {**unasked, **wanted}


def _key_reused(found: Run) -> Problem:
    detail = (
        f"Idempotency-Key: it started run {found.id} before, with other parameters. Repeat that request as it was, or send "
        "a new key with this one."
    )
    return Problem(409, "key-reused", detail, errors=[{"field": "idempotency-key", "message": "was used before"}])


def _asks_the_same(given: Any, wanted: dict[str, Any]) -> bool:
    return (given.get("dataset", "default"), given.get("sources")) == (wanted["dataset"], wanted.get("sources"))


def beyond(given: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """What is wanted of an index that was not started for it.

    >>> beyond({"dataset": "runs"}, {"dataset": "runs", "recompute": True, "retry_failed": False})
    ['recompute']
    """
    return [name for name in ("recompute", "retry_failed") if wanted.get(name) and not given.get(name)]


def leave_wish(deps: Dependencies, dataset: str, wished: Sequence[str]) -> None:
    """Has the index that is at work, or else the next one, do this as well."""

    def leave(store: Store) -> None:
        for name in store.ledger.datasets() if dataset == every_dataset else [dataset]:
            store.index_requests.ask(name, recompute="recompute" in wished, retry_failed="retry_failed" in wished)

    deps.state.ask(leave)


def _joined_detail(flow: str, joined: Run, parameters: dict[str, Any]) -> str:
    wished = beyond(joined.parameters, parameters)
    if wished:
        return f"An index without {' and '.join(wished)} is at work; it does that as well before it ends."
    return f"The {flow} that is at work takes this along."


# --- reports -------------------------------------------------------------------------------------------------------


def run_json(id: str, found: Run | None, lines: Mapping[str, RunInfo]) -> dict[str, Any]:
    """A run as `/runs/{id}` tells it, from what Prefect knows and from what the run itself wrote down."""
    book = next(iter(lines.values())) if len(lines) == 1 else None
    dataset = book.dataset if book else str(found.parameters.get("dataset", "default")) if found else every_dataset
    started = (found.started if found else None) or min((line.started_at for line in lines.values()), default=None)
    finished = (found.ended if found else None) or (book.finished_at if book else None)
    steps = {name: line.step for name, line in lines.items() if line.finished_at is None}
    errors = [f"{name}: {public_text(line.error)}" for name, line in lines.items() if line.error]
    return {
        "flow_run_id": id,
        "flow": found.flow if found else next((line.kind for line in lines.values()), None),
        "name": found.name if found else None,
        "dataset": dataset,
        "state": found.state if found else book.state.capitalize() if book else None,
        "message": public_text(found.message) if found else None,
        "progress": progress(found, list(lines.values())),
        "step": next(iter(steps.values()), None),
        "report": report(lines),
        "error": "; ".join(errors) or None,
        "created_by": (found.created_by or None) if found else None,
        "started": started.isoformat() if started else None,
        "finished": finished.isoformat() if finished else None,
        "url": found.url if found else None,
        "links": links(id, dataset),
    }


def progress(found: Run | None, lines: Sequence[RunInfo]) -> int:
    """Percent: 0 until it begins, 100 when it has done what it should."""
    if (found and found.type == "COMPLETED") or (lines and all(line.state == "done" for line in lines)):
        return 100
    shares = [100 if line.state == "done" else percent(line.step, line.done, line.total) for line in lines]
    return min(99, sum(shares) // len(shares)) if shares else 0


def report(lines: Mapping[str, RunInfo]) -> Any:
    """The run's report without absolute paths; a run through several datasets has one for each."""
    reports = {name: public_values(line.report) for name, line in lines.items() if line.report is not None}
    return next(iter(reports.values())) if len(lines) == 1 and reports else ({"datasets": reports} if reports else None)


def links(id: str, dataset: str) -> dict[str, str]:
    if dataset == every_dataset:
        return {"run": f"/runs/{id}"}
    return {"run": f"/runs/{id}", "map": f"/map/{dataset}", "atlas": f"/atlas/{dataset}/"}


# --- what may be asked for -----------------------------------------------------------------------------------------


def known_dataset(deps: Dependencies, dataset: str) -> None:
    """Raises `Problem` where there is no such dataset; `*` means all."""
    if dataset != every_dataset:
        deps.state.dataset_id(dataset)


def allowed_sources(deps: Dependencies, dataset: str, sources: Sequence[str] | None) -> list[str] | None:
    """The sources to load, absolute. Raises `Problem` 422 on one that lies outside of the dataset's own."""
    known_dataset(deps, dataset)
    if sources is None:
        return None
    if dataset == every_dataset:
        raise _refused(0, "sources belong to one dataset: name it")
    own = deps.state.sources(dataset)
    return [allowed_source(at, source, own, dataset) for at, source in enumerate(sources)]


def allowed_source(at: int, source: str, own: Sequence[str], dataset: str) -> str:
    """`source` as an absolute path or URL, if it is one of the dataset's own or lies below one."""
    bare = without_password(source)  # Prefect keeps a run's parameters
    try:
        return specs.permitted(bare, own, dataset)
    except BadSetting as error:
        raise _refused(at, str(error)) from error


def _refused(at: int, why: str) -> Problem:
    field = f"sources.{at}"
    return Problem(422, "source-refused", f"{field} {why}.", errors=[{"field": field, "message": why}])
