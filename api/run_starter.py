"""Starts a run, or joins one that does the same: what `POST /load` and `POST /index` have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool

from api.dependencies import Dependencies
from api.prefect_client import Run
from api.problems import Problem
from api.run_report import every_dataset, links

if TYPE_CHECKING:
    from components.store import Store

_starting = asyncio.Lock()
_defaults = {"dataset": "default", "sources": None, "verify": False, "recompute": False, "retry_failed": False}


async def start_or_join(deps: Dependencies, flow: str, parameters: dict[str, Any], key: str | None) -> dict[str, Any]:
    """The answer of a call that starts `flow`. With an idempotency `key`, the run that the key started before.

    Raises `Problem` 409 if the key belongs to another request, 503 if Prefect does not answer.
    """
    dataset = str(parameters["dataset"])
    async with _starting:  # of two simultaneous requests the second one joins
        is_held_back = flow == "index" and await run_in_threadpool(
            deps.state.with_store, lambda store: store.runs.is_held_back(dataset)
        )
        find = partial(joinable, flow=flow, parameters=parameters, is_held_back=is_held_back)
        joined = None if key else find(await deps.prefect.active([flow]))
        if joined is not None and (options := missing_options(joined.parameters, parameters)):
            await run_in_threadpool(request_options, deps, dataset, options)
            # a run that was about to end may not have seen the request
            joined = find(await deps.prefect.active([flow]))
        run = joined or await deps.prefect.start(f"{flow}/{flow}", parameters, key)
    if key and not is_same_request(run.parameters, parameters):
        raise _key_reused(run)
    answer = {
        "flow_run_id": run.id,
        "name": run.name,
        "state": run.state,
        "url": run.url,
        "joined": joined is not None,
        "links": links(run.id, dataset),
    }
    if joined is not None:
        answer["detail"] = _joined_detail(flow, missing_options(joined.parameters, parameters))
    return answer


def joinable(active: Sequence[Run], flow: str, parameters: dict[str, Any], *, is_held_back: bool = False) -> Run | None:
    """The active run that includes what `parameters` ask for; None if a new one is needed.

    A running index continues until no record is pending, so it includes records that arrive meanwhile. A load that
    has started may have passed a source already, so only a scheduled one is joined. A run that is being cancelled
    does nothing more. A run of all datasets may skip one that is held back, because its index was cancelled.
    """
    datasets = {parameters["dataset"]} if is_held_back else {parameters["dataset"], every_dataset}
    for run in active:
        if run.type == "CANCELLING":
            continue
        if flow == "index" and run.parameters.get("dataset", "default") in datasets:
            return run
        if flow == "load" and run.type in {"SCHEDULED", "PENDING"} and _has_same_sources(run.parameters, parameters):
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
    return [name for name in ("recompute", "retry_failed") if wanted.get(name) and not given.get(name)]


def request_options(deps: Dependencies, dataset: str, options: Sequence[str]) -> None:
    """Requests the options from the running index, or from the next one."""

    def request(store: Store) -> None:
        for name in store.ledger.datasets() if dataset == every_dataset else [dataset]:
            store.index_requests.ask(name, recompute="recompute" in options, retry_failed="retry_failed" in options)

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
