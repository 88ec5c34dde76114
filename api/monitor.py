"""Checks of the database and of Prefect that run beside the requests, in a thread and an event loop of their own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from api.prefect_client import PrefectRuns, Run
from api.probe import Probe, no_answer_after_s
from api.state import State
from components.settings import Settings

if TYPE_CHECKING:
    from components.contracts import Problem
    from components.store import DatasetStatus, Store
    from components.store.runs import RunInfo

max_wait_s = 0.02  # of a request for a fresh result, if the last one is too old
max_start_wait_s = 2.0  # of the start for the first results
recheck_deployments_s = 30.0  # deployments that are registered are not looked up again for this long


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreState:
    """What the database says, by dataset."""

    datasets: dict[str, DatasetStatus]
    loading: tuple[str, ...]  # datasets
    last_index: dict[str, RunInfo]
    last_load: dict[str, RunInfo]  # the last one that ended
    broken: dict[str, list[Problem]]  # sources that could not be read
    n_surveys: int  # uploaded datasets


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefectState:
    """Unfinished runs, and deployments that are not registered."""

    active: tuple[Run, ...]
    missing: tuple[str, ...]


class Monitor:
    """Two probes: `store` and `prefect`."""

    def __init__(self, settings: Settings, state: State) -> None:
        self._settings, self._state, self._prefect = settings, state, PrefectRuns(settings)
        self._database = ThreadPoolExecutor(1, thread_name_prefix="health")  # a database that hangs blocks only this
        self.store = Probe(self._check_store)
        self.prefect = Probe(self._check_prefect)
        self._registered_at = -recheck_deployments_s
        self._thread: threading.Thread | None = None
        self._cancel: Callable[[], object] = lambda: None

    async def start(self) -> None:
        """Starts the checks, and waits a moment for the first results."""
        if self._thread is None:
            self._thread = threading.Thread(target=lambda: asyncio.run(self._watch()), name="monitor", daemon=True)
            self._thread.start()
        await self.refresh(max_start_wait_s)

    async def refresh(self, wait_s: float = max_wait_s) -> None:
        """Returns when both results are fresh, or after `wait_s`."""
        end = time.monotonic() + wait_s
        while not all([self.store.touch(), self.prefect.touch()]) and time.monotonic() < end:  # noqa: ASYNC110 - two loops
            await asyncio.sleep(0.004)

    def close(self) -> None:
        """Ends the thread, without waiting for a database that does not answer."""
        self._cancel()
        if self._thread is not None:
            self._thread.join(no_answer_after_s)
        self._database.shutdown(wait=False, cancel_futures=True)

    async def _watch(self) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        self._cancel = partial(loop.call_soon_threadsafe, task.cancel)
        try:
            await asyncio.gather(self.store.run(), self.prefect.run())
        except asyncio.CancelledError:
            await self._prefect.close()

    async def _check_store(self) -> StoreState:
        return await asyncio.get_running_loop().run_in_executor(
            self._database, read_store, self._state, self._settings.datasets
        )

    async def _check_prefect(self) -> PrefectState:
        await asyncio.to_thread(_import_prefect)
        missing: list[str] = []
        if time.monotonic() - self._registered_at > recheck_deployments_s:
            missing = await self._prefect.missing()
            self._registered_at = -recheck_deployments_s if missing else time.monotonic()
        return PrefectState(active=tuple(await self._prefect.active()), missing=tuple(missing))


def read_store(state: State, configured: Iterable[str]) -> StoreState:
    """What the database says now of its datasets and of the `configured` ones. Raises `Problem`."""
    datasets = state.status()
    names = sorted({*datasets, *configured})

    def read(store: Store) -> StoreState:
        indexes = {name: store.runs.last(name, "index") for name in datasets}
        loads = {name: store.runs.last_ended(name, "load") for name in names}
        return StoreState(
            datasets=datasets,
            n_surveys=store.surveys.count(),
            loading=tuple(run.dataset for run in store.runs.active("load")),
            last_index={name: run for name, run in indexes.items() if run is not None},
            last_load={name: run for name, run in loads.items() if run is not None},
            broken={name: store.ledger.broken(number) for name, number in store.datasets.ids().items()},
        )

    return state.with_store(read)


def _import_prefect() -> None:
    """Takes 1.5 s the first time, which no request should wait for."""
    import_module("prefect.client.orchestration")
