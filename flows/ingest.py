"""The ingest flow: load and index further files of a corpus, and bring the files of its vectors up to date."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from prefect import flow

from components.contracts import IndexReport, LoadReport
from components.errors import BadSetting
from components.ingest.config import IngestConfig
from components.pipeline import Pipeline
from components.private import private_umask
from components.settings import load_settings
from components.store.runs import every
from flows import artifacts
from flows.clusters import open_cluster
from flows.datasets import run_name
from flows.index import IndexOptions, index_one
from flows.load import permitted, show_report
from flows.recorder import record_flow_run
from flows.runs import record_cancelled
from flows.steps import run_as_task

logger = logging.getLogger("flows.ingest")  # Prefect runs this file under another module name


@flow(name="ingest", flow_run_name=run_name)
def ingest(
    dataset: str = "default",
    sources: list[str] | None = None,
    years: str | None = None,
    fields: list[str] | None = None,
    vectors: str | None = None,
    recompute: bool = False,
    write_files: bool = False,
) -> dict[str, Any]:
    """
    Load and index the files of a corpus that `runatlas ingest` has set up: new years, changed files. Safe to repeat.

    Args:
        dataset: Name of the dataset.
        sources: Files or folders below those that were ingested before. Empty: these.
        years: Only the files of these years: "2015:2020" or "2021,2023". Empty: all.
        fields: Fields that are embedded, in this order. Empty: as before.
        vectors: Field that holds a document's vector, so that nothing is embedded. Empty: as before.
        recompute: Rebuild the map, where the model or the text settings were changed.
        write_files: Write vectors, keys, manifests and a catalog to the folder vectors/DATASET in the home.
    """
    settings = load_settings()
    if dataset == every:
        raise BadSetting('A corpus belongs to one dataset, and dataset is "*": name it.')
    cluster = open_cluster(settings.embed)
    with private_umask(settings), Pipeline(settings, run_step=run_as_task, cluster=cluster) as pipeline:
        record_cancelled(pipeline.store)
        config = IngestConfig.of(
            {
                "dataset": dataset,
                "sources": _sources(pipeline, dataset, sources or ()),
                "years": years or None,
                "fields": fields or None,
                "vectors": vectors or None,
                "recompute": recompute,
                "out": settings.home.absolute() / "vectors" / dataset if write_files else None,
            }
        )
        report = pipeline.ingest(config, steps=FlowSteps(pipeline=pipeline))
        run_as_task("report", lambda _: artifacts.show_ingest(report))
    logger.info("%s", artifacts.ingest_line(report))
    return {"dataset": dataset, "files": list(report.files), "vectors": sum(one.rows for one in report.out)}


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSteps:
    """Load and index as parts of a flow run, with their reports and the map among its artifacts."""

    pipeline: Pipeline

    def load(self, sources: Sequence[str], dataset: str) -> LoadReport:
        """Loads these files."""
        return self.pipeline.load(
            sources,
            dataset,
            record=partial(record_flow_run, is_part=True),
            on_report=partial(show_report, is_given=True),
        )

    def index(self, dataset: str, *, recompute: bool) -> IndexReport:
        """Indexes what is pending."""
        options = IndexOptions(recompute=recompute, retry_failed=False, renew_topics=False)
        return index_one(self.pipeline, dataset, options)


def _sources(pipeline: Pipeline, dataset: str, given: Sequence[str]) -> list[str]:
    """What the run reads: the folders and files of earlier ingests, or some below them.

    Raises `BadSetting` where there are none, or others are asked for.
    """
    corpus = pipeline.effective_settings().dataset(dataset).corpus
    own = [*(corpus.folders if corpus else ()), *pipeline.sources(dataset)] if corpus else []
    if not own:
        raise BadSetting(
            f"Dataset {dataset!r} is no corpus yet: `runatlas ingest FOLDER -d {dataset}` makes it one, with its model and fields."
        )
    if given:
        return permitted(pipeline, dataset, given, own=own)
    return [source for source in own if Path(source).exists()]


if __name__ == "__main__":
    ingest()
