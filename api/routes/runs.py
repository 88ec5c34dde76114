"""Start loads and indexes, and follow them. Prefect runs the work."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from api.dependencies import Dependencies, Deps
from api.inputs import MAX_NAME_CHARS, MAX_SOURCE_CHARS, MAX_SOURCES, NAME_OR_ALL_PATTERN, IdempotencyKey
from api.prefect_client import Run
from api.problems import Problem
from api.run_report import every_dataset, run_json
from api.run_starter import start_or_join
from components.errors import BadSetting
from components.locations import without_password
from components.sources import specs

if TYPE_CHECKING:
    from components.store import Store
    from components.store.runs import RunInfo

router = APIRouter(tags=["runs"])

DatasetOrAll = Field(
    "default",
    description='Name of the dataset; "*" for all.',
    min_length=1,
    max_length=MAX_NAME_CHARS,
    pattern=NAME_OR_ALL_PATTERN,
)
SourceSpec = Annotated[str, Field(min_length=1, max_length=MAX_SOURCE_CHARS)]


class LoadRequest(BaseModel):
    """What to load. Without `sources`: all sources of the dataset, configured ones and those of earlier loads."""

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
    recompute: bool = Field(False, description="Rebuild the map from all records, keeping its orientation.")
    retry_failed: bool = Field(False, description="Retry the records that could not be embedded.")
    renew_topics: bool = Field(False, description="Look for topics from scratch, on the map as it is.")


@router.post("/load", status_code=202, summary="Import new records")
async def load(deps: Deps, body: LoadRequest | None = None, idempotency_key: IdempotencyKey = None) -> dict[str, Any]:
    """Import new records (duplicates are skipped). Joins a load of the same sources that has not started yet."""
    wanted = body or LoadRequest()
    sources = await run_in_threadpool(allowed_sources, deps, wanted.dataset, wanted.sources)
    parameters: dict[str, Any] = {"dataset": wanted.dataset}
    if sources is not None:
        parameters["sources"] = sources
    return await start_or_join(deps, "load", parameters, idempotency_key)


@router.post("/index", status_code=202, summary="Index pending records")
async def index(deps: Deps, body: IndexRequest | None = None, idempotency_key: IdempotencyKey = None) -> dict[str, Any]:
    """Index pending records: embed, place, publish. Joins a running index of this dataset."""
    wanted = body or IndexRequest()
    await run_in_threadpool(expect_dataset, deps, wanted.dataset)
    parameters: dict[str, Any] = {"dataset": wanted.dataset, "recompute": wanted.recompute}
    parameters |= {name: True for name in ("retry_failed", "renew_topics") if getattr(wanted, name)}
    return await start_or_join(deps, "index", parameters, idempotency_key)


@router.get("/runs/{flow_run_id}", summary="State and report of a run")
async def run(deps: Deps, flow_run_id: UUID) -> JSONResponse:
    """State, progress in percent, and the report of a run that has ended."""
    stored, found = await asyncio.gather(_stored(deps, flow_run_id), _in_prefect(deps, flow_run_id))
    known = found if isinstance(found, Run) else None
    records = stored if isinstance(stored, dict) else {}
    if known is None and not records:
        for failure in (found, stored):
            if isinstance(failure, Problem):
                raise failure
        raise Problem(404, "unknown-run", f"There is no run {flow_run_id}. POST /load and POST /index return run ids.")
    return JSONResponse(run_json(str(flow_run_id), known, records))


async def _in_prefect(deps: Dependencies, id: UUID) -> Run | Problem | None:
    """What Prefect knows of the run, or why it does not answer."""
    try:
        return await deps.prefect.read(id)
    except Problem as problem:
        return problem


async def _stored(deps: Dependencies, id: UUID) -> dict[str, RunInfo] | Problem:
    """The run's records in the database by dataset, one per dataset; or why the database does not answer."""

    def read(store: Store) -> dict[str, RunInfo]:
        ids = [str(id), *(f"{id}/{name}" for name in store.datasets.ids())]
        return {info.dataset: info for info in map(store.runs.get, ids) if info is not None}

    try:
        return await run_in_threadpool(deps.state.with_store, read)
    except Problem as problem:
        return problem


# --- checks --------------------------------------------------------------------------------------------------------


def expect_dataset(deps: Dependencies, dataset: str) -> None:
    """Raises `Problem` 404 if there is no such dataset; `*` means all."""
    if dataset != every_dataset:
        deps.state.dataset_id(dataset)


def allowed_sources(deps: Dependencies, dataset: str, sources: Sequence[str] | None) -> list[str] | None:
    """The sources to load, absolute. Raises `Problem` 422 for one that is not below the dataset's own."""
    expect_dataset(deps, dataset)
    if sources is None:
        return None
    if dataset == every_dataset:
        raise _refused(0, "sources need the name of one dataset")
    own = deps.state.sources(dataset)
    return [_allowed_source(at, source, own, dataset) for at, source in enumerate(sources)]


def _allowed_source(at: int, source: str, own: Sequence[str], dataset: str) -> str:
    bare = without_password(source)  # Prefect stores a run's parameters
    try:
        return specs.permitted(bare, own, dataset)
    except BadSetting as error:
        raise _refused(at, str(error)) from error


def _refused(at: int, reason: str) -> Problem:
    field = f"sources.{at}"
    return Problem(422, "source-refused", f"{field} {reason}.", errors=[{"field": field, "message": reason}])
