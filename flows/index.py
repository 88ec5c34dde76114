"""The index flow: embed pending records, place them, publish them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from typing import TypedDict

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from components.contracts import IndexReport
from components.errors import LeaseHeld
from components.pipeline import Pipeline
from components.private import private_umask
from components.settings import Settings, load_settings
from components.store.runs import every
from flows import artifacts
from flows.clusters import open_cluster
from flows.datasets import dataset_of, for_each, held_back, held_back_because, run_name
from flows.events import announce_drift, announce_topics
from flows.picture import map_png
from flows.recorder import record_flow_run
from flows.runs import record_cancelled
from flows.steps import run_as_task

logger = logging.getLogger("flows.index")  # Prefect runs this file under another module name


class IndexOptions(TypedDict):
    """What an index does beyond the pending records."""

    recompute: bool
    retry_failed: bool
    renew_topics: bool


@flow(name="index", flow_run_name=run_name)
def index(
    dataset: str = "default", recompute: bool = False, retry_failed: bool = False, renew_topics: bool = False
) -> IndexReport | State[IndexReport]:
    """
    Embed the pending records, place them on the map and publish a snapshot, until none is pending.

    Args:
        dataset: Name of the dataset; "*" takes every known dataset, one after the other.
        recompute: Rebuild the map from all records, aligned with the old one. A change of model needs it too.
        retry_failed: Retry the records that could not be embedded before.
        renew_topics: Look for topics from scratch, on the map as it is. Topics that stay together keep their ids.
    """
    options = IndexOptions(recompute=recompute, retry_failed=retry_failed, renew_topics=renew_topics)
    settings = load_settings()
    dataset = dataset_of(dataset)
    cluster = open_cluster(settings.embed)
    with private_umask(settings), Pipeline(settings, run_step=run_as_task, cluster=cluster) as pipeline:
        record_cancelled(pipeline.store)
        left_out = held_back(pipeline.store)
        if dataset in left_out:
            return Completed(name="HeldBack", message=f"{dataset}: {held_back_because}.")
        if dataset == every:
            names = [name for name in pipeline.store.datasets.ids() if name not in left_out]
            return index_all(pipeline, names, options)
        try:
            return index_one(pipeline, dataset, options)
        except LeaseHeld as held:
            return Completed(name="Joined", message=f"{held}")


def index_all(pipeline: Pipeline, names: Iterable[str], options: IndexOptions) -> IndexReport:
    """These datasets in turn; one that fails does not stop the others, one that is being indexed is left to that."""

    def one(name: str) -> IndexReport:
        return index_one(pipeline, name, options, is_part=True)

    with record_flow_run(pipeline.store, every, "index") as recorder:
        total = artifacts.total_index(for_each(names, one))
        recorder.report = asdict(total)
    return total


def index_one(pipeline: Pipeline, dataset: str, options: IndexOptions, *, is_part: bool = False) -> IndexReport:
    """Index a dataset, and show the report and the map. Raises `LeaseHeld` while another index of it runs."""
    report = pipeline.index(
        dataset,
        **options,
        record=partial(record_flow_run, is_part=is_part),
        on_report=show_report,
    )
    run_as_task("picture", lambda _: show_picture(pipeline.settings, report))
    announce_topics(dataset, report.topics)
    announce_drift(dataset, drift=report.drift, limit=pipeline.settings.project.drift_warn)
    return report


def show_report(report: IndexReport) -> None:
    """The report among the run's artifacts and in its log."""
    run_as_task("report", lambda _: artifacts.show_index(report))
    logger.info("%s", artifacts.index_line(report))


def show_picture(settings: Settings, report: IndexReport) -> None:
    """The map as a picture among the run's artifacts, new records marked; none if the run changed nothing."""
    if report.snapshot is None or report.step == "none":
        return
    try:
        png = map_png(settings.output / report.dataset)
    except Exception:
        logger.warning("The map could not be drawn as a picture.", exc_info=True)
        return
    artifacts.show_map(report.dataset, png, api=settings.api.address, caption=artifacts.index_line(report))


if __name__ == "__main__":
    index()
