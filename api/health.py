"""How things stand, told at once: probes ask database and Prefect in the background, requests only read the answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from api.prefect_client import PrefectRuns, Run
from api.problems import as_problem, without_places
from api.state import State
from components.settings import Settings

if TYPE_CHECKING:
    from components.store import DatasetStatus
    from components.store.runs import RunInfo

T = TypeVar("T")

fresh_s = 0.5  # an answer this old is good enough
rest_share = 10  # and one that took long to get, for so many times as long: asking costs no more than a tenth
longest_rest_s = 3.0  # but nobody is told what is older than that
request_waits_s = 0.02  # for a newer answer, where the last one came within that
start_waits_s = 2.0  # for the very first one
deployments_stay_s = 30.0  # registered ones are not asked for again that soon
silent_after_s = 6.0  # a question without an answer for so long means: not reachable


class Probe(Generic[T]):
    """The last answer to a question, asked again when somebody looks and it is no longer fresh."""

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._asked_at = self._answered_at = 0.0
        self._took_s = 0.0
        self._is_first = True
        self._task: asyncio.Task[None] | None = None
        self.value: T | None = None
        self.problem: str | None = "not asked yet"

    async def look(self, wait_s: float) -> None:
        """Ask if it is time to, and wait for the answer no longer than `wait_s`."""
        if self._task is not None and self._task.get_loop() is not asyncio.get_running_loop():
            self._task = None
        rest_s = fresh_s if self.problem else min(max(fresh_s, rest_share * self._took_s), longest_rest_s)
        if self._task is None and time.monotonic() - self._answered_at > rest_s:
            self._asked_at = time.monotonic()
            self._task = asyncio.create_task(self._answer())
        if self._task is None:
            return
        patience_s, self._is_first = (start_waits_s if self._is_first else wait_s), False
        if self._took_s <= patience_s:
            await asyncio.wait({self._task}, timeout=patience_s)
        silent_s = time.monotonic() - self._asked_at
        if self._task is not None and silent_s > silent_after_s:
            self.problem = f"no answer for {silent_s:.0f} s"

    async def _answer(self) -> None:
        try:
            self.value, self.problem = await self._ask(), None
        except Exception as error:  # noqa: BLE001 - the door of the probe: whatever fails is what it tells
            self.problem = without_places(as_problem(error).detail)
        finally:
            self._answered_at = time.monotonic()
            self._took_s = self._answered_at - self._asked_at
            self._task = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreState:
    datasets: dict[str, DatasetStatus]
    loading: tuple[str, ...]  # datasets
    last_index: dict[str, RunInfo]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefectState:
    active: tuple[Run, ...]
    missing: tuple[str, ...]  # deployments


class Monitor:
    """The two probes, and the answer of `/health` made of them."""

    def __init__(self, settings: Settings, state: State, prefect: PrefectRuns) -> None:
        self._settings, self._state, self._prefect = settings, state, prefect
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="health")  # its own: a stuck database takes no other
        self.store = Probe(self._ask_store)
        self.runs = Probe(self._ask_prefect)
        self._registered_at = -deployments_stay_s

    async def look(self, wait_s: float = request_waits_s) -> None:
        await asyncio.gather(self.store.look(wait_s), self.runs.look(wait_s))

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def health(self) -> dict[str, Any]:
        """The body of `/health`, from what is known by now."""
        known, flows = self.store.value, self.runs.value
        datasets = known.datasets if known else {}
        active = flows.active if flows and not self.runs.problem else ()
        reasons = self._reasons()
        return {
            "status": "degraded" if reasons else "ok",
            "reasons": reasons,
            "indexing": any(status.indexing.is_held for status in datasets.values()),
            "loading": bool(known and known.loading) or any(_is_running(run, "load") for run in active),
            "queued": sum(run.type in {"SCHEDULED", "PENDING"} for run in active),
            "datasets": {name: dataset_json(status) for name, status in datasets.items()},
            "prefect": {"reachable": self.runs.problem is None, "problem": self.runs.problem},
            "database": {"reachable": self.store.problem is None, "problem": self.store.problem},
            "version": version("runatlas"),
        }

    def _reasons(self) -> list[str]:
        reasons = []
        if self.store.problem:
            reasons.append(f"database: {self.store.problem}")
        if self.runs.problem:
            reasons.append(f"prefect: {self.runs.problem}")
        elif self.runs.value and self.runs.value.missing:
            names = ", ".join(self.runs.value.missing)
            reasons.append(f"prefect: {names} not registered; `prefect deploy --all` or `runatlas up` does it")
        if self.store.value and not self.store.problem:
            for name, status in self.store.value.datasets.items():
                reasons.extend(self._reasons_of(name, status, self.store.value.last_index.get(name)))
        return reasons

    def _reasons_of(self, name: str, status: DatasetStatus, last: RunInfo | None) -> list[str]:
        reasons = []
        if status.indexing.is_stale or (last is not None and last.state == "crashed" and not status.indexing.is_held):
            reasons.append(f"{name}: the last index crashed; the next one goes on where it stopped")
        elif last is not None and last.state == "failed":
            reasons.append(f"{name}: the last index failed: {without_places(last.error or 'no reason given')}")
        if status.drift is not None and status.drift >= self._settings.project.drift_warn:
            share = f"{status.drift:.0%} of what was placed lies off the map"
            reasons.append(f"{name}: {share}; `runatlas index -d {name} --recompute` draws it anew")
        return reasons

    async def _ask_store(self) -> StoreState:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read_store)

    def _read_store(self) -> StoreState:
        datasets = self._state.status()
        running = self._state.ask(lambda store: store.runs.active("load"))
        last = self._state.ask(lambda store: {name: store.runs.last(name, "index") for name in datasets})
        return StoreState(
            datasets=datasets,
            loading=tuple(run.dataset for run in running),
            last_index={name: run for name, run in last.items() if run is not None},
        )

    async def _ask_prefect(self) -> PrefectState:
        await asyncio.to_thread(_import_prefect)
        missing: list[str] = []
        if time.monotonic() - self._registered_at > deployments_stay_s:
            missing = await self._prefect.missing()
            self._registered_at = -deployments_stay_s if missing else time.monotonic()
        return PrefectState(active=tuple(await self._prefect.active()), missing=tuple(missing))


def _import_prefect() -> None:
    """Takes a second and a half the first time, which no request should wait for."""
    import_module("prefect.client.orchestration")


def _is_running(run: Run, flow: str) -> bool:
    return run.flow == flow and run.type == "RUNNING"


def dataset_json(status: DatasetStatus) -> dict[str, Any]:
    """One dataset's state, as `/health` and `/datasets` tell it."""
    holder = status.indexing
    return {
        "records": status.records,
        "unindexed": status.unindexed,
        "failed": status.failed,
        "defects": status.defects,
        "model": status.model,
        "layout": status.layout,
        "drift": status.drift,
        "snapshot": status.snapshot,
        "rows": status.rows,
        "indexing": holder.is_held,
        "step": holder.step if holder.is_held else None,
        "progress": percent(holder.step, holder.done, holder.total) if holder.is_held else None,
    }


shares = {  # how far an index is when a step begins, and when it ends; percent
    "fetch": (0, 2),
    "embed": (2, 80),
    "fit": (80, 95),
    "refit": (80, 95),
    "place": (80, 95),
    "transform": (80, 95),
    "project": (80, 95),
    "publish": (95, 100),
}


def percent(step: str, done: int, total: int) -> int:
    """Progress of a whole run, 0 to 99, from the progress of its step; 100 is said by the run's state alone.

    >>> percent("embed", 50, 100), percent("read", 50, 100), percent("embed", 0, 0)
    (41, 50, 2)
    """
    first, last = shares.get(step, (0, 100))
    share = min(1.0, done / total) if total > 0 else 0.0
    return min(99, int(first + (last - first) * share))
