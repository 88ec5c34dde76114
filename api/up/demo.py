"""`up --demo`: loads and indexes the sample logs through the deployments, as any trigger would."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING, Any
from uuid import UUID

from api.up.product import Product
from components.retry import retry_while_busy
from components.samples import sample_folder
from components.settings import Settings
from components.wiring import open_store
from flows.runs import active_runs, end_of, start_run

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import State


async def start_demo(product: Product, client: PrefectClient) -> UUID:
    """The id of a run that loads the sample logs and whatever else has changed.

    Called before the worker starts, which looks for runs only every few seconds.
    """
    await asyncio.to_thread(_add_samples, product.settings)
    return await start_run(client, "load/load", {"dataset": "*"}, tags=["demo"])


async def finish_demo(product: Product, client: PrefectClient, load: UUID) -> None:
    """Index the sample logs once the run `load` has ended, and print where their map is."""
    product.say("Loading and indexing the sample logs …")
    await end_of(client, load)
    state = await _index_samples(client)
    if state.is_completed():
        product.say(f"The demo map is ready: {product.maps_of('demo')}")
    else:
        product.say(f"The demo could not be indexed. {state.name}: {state.message or 'see the run in the Prefect UI.'}")


def _add_samples(settings: Settings) -> None:
    """Make the sample logs a source of the dataset `demo`: runs only read sources of their dataset."""
    with closing(retry_while_busy(lambda: open_store(settings))) as store:
        number = retry_while_busy(lambda: store.datasets.id("demo", create=True))
        assert number is not None
        retry_while_busy(lambda: store.datasets.remember(number, [str(sample_folder())]))


async def _index_samples(client: PrefectClient) -> State[Any]:
    """The final state of an index of the samples; where another run already indexes them, that one has ended as well."""
    state = await end_of(client, await start_run(client, "index/index", {"dataset": "demo"}, tags=["demo"]))
    if state.name == "Joined":
        for run in await active_runs(client, "index"):
            await end_of(client, run.id)
    return state
