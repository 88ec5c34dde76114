"""How things stand, told at once: probes ask database and Prefect in the background, requests only read the answers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from api.prefect_client import PrefectRuns, Run
from api.problems import as_problem
from api.state import State
from components.redact import public_text
from components.settings import Settings

if TYPE_CHECKING:
    from components.contracts import Problem
    from components.store import DatasetStatus, Store
    from components.store.lease import Holder
    from components.store.runs import RunInfo

T = TypeVar("T")
our_version = version("runatlas")

fresh_s = 0.5  # an answer this old is good enough while somebody looks
rest_share = 10  # and one that took long to get, for so many times as long: asking costs no more than a tenth
longest_rest_s = 2.0  # but nobody who keeps looking is told what is older than that
unwatched_rest_s = 10.0  # between answers that nobody looks at
watched_s = 20.0  # after the last look
request_waits_s = 0.02  # for a newer answer, where the last one is older than who keeps looking would be told
start_waits_s = 2.0  # for the very first ones
deployments_stay_s = 30.0  # registered ones are not asked for again that soon
silent_after_s = 6.0  # a question without an answer for so long means: not reachable
seems_dead_after_s = 15.0  # a living index beats every two


class Probe(Generic[T]):
    """The last answer to a question that is asked again and again, in the event loop of whoever runs it."""

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._looked_at = time.monotonic()
        self._asked_at = self._answered_at = 0.0
        self._told_at = 0.0  # when the question was asked that `value` or `problem` answers
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._value: T | None = None
        self._problem: str | None = None

    @property
    def value(self) -> T | None:
        """What was told last, however long ago; None before the first time."""
        return self._value

    @property
    def problem(self) -> str | None:
        """Why there is no good answer now; None where there is."""
        silent_s = time.monotonic() - self._asked_at if self._asked_at > self._answered_at else 0.0
        if silent_s > silent_after_s:
            return f"no answer for {silent_s:.0f} s"
        return self._problem if self._told_at else "not asked yet"

    @property
    def age_s(self) -> float | None:
        """How old the answer is; None before the first one."""
        return time.monotonic() - self._told_at if self._told_at else None

    def look(self) -> bool:
        """Somebody wants to know: is the answer as new as for one who keeps looking? If not, it is asked for now."""
        was_watched, self._looked_at = self._is_watched(), time.monotonic()
        if not was_watched and self._loop is not None:
            with suppress(RuntimeError):  # it is being closed
                self._loop.call_soon_threadsafe(self._wake.set)
        return self.age_s is not None and self.age_s <= longest_rest_s

    async def run(self) -> None:
        """Asks until it is cancelled: often while somebody looks, seldom otherwise."""
        self._loop = asyncio.get_running_loop()
        while True:
            self._asked_at = time.monotonic()
            try:
                self._value, self._problem = await self._ask(), None
            except Exception as error:  # noqa: BLE001 - the door of the probe: whatever fails is what it tells
                self._problem = public_text(as_problem(error).detail)
            self._told_at, self._answered_at = self._asked_at, time.monotonic()
            await self._rest(self._answered_at - self._asked_at)

    async def _rest(self, took_s: float) -> None:
        rest_s = fresh_s if self._problem else min(max(fresh_s, rest_share * took_s), longest_rest_s)
        await asyncio.sleep(rest_s)
        self._wake.clear()
        if not self._is_watched():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), unwatched_rest_s - rest_s)

    def _is_watched(self) -> bool:
        return time.monotonic() - self._looked_at < watched_s


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreState:
    datasets: dict[str, DatasetStatus]
    loading: tuple[str, ...]  # datasets
    last_index: dict[str, RunInfo]
    last_load: dict[str, RunInfo]  # that is over
    broken: dict[str, list[Problem]]  # sources


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefectState:
    active: tuple[Run, ...]
    missing: tuple[str, ...]  # deployments


class Monitor:
    """The two probes, and the answer of `/health` made of them.

    They run in a thread and an event loop of their own: a request only reads what they know.
    """

    def __init__(self, settings: Settings, state: State) -> None:
        self._settings, self._state, self._prefect = settings, state, PrefectRuns(settings)
        self._database = ThreadPoolExecutor(1, thread_name_prefix="health")  # its own: a stuck database takes no other
        self.store = Probe(self._ask_store)
        self.runs = Probe(self._ask_prefect)
        self._registered_at = -deployments_stay_s
        self._thread: threading.Thread | None = None
        self._closing: Callable[[], object] = lambda: None

    async def start(self) -> None:
        """Begins to ask, and gives the first answers some time."""
        if self._thread is None:
            self._thread = threading.Thread(target=lambda: asyncio.run(self._watch()), name="monitor", daemon=True)
            self._thread.start()
        await self.look(start_waits_s)

    async def look(self, wait_s: float = request_waits_s) -> None:
        """Returns with answers that are as new as they can be without waiting for long."""
        end = time.monotonic() + wait_s
        while not all([self.store.look(), self.runs.look()]) and time.monotonic() < end:  # noqa: ASYNC110 - two loops
            await asyncio.sleep(0.004)

    def close(self) -> None:
        """Ends the thread; a database that does not answer is not waited for."""
        self._closing()
        if self._thread is not None:
            self._thread.join(silent_after_s)
        self._database.shutdown(wait=False, cancel_futures=True)

    async def _watch(self) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        self._closing = partial(loop.call_soon_threadsafe, task.cancel)
        try:
            await asyncio.gather(self.store.run(), self.runs.run())
        except asyncio.CancelledError:
            await self._prefect.close()

    def health(self) -> dict[str, Any]:
        """The body of `/health`, from what is known by now."""
        known, flows = self.store.value, self.runs.value
        datasets = known.datasets if known else {}
        active = flows.active if flows and not self.runs.problem else ()
        reasons = self._reasons()
        return {
            "status": "degraded" if reasons else "ok",
            "reasons": reasons,
            "indexing": any(_is_at_work(status.indexing) for status in datasets.values()),
            "loading": bool(known and known.loading) or any(_is_running(run, "load") for run in active),
            "queued": sum(run.type in {"SCHEDULED", "PENDING"} for run in active),
            "datasets": {name: dataset_json(status) for name, status in datasets.items()},
            "prefect": part_json(self.runs),
            "database": part_json(self.store),
            "version": our_version,
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
            reasons.extend(load_reasons(self.store.value))
        return reasons

    def _reasons_of(self, name: str, status: DatasetStatus, last: RunInfo | None) -> list[str]:
        reasons = []
        holder = status.indexing
        if holder.is_held and not _is_at_work(holder):
            reasons.append(f"{name}: {silence(holder)}")
        elif holder.is_stale or (last is not None and last.state == "crashed" and not holder.is_held):
            reasons.append(f"{name}: the last index crashed; the next one goes on where it stopped")
        elif last is not None and last.state == "failed":
            reasons.append(f"{name}: the last index failed: {public_text(last.error or 'no reason given')}")
        if status.drift is not None and status.drift >= self._settings.project.drift_warn:
            share = f"{status.drift:.0%} of what was placed lies off the map"
            reasons.append(f"{name}: {share}; `runatlas index -d {name} --recompute` draws it anew")
        return reasons

    async def _ask_store(self) -> StoreState:
        return await asyncio.get_running_loop().run_in_executor(self._database, self._read_store)

    def _read_store(self) -> StoreState:
        datasets = self._state.status()
        names = sorted({*datasets, *self._settings.datasets})

        def read(store: Store) -> StoreState:
            indexes = {name: store.runs.last(name, "index") for name in datasets}
            loads = {name: store.runs.last_ended(name, "load") for name in names}
            numbers = store.ledger.datasets()
            return StoreState(
                datasets=datasets,
                loading=tuple(run.dataset for run in store.runs.active("load")),
                last_index={name: run for name, run in indexes.items() if run is not None},
                last_load={name: run for name, run in loads.items() if run is not None},
                broken={name: store.ledger.broken(number) for name, number in numbers.items()},
            )

        return self._state.ask(read)

    async def _ask_prefect(self) -> PrefectState:
        await asyncio.to_thread(_import_prefect)
        missing: list[str] = []
        if time.monotonic() - self._registered_at > deployments_stay_s:
            missing = await self._prefect.missing()
            self._registered_at = -deployments_stay_s if missing else time.monotonic()
        return PrefectState(active=tuple(await self._prefect.active()), missing=tuple(missing))


def load_reasons(known: StoreState) -> list[str]:
    """What is wrong with the loads, a dataset at a time: how the last one ended, and sources that can't be read."""
    reasons = []
    for name in sorted({*known.last_load, *known.broken}):
        ended, broken = load_end(known.last_load.get(name)), known.broken.get(name, [])
        if ended:
            reasons.append(f"{name}: {ended}")
        elif broken:
            n = f"{len(broken)} sources" if len(broken) > 1 else "a source"
            reasons.append(f"{name}: {n} can't be read: {_told_problem(broken[0].source, broken[0].reason)}")
    return reasons


def load_end(last: RunInfo | None) -> str | None:
    """Why the last load did not do what it should; None where it did, or somebody stopped it."""
    if last is None:
        return None
    if last.state == "crashed":
        return "the last load crashed; the next one goes on where it stopped"
    if last.state == "failed":
        return f"the last load failed: {public_text(_first_line(last.error or 'no reason given'))}"
    sources = last.report.get("sources", {}) if isinstance(last.report, dict) else {}
    done = sum(sources.get(outcome, 0) for outcome in ("loaded", "resumed", "skipped", "not_ready"))
    if sources.get("failed", 0) and not done:
        first = next(iter(last.report.get("problems", [])), {"source": "its sources", "reason": "no reason given"})
        return f"the last load could read nothing: {_told_problem(first['source'], first['reason'])}"
    return None


def _told_problem(source: str, reason: str) -> str:
    return public_text(f"{source}: {_first_line(reason)}")


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0][:300]


def _import_prefect() -> None:
    """Takes a second and a half the first time, which no request should wait for."""
    import_module("prefect.client.orchestration")


def _is_running(run: Run, flow: str) -> bool:
    return run.flow == flow and run.type == "RUNNING"


def _is_at_work(holder: Holder) -> bool:
    """Does an index hold the dataset, and did it lately say that it lives?"""
    return holder.is_held and holder.silent_s < seems_dead_after_s


def silence(holder: Holder) -> str:
    """What a person should know of an index that says nothing any more though it holds its dataset."""
    free_at = datetime.now(UTC) + timedelta(seconds=holder.free_in_s)
    return (
        f"the index of {holder.owner} has said nothing for {holder.silent_s:.0f} s and seems to have crashed; "
        f"the next run takes over at {free_at:%H:%M:%S} UTC and goes on where it stopped"
    )


def part_json(probe: Probe[Any]) -> dict[str, Any]:
    """Whether a part answers, and how many seconds ago that was found out."""
    problem, age_s = probe.problem, probe.age_s
    return {"reachable": problem is None, "problem": problem, "age_s": None if age_s is None else round(age_s, 1)}


def dataset_json(status: DatasetStatus) -> dict[str, Any]:
    """One dataset's state, as `/health` and `/datasets` tell it."""
    holder, is_at_work = status.indexing, _is_at_work(status.indexing)
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
        "indexing": is_at_work,
        "step": holder.step if is_at_work else None,
        "progress": percent(holder.step, holder.done, holder.total) if is_at_work else None,
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
