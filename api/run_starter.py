"""Starts a run, or joins one that does the same: what `POST /load` and `POST /index` have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool

from api.dependencies import Dependencies
from api.prefect_client import Run
from api.problems import Problem
from api.run_report import every_dataset, links
from components.store import lease_name

if TYPE_CHECKING:
    from components.store import Store

_starting = asyncio.Lock()
_options = ("recompute", "retry_failed", "renew_topics")  # of an index
_defaults = {"dataset": "default", "sources": None, "verify": False, **dict.fromkeys(_options, False)}


async def start_or_join(deps: Dependencies, flow: str, parameters: dict[str, Any], key: str | None) -> dict[str, Any]:
    """The answer of a call that starts `flow`. With an idempotency `key`, the run that the key started before.

    Raises `Problem` 409 if the key belongs to another request, 503 if Prefect does not answer.
    """
    async with _starting:  # of two simultaneous requests the second one joins
        joined = None if key else await _joined(deps, flow, parameters)
        run = joined or await deps.prefect.start(f"{flow}/{flow}", parameters, key)
    if key and not is_same_request(run.parameters, parameters):
        raise _key_reused(run)
    answer = {
        "flow_run_id": run.id,
        "name": run.name,
        "state": run.state,
        "url": run.url,
        "joined": joined is not None,
        "links": links(run.id, str(parameters["dataset"])),
    }
    if joined is not None:
        answer["detail"] = _joined_detail(flow, missing_options(joined.parameters, parameters))
    return answer


async def _joined(deps: Dependencies, flow: str, parameters: dict[str, Any]) -> Run | None:
    """The active run that does what is asked for; None if a new one is needed."""
    joined = joinable(await deps.prefect.active([flow]), flow, parameters)
    if joined is None or flow == "load":
        return joined
    dataset = str(parameters["dataset"])
    if await run_in_threadpool(deps.state.with_store, lambda store: store.runs.is_held_back(dataset)):
        return None  # a run that a schedule or a trigger started leaves the dataset out
    if joined.type == "RUNNING" or missing_options(joined.parameters, parameters):
        await run_in_threadpool(request_index, deps, parameters)
        joined = joinable(await deps.prefect.active([flow]), flow, parameters)
    if joined is None or joined.type != "RUNNING":
        return joined
    # whoever holds the lease now sees the request before it ends; a run without it may be past that
    is_held = await run_in_threadpool(
        deps.state.with_store, lambda store: store.leases.holder(lease_name(dataset)).is_held
    )
    return joined if is_held else None


def joinable(active: Sequence[Run], flow: str, parameters: dict[str, Any]) -> Run | None:
    """The active run that may do what `parameters` ask for, or None.

    A running index continues until no record is pending and nothing is requested, so it includes records that arrive
    meanwhile. A load that has started may have passed a source already, and an index of all datasets a dataset, so of
    these only scheduled ones are joined. A run that is being cancelled does nothing more.
    """
    for run in active:
        is_pending = run.type in {"SCHEDULED", "PENDING"}
        if flow == "load" and is_pending and _has_same_sources(run.parameters, parameters):
            return run
        is_same = run.parameters.get("dataset", "default") == parameters["dataset"]
        is_running = run.type == "RUNNING" and parameters["dataset"] != every_dataset
        if flow == "index" and is_same and (is_pending or is_running):
            return run
    return None


def is_same_request(given: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Do both sets of parameters mean the same?

    >>> is_same_request({"dataset": "a", "recompute": False}, {"dataset": "a"}), is_same_request({"dataset": "b"}, {})
    (True, False)
    """
    return {**_defaults, **given} == {**_defaults, **wanted}


def _has_same_sources(given: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return (given.get("dataset", "default"), given.get("sources")) == (wanted["dataset"], wanted.get("sources"))


def missing_options(given: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Options of an index that are wanted and that the given run was not started with.

    >>> missing_options({"dataset": "runs"}, {"dataset": "runs", "recompute": True, "retry_failed": False})
    ['recompute']
    """
    return [name for name in _options if wanted.get(name) and not given.get(name)]


def request_index(deps: Dependencies, parameters: Mapping[str, Any]) -> None:
    """Requests an index with these options from the running one, or from the next."""
    dataset = str(parameters["dataset"])

    def request(store: Store) -> None:
        for name in store.datasets.ids() if dataset == every_dataset else [dataset]:
            store.index_requests.add(name, **{option: bool(parameters.get(option)) for option in _options})

    deps.state.with_store(request)


def _joined_detail(flow: str, options: Sequence[str]) -> str:
    article = "An" if flow == "index" else "A"
    if options:
        return f"{article} {flow} without {' and '.join(options)} is already running; it does that too before it ends."
    state = "running" if flow == "index" else "scheduled"
    return f"{article} {flow} is already {state}; it includes this request."


def _key_reused(run: Run) -> Problem:
    detail = (
        f"Idempotency-Key: this key started run {run.id} with other parameters. Repeat that request unchanged, or send a "
        "new key with this one."
    )
    return Problem(409, "key-reused", detail, errors=[{"field": "idempotency-key", "message": "was used before"}])
