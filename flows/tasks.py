"""The steps of `components/` as Prefect tasks: their names, their retries, and what is told while they run.

Tasks run one after the other in the run's main thread, which is where a cancellation arrives. Each commits what it has
done, so a stop costs seconds of work. A run has a few hundred tasks at most, however much it does.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext
from prefect.tasks import exponential_backoff

from components import wiring
from components.contracts import LoadReport, Locator
from components.errors import (
    BadSetting,
    SourceError,
)
from components.load.report import problem_lines, read_nothing
from components.load.run import Loading, SourceOutcome
from components.run_recorder import RunRecorder
from components.settings import Settings
from components.sources import specs
from components.store import Store
from flows import artifacts
from flows.runs import skip_overdue, watched_sources
from flows.steps import ended_in_transient_error

logger = logging.getLogger(__name__)
T = TypeVar("T")

every = "*"  # stands for all datasets; none can be named so
most_groups = 100  # of sources in a load; a task costs the server 40 ms and 20 KiB
group_bytes = 16 << 20  # small sources are read together up to this much
group_sources = 200
held_back_because = (
    "its index was cancelled and nothing new has been loaded since; it goes on with the next new records, "
    "or when somebody starts it"
)


def skip_overdue_polls() -> None:
    """A run of a schedule does the work of all its earlier ones that still wait: the machine slept, or was busy."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None or not run.auto_scheduled or run.created_by is None or run.created_by.id is None:
        return
    try:
        if n := skip_overdue(run.created_by.id):
            logger.info("%d overdue runs of the same schedule are skipped: this one does their work.", n)
    except Exception:
        logger.warning("Overdue runs of the schedule could not be skipped; they run as well.", exc_info=True)


# --- load ------------------------------------------------------------------------------------------------------


class Load:
    """One load of one dataset: the work, what became of each source, and who is told."""

    def __init__(self, loading: Loading, recorder: RunRecorder) -> None:
        self.loading = loading
        self.recorder = recorder
        self.n_sources = 0
        self.outcomes: dict[str, SourceOutcome] = {}


def permitted(settings: Settings, store: Store, dataset: str, sources: Sequence[str]) -> list[str]:
    """The sources that a run asks for. Raises `BadSetting` for one that its dataset does not own.

    Whoever can start a run of a deployment sets its parameters, and could have any file of the worker's machine read.
    Code that calls the flow by itself reads what it likes anyway.
    """
    context = FlowRunContext.get()
    run = context.flow_run if context is not None else None
    if run is None or run.deployment_id is None:
        return list(sources)
    own = watched_sources(settings, store).get(dataset, ()) if sources else ()
    return [_permitted(at, source, own, dataset) for at, source in enumerate(sources)]


def _permitted(at: int, source: str, own: Sequence[str], dataset: str) -> str:
    try:
        return specs.permitted(source, own, dataset)
    except BadSetting as error:
        raise BadSetting(f"sources.{at} {error}.") from error


def open_load(
    settings: Settings, store: Store, recorder: RunRecorder, dataset: str, sources: Sequence[str], *, verify: bool
) -> Load:
    """A load of these sources, or of those that are known. Raises `BadSetting` for a name that no dataset can have."""
    return Load(wiring.open_loading(settings, store, dataset, sources=sources, verify=verify), recorder)


@task(name="discover", task_run_name="discover", cache_policy=NO_CACHE)
def discover(load: Load) -> list[list[Locator]]:
    """The sources that may hold something new, in groups that are worth a task."""
    found = load.loading.discover()
    load.n_sources = len(found)
    return by_size(found)


@task(
    name="read and persist",
    task_run_name="read and persist {label}",
    cache_policy=NO_CACHE,
    retries=3,
    retry_delay_seconds=exponential_backoff(1.0),
    retry_jitter_factor=0.3,
    retry_condition_fn=ended_in_transient_error,
)
def read_and_persist(load: Load, group: Sequence[Locator], label: str) -> None:  # noqa: ARG001 - names the task run
    """Read each source of the group on from where it was left; keep what is new. A further try goes on, not over."""
    for locator in group:
        if locator.location not in load.outcomes:
            load.outcomes[locator.location] = load.loading.load_source(locator)
            load.recorder("read and persist", len(load.outcomes), load.n_sources)


@task(name="report", task_run_name="report", cache_policy=NO_CACHE)
def report_load(load: Load) -> LoadReport:
    """What the load did, for the artifacts, the log and the run's record.

    Raises `SourceError` if sources were given and none could be read. Known ones that break are a warning: a schedule
    would fail every five minutes for a single bad file.
    """
    report = load.loading.finish(load.outcomes.values())
    load.recorder.report = asdict(report)
    artifacts.show_load(report)
    logger.info("%s", artifacts.load_line(report))
    for line in problem_lines(report.problems):
        logger.warning("%s", line)
    if load.loading.given and read_nothing(report):
        raise SourceError(f"Nothing could be read. {'; '.join(problem_lines(report.problems))}")
    return report


def by_size(locators: Sequence[Locator]) -> list[list[Locator]]:
    """The locators in groups, order kept: a big source alone, small ones together, at most about a hundred groups."""
    total = sum(locator.size_bytes for locator in locators)
    most_bytes = max(group_bytes, total // most_groups)
    most_sources = max(group_sources, -(-len(locators) // most_groups))
    groups: list[list[Locator]] = []
    filled = 0
    for locator in locators:
        if not groups or filled + locator.size_bytes > most_bytes or len(groups[-1]) == most_sources:
            groups.append([])
            filled = 0
        groups[-1].append(locator)
        filled += locator.size_bytes
    return groups


def label_of(group: Sequence[Locator]) -> str:
    """What a group of sources is called in the UI."""
    first = group[0].key.replace("{", "(").replace("}", ")")
    return first if len(group) == 1 else f"{first} and {len(group) - 1} more"
