"""Load and index without an orchestrator: the Python API, and what the shell's commands run.

>>> from components.pipeline import Pipeline
>>> pipeline = Pipeline()  # settings from runatlas.toml and RUNATLAS_*
>>> pipeline.load(["~/.claude/projects"])  # doctest: +SKIP
>>> pipeline.index()  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import wiring
from components.contracts import IndexReport, LoadReport, Progress
from components.corpus import IngestReport, ingest_corpus
from components.dataset_settings import Configured, SettingValue, configure, list_settings
from components.dataset_sources import ListedSource, RemovedSources, list_sources, remove_sources
from components.dataset_topics import TopicList, edit_topic, list_topics
from components.datasets import find_dataset, sources_of
from components.errors import BadSetting, LeaseHeld, NotFound
from components.ingest.config import IngestConfig
from components.record_details import record_details
from components.retry import retry_while_busy
from components.run_recorder import RecordRun, RunRecorder
from components.search.filters import Filters
from components.selection_pipeline import SelectionOperations
from components.store import DatasetStatus
from components.store.index_requests import IndexRequest

if TYPE_CHECKING:  # commands that only read the store do not wait for pyarrow
    from components.compare.report import Comparison
    from components.contracts import Check
    from components.search.search import Hit, Mode


class Pipeline(SelectionOperations):
    """runatlas as a Python object. Opens its database at the first use; a context manager, or call `close`.

    `run_step` runs the steps of loads and indexes; by default directly, without an orchestrator. `cluster` embeds and
    places in other processes, by default this one does.
    """

    # --- load and index

    def load(
        self,
        sources: Sequence[str | Path] = (),
        dataset: str = "default",
        *,
        format: str | None = None,
        verify: bool = False,
        progress: Progress | None = None,
        record: RecordRun = RunRecorder,
        on_report: Callable[[LoadReport], None] | None = None,
    ) -> LoadReport:
        """Bring every new record of the dataset's sources into the store, once. `sources` given are remembered.

        `record` opens the record of the run; `on_report` is called before it ends, and may fail it by an error.
        """
        retry_while_busy(lambda: self.store)
        specs = _specs(sources)
        if not specs:
            retry_while_busy(lambda: find_dataset(self.settings, self.store, dataset))
        with record(self.store, dataset, "load", listener=progress) as recorder:
            report = wiring.run_load(
                self.effective_settings(),
                self.store,
                dataset,
                sources=specs,
                format=format,
                verify=verify,
                run_step=self.run_step,
                progress=recorder,
            )
            recorder.report = asdict(report)
            if on_report:
                on_report(report)
        return report

    def index(
        self,
        dataset: str = "default",
        *,
        recompute: bool = False,
        retry_failed: bool = False,
        renew_topics: bool = False,
        progress: Progress | None = None,
        should_stop: Callable[[], bool] | None = None,
        record: RecordRun = RunRecorder,
        on_report: Callable[[IndexReport], None] | None = None,
    ) -> IndexReport:
        """Embed, place and publish all pending records; `record` and `on_report` as in `load`.

        `renew_topics` looks for topics from scratch, on the map as it is; those that stay together keep their ids.
        Raises `LeaseHeld` while another index of the dataset runs.
        """
        retry_while_busy(lambda: find_dataset(self.settings, self.store, dataset))
        with record(self.store, dataset, "index", listener=progress) as recorder:
            report = wiring.run_index(
                self.effective_settings(),
                self.store,
                dataset,
                IndexRequest(recompute=recompute, retry_failed=retry_failed, renew_topics=renew_topics),
                run_step=self.run_step,
                cluster=self.cluster,
                progress=recorder,
                should_stop=should_stop or recorder.should_stop,
            )
            recorder.report = asdict(report)
            if on_report:
                on_report(report)
        return report

    def ingest(self, config: IngestConfig, **how: Any) -> IngestReport:
        """Load and index a corpus, and write its vectors where asked to; `how` as in `corpus.ingest_corpus`."""
        return ingest_corpus(self, config, **how)

    # --- what there is

    def status(self) -> dict[str, DatasetStatus]:
        """Name -> the state of each dataset."""
        return self.store.status()

    def sources(self, dataset: str = "default") -> tuple[str, ...]:
        """The sources of the dataset: the configured ones, then those that were given to loads.

        URLs are without their passwords.
        """
        return sources_of(self.settings.dataset(dataset).sources, self.store, self.dataset_id(dataset))

    def source_list(self, dataset: str = "default") -> list[ListedSource]:
        """The sources of the dataset, and where each is set; URLs without credentials."""
        return list_sources(self.settings, dataset, self.sources(dataset))

    def remove_sources(
        self, sources: Sequence[str], dataset: str = "default", *, with_records: bool = False
    ) -> RemovedSources:
        """Forget remembered sources; with their records or without.

        Raises `NotFound` for one that is not remembered, `BadSetting` for one that the settings name.
        """
        known, configured = self.dataset_id(dataset), self.settings.dataset(dataset).sources
        return remove_sources(self.store, dataset, known, configured, sources, with_records=with_records)

    def dataset_settings(self, dataset: str = "default") -> list[SettingValue]:
        """The settings of a dataset, each with its value and origin. Raises `NotFound` for an unknown one."""
        find_dataset(self.settings, self.store, dataset)
        return list_settings(self.settings, self.store, dataset)

    def configure(self, dataset: str = "default", /, **changes: Any) -> Configured:
        """Store settings of a dataset in the database, None to restore a default; creates the dataset if it is new.

        Settings of the text are named `text.NAME`. The `notes` of the result say what a change requires. Raises
        `BadSetting` for an unknown name, an invalid value, or a setting that the file or the environment sets.
        """
        return retry_while_busy(lambda: configure(self.settings, self.store, dataset, changes))

    def defects(self, dataset: str = "default", limit: int = 1_000) -> list[dict[str, Any]]:
        """Lines and items that could not become a record, with their positions."""
        return self.store.defects.rows(self.dataset_id(dataset), limit)

    def failed(self, dataset: str = "default", limit: int = 1_000) -> list[dict[str, Any]]:
        """Records that could not be embedded, with the error."""
        return self.store.records.failures(self.dataset_id(dataset), limit)

    def record(self, id: str, dataset: str = "default") -> dict[str, Any]:
        """One record by its id, or by its key where its dataset has keys. Raises `NotFound`."""
        if found := record_details(self.store, self.dataset_id(dataset), id):
            return found
        raise NotFound(f'Dataset "{dataset}" has no record {id!r}. Ids are the 32 hex digits of the outputs.')

    def search(
        self,
        text: str = "",
        dataset: str = "default",
        *,
        like: Sequence[str] = (),
        unlike: Sequence[str] = (),
        vector: Sequence[float] = (),
        mode: Mode = "both",
        k: int = 10,
        filters: Filters | None = None,
        within_operation: bool = False,
    ) -> list[Hit]:
        """The records of the newest snapshot that fit best, equal texts as one hit.

        Compared with a text, records by id (`like`, not `unlike`), a vector, or (`within_operation`) a span's own operation.
        Raises `BadQuery` for what can't be answered, `NotFound` for an unknown record or before the first index.
        """
        retry_while_busy(lambda: find_dataset(self.settings, self.store, dataset))
        return wiring.search(
            self.effective_settings(),
            self.store,
            dataset,
            text=text,
            like=tuple(like),
            unlike=tuple(unlike),
            vector=vector,
            mode=mode,
            k=k,
            filters=filters or Filters(),
            within_operation=within_operation,
        )

    def compare(
        self,
        dataset: str = "default",
        *,
        a: str | Sequence[str],
        b: str | Sequence[str] = (),
        now: datetime | None = None,
    ) -> Comparison:
        """What tells two sets of runs apart: `a` and `b` are filters as NAME=VALUE, for instance "outcome=fail".

        Without `b` it is all other runs. The result is kept, and returned again for the same question about the same
        snapshot; `now` is the time that `since=7d` counts from. Raises `BadSetting` for a filter that can't be understood,
        `BadQuery` if a set is empty or if they overlap, `NotFound` before the first index.
        """
        settings = self.effective_settings()
        filters = [[one] if isinstance(one, str) else list(one) for one in (a, b)]
        opened = retry_while_busy(lambda: wiring.open_comparison(settings, self.store, dataset))
        return opened.ask(*filters, task=settings.dataset(dataset).task, now=now or datetime.now(UTC))

    def topics(self, dataset: str = "default", *, since: int | None = None) -> TopicList:
        """The topics and groups of the newest snapshot; with `since`, how each changed after that snapshot.

        Raises `NotFound` before the first index, and for a snapshot that is not remembered any more.
        """
        return list_topics(self.store, dataset, self.dataset_id(dataset), since=since)

    def edit_topic(
        self, topic: int, dataset: str = "default", *, name: str | None = None, merge_into: int | None = None
    ) -> bool:
        """Name a topic, or make it part of another one, whatever happens to the map later, and publish the change.

        Returns False if an index that is running publishes it. Raises `NotFound` or `BadQuery` for what can't be changed.
        """
        edit_topic(self.store, dataset, self.dataset_id(dataset), topic, name=name, merge_into=merge_into)
        with suppress(LeaseHeld):
            self.publish(dataset)
            return True
        self.store.index_requests.add(dataset)
        return False

    def publish(self, dataset: str = "default", *, adopt: bool = False) -> int | None:
        """Finish an interrupted publication, and rebuild published files that are missing or damaged.

        `adopt` takes the output over from another home on the same database: it is published here from now on.
        Returns the newest snapshot's number, None before the first index.
        """
        return wiring.publish(self.effective_settings(), self.store, dataset, self.dataset_id(dataset), adopt=adopt)

    def verify(self, dataset: str = "default") -> list[Check]:
        """Every invariant of store and snapshot, checked."""
        from components.verify import verify

        output, cache = self.output(dataset), self.settings.cache
        return verify(self.store, dataset, self.dataset_id(dataset), output=output, cache=cache)


def _specs(sources: Sequence[str | Path]) -> list[str]:
    specs = [str(spec) for spec in sources]
    if not all(map(str.strip, specs)):
        raise BadSetting("The name of a source is empty: is a variable unset? Name a file, folder, glob or table URL.")
    return specs
