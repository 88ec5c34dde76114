"""The steps of `components/` as Prefect tasks: their names, their retries, and what is told while they run.

Tasks run one after the other in the run's main thread, which is where a cancellation arrives. Each commits what it has
done, so a stop costs seconds of work. A run has a few hundred tasks at most, however much it does.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import FlowRunContext, TaskRunContext
from prefect.tasks import Task, exponential_backoff

from components import wiring
from components.contracts import IndexReport, LoadReport, Locator
from components.errors import (
    BadSetting,
    LeaseHeld,
    RunAtlasError,
    ServiceUnavailable,
    SourceError,
    TransientError,
    is_transient,
)
from components.index.batches import EmbedPlan, EmbedTask
from components.index.steps import Indexing
from components.load.report import problem_lines, read_nothing
from components.load.run import Loading, SourceOutcome
from components.retry import longest_wait_s
from components.settings import EmbedSettings, Settings
from components.sources import specs
from components.store import Store, lease_name
from components.store.tables import RecordState
from flows import artifacts
from flows.recorder import Told
from flows.runs import TurnedAway, is_automatic, skip_overdue, turned_away, watched_sources

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


# --- which datasets --------------------------------------------------------------------------------------------


def dataset_of(given: str) -> str:
    """The dataset that the current run is for: every one where a schedule started it without naming any."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is not None and run.auto_scheduled and "dataset" not in run.parameters:
        return every
    return given


def run_name() -> str:
    """What the current flow run is called in the UI."""
    context = FlowRunContext.get()
    assert context is not None
    assert context.flow is not None
    assert context.parameters is not None
    return f"{context.flow.name} {dataset_of(str(context.parameters['dataset']))}"


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


def known_datasets(settings: Settings, store: Store) -> list[str]:
    """Names of all datasets that the settings or the store know."""
    return sorted({*settings.datasets, *store.ledger.datasets()})


def held_back(store: Store) -> set[str]:
    """Datasets that the current run leaves alone: somebody cancelled their index, and nobody has asked for it since."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None or not is_automatic(run):
        return set()
    names = {name for name in store.ledger.datasets() if is_held_back(store, name)}
    for name in sorted(names):
        logger.info("%s is left out: %s.", name, held_back_because)
    return names


def is_held_back(store: Store, name: str, asked: Iterable[TurnedAway] | None = None) -> bool:
    """Did somebody cancel the index of this dataset, with nothing new loaded and no person asking for it since?"""
    if not store.runs.is_held_back(name):
        return False
    requests = standing(store, name, turned_away() if asked is None else asked)
    return all(one.is_automatic for one in requests)


def due(settings: Settings, store: Store, asked: Iterable[TurnedAway] = ()) -> list[str]:
    """Datasets in which so many records wait that an index is due; of those that were `asked` for, any that has some."""
    requests = list(asked)
    waiting = {name: store.records.count(id, RecordState.WAITING) for name, id in store.ledger.datasets().items()}

    def is_due(name: str, n: int) -> bool:
        is_enough = n >= settings.dataset(name).index_threshold or (n > 0 and bool(standing(store, name, requests)))
        return is_enough and not is_held_back(store, name, requests)

    return [name for name, n in waiting.items() if is_due(name, n)]


def standing(store: Store, name: str, asked: Iterable[TurnedAway]) -> list[TurnedAway]:
    """Those that ask for this dataset and came after the last time that somebody cancelled an index of it."""
    cancelled_at = store.runs.user_cancelled_at(name)
    mine = [one for one in asked if one.dataset in {name, every}]
    return [one for one in mine if cancelled_at is None or one.asked_at > cancelled_at]


def wished_for(store: Store, asked: Iterable[TurnedAway], heard: set[str]) -> list[str]:
    """Datasets of which more was asked than to go on, by `asked` or by others; `heard` grows by what is given."""
    known = list(store.ledger.datasets())
    requests = list(asked)
    for name in known:
        for one in standing(store, name, requests):
            store.index_requests.ask(
                name, recompute=one.recompute, retry_failed=one.retry_failed, id=f"{one.id}/{name}", at=one.asked_at
            )
    open_now = {name: set(store.index_requests.open(name).ids) - heard for name in known}
    heard.update(*open_now.values())
    return [name for name, ids in open_now.items() if ids]


def for_each(names: Iterable[str], do: Callable[[str], T]) -> list[T]:
    """What `do` gives for each name; one that fails does not keep the others. Raises the first error in the end."""
    given: list[T] = []
    errors: list[RunAtlasError] = []
    for name in names:
        try:
            given.append(do(name))
        except LeaseHeld as held:
            logger.info("%s", held)
        except RunAtlasError as error:
            logger.error("%s: %s", name, error)  # noqa: TRY400 - the first one is raised below
            errors.append(error)
    if errors:
        raise errors[0]
    return given


# --- retries ---------------------------------------------------------------------------------------------------


def another_try_may_help(_: Task[Any, Any], __: TaskRun, state: State[Any]) -> bool:
    """Did the task end in an error that may pass?"""
    try:
        state.result()
    except Exception as error:  # noqa: BLE001
        return is_transient(error)
    return False


def retry_options(settings: EmbedSettings) -> dict[str, Any]:
    """Options of a task that is tried again after transient errors, with doubling, jittered waits."""
    if not settings.retries:
        return {"retries": 0}
    return {
        "retries": settings.retries,
        "retry_delay_seconds": exponential_backoff(settings.backoff_s),
        "retry_jitter_factor": 0.3,
        "retry_condition_fn": another_try_may_help,
    }


def is_last_try(retries: int) -> bool:
    """Will the task that runs now not be tried again?"""
    context = TaskRunContext.get()
    return context is None or context.task_run.run_count > retries


# --- load ------------------------------------------------------------------------------------------------------


class Load:
    """One load of one dataset: the work, what became of each source, and who is told."""

    def __init__(self, loading: Loading, told: Told) -> None:
        self.loading = loading
        self.told = told
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
    settings: Settings, store: Store, told: Told, dataset: str, sources: Sequence[str], *, verify: bool
) -> Load:
    """A load of these sources, or of those that are known. Raises `BadSetting` for a name that no dataset can have."""
    return Load(wiring.open_loading(settings, store, dataset, sources=sources, verify=verify), told)


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
    retry_condition_fn=another_try_may_help,
)
def read_and_persist(load: Load, group: Sequence[Locator], label: str) -> None:  # noqa: ARG001 - names the task run
    """Read each source of the group on from where it was left; keep what is new. A further try goes on, not over."""
    for locator in group:
        if locator.location not in load.outcomes:
            load.outcomes[locator.location] = load.loading.load_source(locator)
            load.told("read and persist", len(load.outcomes), load.n_sources)


@task(name="report", task_run_name="report", cache_policy=NO_CACHE)
def report_load(load: Load) -> LoadReport:
    """What the load did, for the artifacts, the log and the run's record.

    Raises `SourceError` if sources were given and none could be read. Known ones that break are a warning: a schedule
    would fail every five minutes for a single bad file.
    """
    report = load.loading.finish(load.outcomes.values())
    load.told.report = asdict(report)
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


# --- index -----------------------------------------------------------------------------------------------------


class Index:
    """One index of one dataset: the work, under its lease, and who is told."""

    def __init__(self, indexing: Indexing, told: Told, settings: Settings) -> None:
        self.indexing = indexing
        self.told = told
        self.settings = settings


@contextmanager
def open_index(
    settings: Settings, store: Store, told: Told, dataset: str, *, recompute: bool, retry_failed: bool
) -> Iterator[Index]:
    """An index that holds the dataset's lease. Raises `LeaseHeld` while another one does."""
    opened = wiring.open_indexing(
        settings,
        store,
        dataset,
        recompute=recompute,
        retry_failed=retry_failed,
        progress=told,
        should_stop=told.stopping.is_set,
    )
    reach_model.with_options(**retry_options(settings.embed))(opened)
    store.leases.wait_for_the_dead(lease_name(dataset))
    with opened as indexing:
        yield Index(indexing, told, settings)


@task(name="reach model", task_run_name="reach model", cache_policy=NO_CACHE)
def reach_model(indexing: Indexing) -> int:
    """The model's dimension, for which a service may have to be asked; a dead one is waited for here, in sight."""
    try:
        return indexing.embedder.dim
    except TransientError as error:
        time.sleep(min(error.retry_after_s or 0.0, longest_wait_s))
        told = f"The embedding model {indexing.embedder.identity} is down: {error} Nothing is lost; run index again."
        raise ServiceUnavailable(told, retry_after_s=error.retry_after_s) from error


@task(name="fetch unindexed", task_run_name="fetch unindexed", cache_policy=NO_CACHE)
def fetch_unindexed(index: Index) -> EmbedPlan:
    """The texts that have no vector yet, in batches of similar length."""
    plan = index.indexing.plan()
    logger.info(
        "%s: %d records wait, %d of them have a vector; batches to embed: %d.",
        index.indexing.dataset,
        plan.records,
        plan.reused,
        len(plan.tasks),
    )
    return plan


def embed(index: Index, batch: EmbedTask) -> None:
    """Embed and commit a batch, with another try after errors that may pass."""
    options = retry_options(index.settings.embed)
    _embed.with_options(**options)(index, batch, label=f"{batch.no}, {len(batch.seqs)} texts")


@task(name="embed", task_run_name="embed batch {label}", cache_policy=NO_CACHE)
def _embed(index: Index, batch: EmbedTask, label: str) -> None:  # noqa: ARG001 - names the task run
    """What is committed already is not embedded again; a text that fails alone at the last try is set aside."""
    try:
        index.indexing.embed(batch, is_last_try=is_last_try(index.settings.embed.retries))
    except TransientError as error:
        logger.warning("%s", error)
        time.sleep(min(error.retry_after_s or 0.0, longest_wait_s))
        raise


@task(name="place", task_run_name="place", cache_policy=NO_CACHE)
def place(index: Index) -> str:
    """Fit a map, place on it, or draw it anew, as the data asks for; which of these it was."""
    step = index.indexing.place()
    logger.info("%s: placed by %s.", index.indexing.dataset, step)
    return step


@task(name="publish", task_run_name="publish", cache_policy=NO_CACHE)
def publish(index: Index) -> None:
    """Bring the output to what is placed: the next snapshot, if there is anything new."""
    published = index.indexing.publish()
    logger.info("%s: snapshot %s holds %d records.", index.indexing.dataset, published.snapshot, published.rows)


@task(name="report", task_run_name="report", cache_policy=NO_CACHE)
def report_index(index: Index) -> IndexReport:
    """What the index did, for the artifacts, the log and the run book."""
    report = index.indexing.report()
    index.told.report = asdict(report)
    artifacts.show_index(report)
    logger.info("%s", artifacts.index_line(report))
    return report


@task(name="picture", task_run_name="picture", cache_policy=NO_CACHE)
def show_picture(settings: Settings, report: IndexReport) -> None:
    """The map as a picture among the run's artifacts, what is new marked; a run that changed nothing shows none."""
    from flows.picture import map_png

    if report.snapshot is None or report.step == "none":
        return
    try:
        png = map_png(settings.output / report.dataset)
    except Exception:
        logger.warning("The map could not be drawn as a picture.", exc_info=True)
        return
    host = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(settings.api.host, settings.api.host)  # noqa: S104
    artifacts.show_map(
        report.dataset, png, api=f"http://{host}:{settings.api.port}", caption=artifacts.index_line(report)
    )
