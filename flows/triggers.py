"""Starts runs of the deployments, as a schedule or a person would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from components.settings import Settings
from components.store import Store

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient


async def start_run(
    client: PrefectClient, deployment: str, parameters: Mapping[str, Any], *, tags: Sequence[str] = ()
) -> UUID:
    """The id of a run that a worker will take up; does not wait for it."""
    from prefect.deployments import arun_deployment

    run = await arun_deployment(
        deployment, client=client, parameters=dict(parameters), timeout=0, as_subflow=False, tags=list(tags)
    )
    return run.id


async def load_when_changed(client: PrefectClient, dataset: str) -> UUID:
    """The id of a load of this dataset that has not begun, and so will see what changed; a new one if there is none."""
    for run in await _waiting_loads(client):
        if run.parameters.get("dataset") in {dataset, "*"} and not run.parameters.get("sources"):
            return UUID(str(run.id))
    return await start_run(client, "load/load", {"dataset": dataset}, tags=["changed"])


async def _waiting_loads(client: PrefectClient) -> list[Any]:
    from datetime import UTC, datetime

    from prefect.client.schemas.filters import (
        FlowFilter,
        FlowFilterName,
        FlowRunFilter,
        FlowRunFilterExpectedStartTime,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType

    waiting = [StateType.SCHEDULED, StateType.PENDING]
    return await client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=["load"])),
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=waiting)),
            expected_start_time=FlowRunFilterExpectedStartTime(before_=datetime.now(UTC)),
        ),
    )


def watched_sources(settings: Settings, store: Store) -> dict[str, tuple[str, ...]]:
    """Dataset -> its sources: those that the settings name, and those that were given to a load by hand."""
    remembered = {name: store.ledger.remembered(number) for name, number in store.ledger.datasets().items()}
    names = {*settings.datasets, *remembered}
    return {name: (*settings.dataset(name).sources, *remembered.get(name, ())) for name in sorted(names)}
