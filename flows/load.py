"""The load flow: bring new records into the store, once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

from prefect import flow
from prefect.context import FlowRunContext

from components.contracts import LoadReport
from components.errors import BadSetting, SourceError
from components.load.report import problem_lines, read_nothing
from components.pipeline import Pipeline
from components.private import private_umask
from components.settings import load_settings
from components.sources import specs
from components.store.runs import every
from flows import artifacts
from flows.datasets import dataset_of, for_each, held_back_because, known_datasets, run_name
from flows.events import announce_threshold
from flows.recorder import record_flow_run
from flows.runs import record_cancelled, skip_overdue, watched_sources
from flows.steps import run_as_task

logger = logging.getLogger("flows.load")  # Prefect runs this file under another module name


@flow(name="load", flow_run_name=run_name)
def load(dataset: str = "default", sources: list[str] | None = None, verify: bool = False) -> LoadReport:
    """
    Bring every new record of a dataset into the store, once. Cheap when nothing is new; safe at any time.

    Args:
        dataset: Name of the dataset; "*" takes every known dataset, one after the other.
        sources: Files, folders or globs below the dataset's own sources, as the worker's machine sees them. Empty: all
            of its own, configured or given to `runatlas load` before.
        verify: Compare the whole content of every source with what was read of it, not just size, time and ends.
    """
    settings = load_settings()
    dataset = dataset_of(dataset)
    if dataset == every and sources:
        raise BadSetting(f"Sources belong to one dataset, and dataset is {every!r}: name the dataset they are for.")
    skip_overdue_polls()
    with private_umask(settings), Pipeline(settings, run_step=run_as_task) as pipeline:
        record_cancelled(pipeline.store)  # before new records are loaded, which end the effect of a cancellation
        if dataset == every:
            return load_all(pipeline, verify=verify)
        return load_one(pipeline, dataset, sources or (), verify=verify)


def load_all(pipeline: Pipeline, *, verify: bool) -> LoadReport:
    """Every known dataset in turn; one that fails does not stop the others."""
    one = partial(load_one, pipeline, verify=verify, is_part=True)
    with record_flow_run(pipeline.store, every, "load") as recorder:
        total = artifacts.total_load(for_each(known_datasets(pipeline.settings, pipeline.store), one))
        recorder.report = asdict(total)
    return total


def load_one(
    pipeline: Pipeline, dataset: str, sources: Sequence[str] = (), *, verify: bool, is_part: bool = False
) -> LoadReport:
    """Load a dataset, show the report, and announce that enough records are pending for an index."""
    record = partial(record_flow_run, is_part=is_part)
    try:
        allowed = permitted(pipeline, dataset, sources)
    except BadSetting:
        with record(pipeline.store, dataset, "load"):
            raise  # and recorded as the failure of this run
    report = pipeline.load(
        allowed,
        dataset,
        verify=verify,
        record=record,
        on_report=partial(show_report, is_given=bool(sources)),
    )
    if not report.records.new and pipeline.store.runs.is_held_back(dataset):
        logger.info("%s: no index is requested: %s.", dataset, held_back_because)
        return report
    threshold = pipeline.effective_settings().dataset(dataset).index_threshold
    announce_threshold(dataset, unindexed=report.records.unindexed, threshold=threshold)
    return report


def show_report(report: LoadReport, *, is_given: bool) -> None:
    """The report among the run's artifacts and in its log.

    Raises `SourceError` if sources were given and none could be read. Known ones that break are a warning: a schedule
    would fail every five minutes for a single bad file.
    """
    run_as_task("report", lambda _: artifacts.show_load(report))
    logger.info("%s", artifacts.load_line(report))
    for line in problem_lines(report.problems):
        logger.warning("%s", line)
    if is_given and read_nothing(report):
        raise SourceError(f"Nothing could be read. {'; '.join(problem_lines(report.problems))}")


def permitted(pipeline: Pipeline, dataset: str, sources: Sequence[str], own: Sequence[str] | None = None) -> list[str]:
    """The sources that a run asks for. Raises `BadSetting` for one that its dataset does not own.

    `own`: what it owns, if that is not what its loads read.

    Whoever can start a run of a deployment sets its parameters, and could have any file of the worker's machine read.
    Code that calls the flow by itself reads what it likes anyway.
    """
    context = FlowRunContext.get()
    run = context.flow_run if context is not None else None
    if run is None or run.deployment_id is None:
        return list(sources)
    if own is None:
        own = watched_sources(pipeline.settings, pipeline.store).get(dataset, ()) if sources else ()
    return [_permitted(at, source, own, dataset) for at, source in enumerate(sources)]


def _permitted(at: int, source: str, own: Sequence[str], dataset: str) -> str:
    try:
        return specs.permitted(source, own, dataset)
    except BadSetting as error:
        raise BadSetting(f"sources.{at} {error}.") from error


def skip_overdue_polls() -> None:
    """A run of a schedule does the work of all its earlier ones that are still to run: the machine slept, or was busy."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None or not run.auto_scheduled or run.created_by is None or run.created_by.id is None:
        return
    try:
        if n := skip_overdue(run.created_by.id):
            logger.info("%d overdue runs of the same schedule are skipped: this one does their work.", n)
    except Exception:
        logger.warning("Overdue runs of the schedule could not be skipped; they run as well.", exc_info=True)


if __name__ == "__main__":
    load()
