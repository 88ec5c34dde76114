"""Runs of our deployments, seen from outside: start one, find active ones, end abandoned ones."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from components.datasets import sources_of
from components.settings import Settings
from components.store import Store
from components.store.runs import every
from components.wiring import open_credentials

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient, SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun, State

logger = logging.getLogger(__name__)

cancelled_within = timedelta(hours=6)
tag = "runatlas"  # of all our deployments, see prefect.yaml
page_runs = 200  # the server gives no more at once
epoch = datetime.fromtimestamp(0, UTC)
stop_message = "runatlas is being stopped."
skipped_because = "It was due while nothing could run it; a later run of the same schedule does its work."


async def start_run(
    client: PrefectClient, deployment: str, parameters: Mapping[str, Any], *, tags: Sequence[str] = ()
) -> UUID:
    """The id of a new run, which a worker will start."""
    from prefect.deployments import arun_deployment

    run = await arun_deployment(
        deployment, client=client, parameters=dict(parameters), timeout=0, as_subflow=False, tags=list(tags)
    )
    return run.id


async def end_of(client: PrefectClient, run: UUID) -> State[Any]:
    """The final state of a run, once it has one."""
    while True:
        state = (await client.read_flow_run(run)).state
        if state is not None and state.is_final():
            return state
        await asyncio.sleep(0.5)


async def load_when_changed(client: PrefectClient, dataset: str) -> UUID:
    """The id of a load that will see what changed: one that has not started yet, or a new one."""
    from prefect.client.schemas.objects import StateType

    for run in await _runs(client, "load", [StateType.SCHEDULED, StateType.PENDING]):
        if run.parameters.get("dataset") in {dataset, "*"} and not run.parameters.get("sources"):
            return UUID(str(run.id))
    return await start_run(client, "load/load", {"dataset": dataset}, tags=["changed"])


def watched_sources(settings: Settings, store: Store) -> dict[str, tuple[str, ...]]:
    """Dataset -> its sources, configured or remembered from earlier loads. URLs have their passwords, where known."""
    numbers = store.datasets.ids()
    credentials = open_credentials(settings)
    return {
        name: sources_of(settings.dataset(name).sources, store, numbers.get(name), credentials)
        for name in sorted({*settings.datasets, *numbers})
    }


async def active_runs(client: PrefectClient, flow: str | None = None) -> list[FlowRun]:
    """Runs that a worker has started and that have not ended, of all our flows or of one."""
    from prefect.client.schemas.objects import StateType

    return await _runs(client, flow, [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING])


async def _runs(client: PrefectClient, flow: str | None, states: Sequence[Any]) -> list[FlowRun]:
    return await client.read_flow_runs(**_which(flow, states))


def _which(flow: str | None, states: Sequence[Any]) -> dict[str, Any]:
    """The filters of runs of our deployments in these states, without those that are scheduled for later."""
    from prefect.client.schemas import filters

    return {
        "flow_filter": filters.FlowFilter(name=filters.FlowFilterName(any_=[flow])) if flow else None,
        "deployment_filter": filters.DeploymentFilter(tags=filters.DeploymentFilterTags(all_=[tag])),
        "flow_run_filter": filters.FlowRunFilter(
            state=filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=list(states))),
            expected_start_time=filters.FlowRunFilterExpectedStartTime(before_=datetime.now(UTC)),
        ),
    }


async def reconcile(client: PrefectClient) -> int:
    """Marks runs as crashed whose process is gone, and returns their number. Call it before a worker is started."""
    from prefect.client.schemas.objects import State, StateType

    left = await active_runs(client)
    for run in left:
        crashed: State[Any] = State(
            type=StateType.CRASHED, name="Crashed", message="runatlas was killed while this run was active."
        )
        cancelled: State[Any] = State(
            type=StateType.CANCELLED, name="Cancelled", message="Cancelled in the Prefect UI."
        )
        state = cancelled if _is_cancelling_for_user(run.state) else crashed
        await client.set_flow_run_state(run.id, state, force=True)
    return len(left)


def skip_overdue(schedule: UUID | None = None) -> int:
    """Cancels overdue runs of schedules and returns their number: one run does the work of all of them.

    Without `schedule` the newest run of each schedule stays; with one, none of its runs stays, since the caller is a
    run of this schedule.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.objects import State, StateType

    with get_client(sync_client=True) as client:
        skipped = superseded(_due(client), schedule)
        for run in skipped:
            state: State[Any] = State(type=StateType.CANCELLED, name="Skipped", message=skipped_because)
            client.set_flow_run_state(run.id, state)
    return len(skipped)


def superseded(due: Sequence[FlowRun], schedule: UUID | None = None) -> list[FlowRun]:
    """Of runs that are due: those whose work another run of the same schedule does."""
    planned = [run for run in due if run.auto_scheduled and run.created_by and run.created_by.id]
    if schedule is not None:
        return [run for run in planned if run.created_by and run.created_by.id == schedule]
    newest_first = sorted(planned, key=lambda run: run.expected_start_time or run.created or epoch, reverse=True)
    stays: set[UUID] = set()
    skipped = []
    for run in newest_first:
        assert run.created_by is not None
        assert run.created_by.id is not None
        if run.created_by.id in stays:
            skipped.append(run)
        stays.add(run.created_by.id)
    return skipped


def _due(client: SyncPrefectClient) -> list[FlowRun]:
    """Runs of our deployments that are due and that no worker has started."""
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort

    which = _which(None, [StateType.SCHEDULED])
    found: list[FlowRun] = []
    while True:
        page = client.read_flow_runs(
            **which, sort=FlowRunSort.EXPECTED_START_TIME_ASC, limit=page_runs, offset=len(found)
        )
        found += page
        if len(page) < page_runs:
            return found


async def drain(client: PrefectClient, *, within_s: float, below: set[int] | None = None) -> None:
    """Cancels active runs, and returns when they have ended or the time is over.

    A worker that just ends leaves its runs in state `Running`. `below`: only runs of these processes.
    """
    from prefect.client.schemas.objects import State, StateType

    async def left() -> list[FlowRun]:
        return [run for run in await active_runs(client) if below is None or _pid_of(run) in below]

    end, cancelled = time.monotonic() + within_s, set()
    while (runs := await left()) and time.monotonic() < end:
        for run in runs:
            if run.id not in cancelled:  # one that was just being started comes later
                cancelled.add(run.id)
                state: State[Any] = State(type=StateType.CANCELLING, name="Cancelling", message=stop_message)
                await client.set_flow_run_state(run.id, state)
        await asyncio.sleep(0.3)


def record_cancelled(store: Store) -> None:
    """Records indexes that a user cancelled and that could not record it themselves: not started yet, or killed."""
    from prefect.client.orchestration import get_client

    try:
        with get_client(sync_client=True) as client:
            for run in _cancelled_indexes(client):
                recorded = store.runs.get(str(run.id))
                if recorded is not None and recorded.finished_at is not None:
                    continue
                if (at := _cancelled_by_user_at(client, run)) is not None:
                    dataset = str(run.parameters.get("dataset", "default"))
                    store.runs.record_cancelled(str(run.id), dataset, at=at)
                    withdraw_requests(store, dataset)
    except Exception:
        logger.warning("Cancelled runs could not be read from the Prefect server.", exc_info=True)


def withdraw_requests(store: Store, dataset: str) -> None:
    """Closes the index requests of a dataset whose index a user cancelled; `*`: of all that are held back by it."""
    for name in store.datasets.ids():
        if name == dataset or (dataset == every and store.runs.is_held_back(name)):
            store.index_requests.withdraw(name)


def was_cancelled_by_user(run: str | None) -> bool:
    """Is this run being cancelled by a user, rather than stopped together with the product?"""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    if run is None:
        return False
    try:
        with (
            temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 2}),  # the run is killed 30 s after the request to stop
            get_client(sync_client=True, httpx_settings={"timeout": 5.0}) as client,
        ):
            return _is_cancelling_for_user(client.read_flow_run(UUID(run)).state)
    except Exception:
        logger.warning("Who cancelled this run is unknown: the Prefect server does not respond.", exc_info=True)
        return False


def is_automatic(run: FlowRun) -> bool:
    """Did a trigger or a schedule start this run, rather than a user or a program?"""
    return run.created_by is not None and run.created_by.type in {"AUTOMATION", "SCHEDULE"}


def _is_cancelling_for_user(state: State[Any] | None) -> bool:
    from prefect.client.schemas.objects import StateType

    ended = {StateType.CANCELLING, StateType.CANCELLED}
    return state is not None and state.type in ended and state.message != stop_message


def _cancelled_by_user_at(client: SyncPrefectClient, run: FlowRun) -> datetime | None:
    """When a user cancelled this run; None if the product stopped it, or a later run replaced it."""
    from prefect.client.schemas.objects import StateType

    states = sorted(client.read_flow_run_states(run.id), key=lambda state: state.timestamp)
    first = next((one for one in states if one.type in {StateType.CANCELLING, StateType.CANCELLED}), None)
    if first is None or first.message in {stop_message, skipped_because}:
        return None
    return first.timestamp


def _cancelled_indexes(client: SyncPrefectClient) -> list[FlowRun]:
    """Index runs that were cancelled recently, for whatever reason, newest first."""
    from prefect.client.schemas import filters
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort

    cancelled = filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=[StateType.CANCELLED]))
    runs = client.read_flow_runs(
        flow_filter=filters.FlowFilter(name=filters.FlowFilterName(any_=["index"])),
        flow_run_filter=filters.FlowRunFilter(state=cancelled),
        sort=FlowRunSort.START_TIME_DESC,
        limit=100,
    )
    since = datetime.now(UTC) - cancelled_within
    return [run for run in runs if run.state and run.state.timestamp > since]


def _pid_of(run: FlowRun) -> int | None:
    number = (run.infrastructure_pid or "").rpartition(":")[2]
    return int(number) if number.isdigit() else None
