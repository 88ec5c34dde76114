"""Prometheus metrics, computed from the database at each scrape, because flow processes are short-lived."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from api.state import State
from components.store.vectors import BATCH_SECONDS

if TYPE_CHECKING:
    from components.store import DatasetStatus, Store
    from components.store.runs import RunInfo
    from components.store.surveys import Tallied

content_type = CONTENT_TYPE_LATEST

gauges = {  # field of DatasetStatus -> description
    "records": "Records in the dataset.",
    "unindexed": "Records that are not indexed yet.",
    "failed": "Records that could not be embedded.",
    "defects": "Lines and items that could not become a record.",
    "drift": "Share of new records that do not fit the map.",
    "layout": "Version of the layout.",
    "snapshot": "Number of the newest snapshot.",
    "rows": "Rows of the newest snapshot.",
}


class StoreMetrics:
    """A Prometheus collector that reads the store."""

    def __init__(self, state: State) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        """All metrics, as they are now."""

        def read(store: Store) -> list[Metric]:
            return [
                *of_datasets(store.status()),
                *of_embedding(store),
                *of_runs(store),
                *of_surveys(store),
                *of_database(store),
                *of_process(),
            ]

        return iter(self._state.with_store(read))


def metrics_text(state: State) -> bytes:
    """The exposition text. Raises `Problem` 503 if the database does not answer."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StoreMetrics(state))
    return generate_latest(registry)


def of_datasets(datasets: dict[str, DatasetStatus]) -> Iterator[Metric]:
    """Records, map and index of each dataset."""
    for field, description in gauges.items():
        family = GaugeMetricFamily(f"runatlas_{field}", description, labels=["dataset"])
        for name, status in datasets.items():
            value = getattr(status, field)
            if value is not None:
                family.add_metric([name], value)
        yield family
    indexing = GaugeMetricFamily("runatlas_indexing", "1 while an index is running.", labels=["dataset"])
    processed = CounterMetricFamily("processed_records", "Records embedded and placed.", labels=["dataset"])
    for name, status in datasets.items():
        indexing.add_metric([name], float(status.indexing.is_held))
        processed.add_metric([name], status.records - status.unindexed - status.failed)
    yield indexing
    yield processed


def of_embedding(store: Store) -> Iterable[Metric]:
    """Texts, tokens and batches of each dataset. Records beyond the texts had a vector already: hits of the cache."""
    texts = CounterMetricFamily("embedded_texts", "Texts embedded; equal ones are embedded once.", labels=["dataset"])
    tokens = CounterMetricFamily("tokens", "Tokens embedded, as the model counts them.", labels=["dataset"])
    batches = HistogramMetricFamily("seconds_per_batch", "Embedded batches, and their duration.", labels=["dataset"])
    tallies, within = store.vectors.tallies(), store.vectors.batch_seconds()
    for name, number in store.datasets.ids().items():
        if tally := tallies.get(number):
            texts.add_metric([name], tally.texts)
            tokens.add_metric([name], tally.tokens)
            counts = within.get(number, dict.fromkeys(BATCH_SECONDS, 0))
            buckets = [(str(bound), float(n)) for bound, n in counts.items()]
            batches.add_metric([name], [*buckets, ("+Inf", tally.batches)], sum_value=tally.seconds)
    return [texts, tokens, batches]


def of_runs(store: Store) -> Iterable[Metric]:
    """Results and durations of loads and indexes."""
    ended = CounterMetricFamily(
        "runatlas_runs", "Loads and indexes by final state.", labels=["dataset", "kind", "state"]
    )
    totals = store.runs.totals()
    for (dataset, kind, state), n in totals.items():
        if state != "running" and kind != "survey":
            ended.add_metric([dataset, kind, state], n)
    success = GaugeMetricFamily(
        "runatlas_last_success_timestamp_seconds",
        "Time of the last successful load or index.",
        labels=["dataset", "kind"],
    )
    steps = GaugeMetricFamily(
        "runatlas_index_step_seconds", "Duration of the steps of the last successful index.", labels=["dataset", "step"]
    )
    seconds = GaugeMetricFamily(
        "runatlas_run_seconds", "Duration of the last successful load or index.", labels=["dataset", "kind"]
    )
    for dataset, kind in sorted({(dataset, kind) for dataset, kind, _ in totals if kind != "survey"}):
        run = store.runs.last(dataset, kind, state="done")
        if run is not None and run.finished_at is not None:
            success.add_metric([dataset, kind], run.finished_at.timestamp())
            seconds.add_metric([dataset, kind], run_seconds(run, run.finished_at))
            for step, taken in step_seconds(run):
                steps.add_metric([dataset, step], taken)
    return [ended, success, seconds, steps]


def step_seconds(run: RunInfo) -> list[tuple[str, float]]:
    """Step and seconds from the report of an index; [] for a load."""
    seconds = run.report.get("seconds") if isinstance(run.report, dict) else None
    return [(str(step), float(taken)) for step, taken in seconds.items()] if isinstance(seconds, dict) else []


def run_seconds(run: RunInfo, finished_at: datetime) -> float:
    """Duration of a run."""
    return max(0.0, (finished_at - run.started_at).total_seconds())


def of_surveys(store: Store) -> Iterable[Metric]:
    """Surveys by outcome, the seconds of their stages, labels that no model gave; also of those that were deleted."""
    outcomes = CounterMetricFamily("runatlas_surveys", "Surveys of uploaded tables by outcome.", labels=["outcome"])
    stages = SummaryMetricFamily("runatlas_survey_stage_seconds", "Stages of surveys.", labels=["stage"])
    failed = CounterMetricFamily("runatlas_survey_label_failures", "Hills that the language model gave no name for.")
    live = GaugeMetricFamily(
        "runatlas_survey_datasets", "Uploaded datasets that are kept now.", value=store.surveys.count()
    )
    tallies = store.surveys.tallies()
    for outcome in ("completed", "failed"):
        outcomes.add_metric([outcome], _n(tallies.get(("outcome", outcome))))
    for (kind, name), tally in sorted(tallies.items()):
        if kind == "stage":
            stages.add_metric([name], count_value=tally.n, sum_value=tally.seconds)
    failed.add_metric([], _n(tallies.get(("label", "failed"))))
    return [outcomes, stages, failed, live]


def _n(tally: Tallied | None) -> int:
    return tally.n if tally else 0


def of_process() -> Iterable[Metric]:
    """The memory of this process."""
    import psutil

    resident = psutil.Process().memory_info().rss
    return [GaugeMetricFamily("runatlas_api_resident_bytes", "Memory of the API process.", value=resident)]


def of_database(store: Store) -> Iterable[Metric]:
    """The size of the database."""
    size = GaugeMetricFamily("runatlas_database_bytes", "Size of the database.")
    size.add_metric([], store.db.size_bytes())
    return [size]
