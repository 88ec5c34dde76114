"""The load flow: bring what is new into the store, once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict

from prefect import flow

from components.contracts import LoadReport
from components.errors import BadSetting
from components.private import private_umask
from components.run_recorder import RunRecorder
from components.settings import Settings, load_settings
from components.store import Store
from components.store.runs import every
from components.wiring import open_store
from flows import artifacts, tasks
from flows.datasets import dataset_of, for_each, held_back_because, known_datasets, run_name
from flows.events import announce_threshold
from flows.recorder import record_flow_run
from flows.runs import record_cancelled

logger = logging.getLogger(__name__)


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
    tasks.skip_overdue_polls()
    with private_umask(settings), closing(open_store(settings)) as store:
        record_cancelled(store)  # before anything new is loaded, which ends the wait after a cancellation
        if dataset != every:
            with record_flow_run(store, dataset, "load") as told:
                return load_one(settings, store, told, dataset, sources or (), verify=verify)
        return load_all(settings, store, verify=verify)


def load_all(settings: Settings, store: Store, *, verify: bool) -> LoadReport:
    """Every known dataset in turn; one that fails does not keep the others."""

    def one(name: str) -> LoadReport:
        with record_flow_run(store, name, "load", is_part=True) as part:
            return load_one(settings, store, part, name, (), verify=verify)

    with record_flow_run(store, every, "load") as told:
        total = artifacts.total_load(for_each(known_datasets(settings, store), one))
        told.report = asdict(total)
    return total


def load_one(
    settings: Settings, store: Store, told: RunRecorder, dataset: str, sources: Sequence[str], *, verify: bool
) -> LoadReport:
    """Discover, read and persist, report; and tell who waits for it that enough records wait."""
    sources = tasks.permitted(settings, store, dataset, sources)
    run = tasks.open_load(settings, store, told, dataset, sources, verify=verify)
    for group in tasks.discover(run):
        tasks.read_and_persist(run, group, label=tasks.label_of(group))
    report = tasks.report_load(run)
    if not report.records.new and store.runs.is_held_back(dataset):
        logger.info("%s: no index is asked for: %s.", dataset, held_back_because)
        return report
    threshold = settings.dataset(dataset).index_threshold
    announce_threshold(dataset, unindexed=report.records.unindexed, threshold=threshold)
    return report


if __name__ == "__main__":
    load()
