"""Runs of our deployments, seen from outside: start one, find those that are at work, end those that were left."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from components.settings import Settings
from components.store import Store
from components.wiring import open_credentials

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient, SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun, State

logger = logging.getLogger(__name__)

asked_within = timedelta(hours=6)
tag = "runatlas"  # of all our deployments, see prefect.yaml
page_runs = 200  # the server gives no more at once
epoch = datetime.fromtimestamp(0, UTC)
skipped_because = "It was due while nothing could run it; a later run of the same schedule does its work."


async def start_run(
    client: PrefectClient, deployment: str, parameters: Mapping[str, Any], *, tags: Sequence[str] = ()
) -> UUID:
    """The id of a run that a worker will take up; does not wait for it."""
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
    """The id of a load that will see what changed: one that has not begun yet, or a new one."""
    from prefect.client.schemas.objects import StateType

    for run in await _runs(client, "load", [StateType.SCHEDULED, StateType.PENDING]):
        if run.parameters.get("dataset") in {dataset, "*"} and not run.parameters.get("sources"):
            return UUID(str(run.id))
    return await start_run(client, "load/load", {"dataset": dataset}, tags=["changed"])


def watched_sources(settings: Settings, store: Store) -> dict[str, tuple[str, ...]]:
    """Dataset -> its sources: those that the settings name, and those that were given to a load by hand.

    URLs are with their passwords, where these are known.
    """
    remembered = {name: store.ledger.remembered(number) for name, number in store.ledger.datasets().items()}
    names = {*settings.datasets, *remembered}
    credentials = open_credentials(settings)
    specs = {name: (*settings.dataset(name).sources, *remembered.get(name, ())) for name in sorted(names)}
    return {name: tuple(dict.fromkeys(map(credentials.completed, given))) for name, given in specs.items()}


async def at_work(client: PrefectClient, flow: str | None = None) -> list[FlowRun]:
    """Runs that a worker has taken up and not finished, of all our flows or of one."""
    from prefect.client.schemas.objects import StateType

    return await _runs(client, flow, [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING])


async def _runs(client: PrefectClient, flow: str | None, states: Sequence[Any]) -> list[FlowRun]:
    return await client.read_flow_runs(**_which(flow, states))


def _which(flow: str | None, states: Sequence[Any]) -> dict[str, Any]:
    """The filters of runs of our deployments in these states; those that are planned for later are not among them."""
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
    """Marks runs as crashed that a dead executor left, and says how many. For a server of which no worker runs yet."""
    from prefect.client.schemas.objects import State, StateType

    left = await at_work(client)
    for run in left:
        state: State[Any] = State(
            type=StateType.CRASHED, name="Crashed", message="runatlas was stopped hard meanwhile."
        )
        await client.set_flow_run_state(run.id, state, force=True)
    return len(left)


def skip_overdue(schedule: UUID | None = None) -> int:
    """How many runs were cancelled that a schedule had planned for moments when nothing could run them.

    One run does the work of all that are overdue. Without `schedule` the newest one of each schedule stays and does it;
    with one, none of its runs stays, since the caller is a run of this schedule.
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
    """Of waiting runs that are due: those whose work another run of the same schedule does."""
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
    """Runs of our deployments that should have begun and that no worker has taken up."""
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
    """Cancels what is at work, and returns when it has given up or the time is over.

    A worker that just ends leaves its runs `Running` for ever. `below`: only runs of these processes.
    """
    from prefect.client.schemas.objects import State, StateType

    async def left() -> list[FlowRun]:
        return [run for run in await at_work(client) if below is None or _pid_of(run) in below]

    end, told = time.monotonic() + within_s, set()
    while (runs := await left()) and time.monotonic() < end:
        for run in runs:
            if run.id not in told:  # one that was just being started comes later
                told.add(run.id)
                state: State[Any] = State(
                    type=StateType.CANCELLING, name="Cancelling", message="runatlas is being stopped."
                )
                await client.set_flow_run_state(run.id, state)
        await asyncio.sleep(0.3)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnedAway:
    """A run of index that was asked for and never began, because another one was at work. `dataset` may be `*`."""

    id: str
    dataset: str
    recompute: bool
    retry_failed: bool
    asked_at: datetime


def turned_away() -> list[TurnedAway]:
    """Runs of index that were turned away not long ago. Empty where nobody can say."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas import filters
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort

    cancelled = filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=[StateType.CANCELLED]))
    try:
        with get_client(sync_client=True) as client:
            runs = client.read_flow_runs(
                flow_filter=filters.FlowFilter(name=filters.FlowFilterName(any_=["index"])),
                flow_run_filter=filters.FlowRunFilter(state=cancelled),
                sort=FlowRunSort.START_TIME_DESC,
                limit=100,
            )
    except Exception:
        logger.warning("What was asked for meanwhile can't be told; the next trigger makes it good.", exc_info=True)
        return []
    since = datetime.now(UTC) - asked_within
    by_limit = [run for run in runs if run.state and "concurrency limit" in (run.state.message or "")]
    return [
        TurnedAway(
            id=str(run.id),
            dataset=str(run.parameters.get("dataset", "default")),
            recompute=bool(run.parameters.get("recompute")),
            retry_failed=bool(run.parameters.get("retry_failed")),
            asked_at=run.created,
        )
        for run in by_limit
        if run.created and run.created > since
    ]


def _pid_of(run: FlowRun) -> int | None:
    number = (run.infrastructure_pid or "").rpartition(":")[2]
    return int(number) if number.isdigit() else None
