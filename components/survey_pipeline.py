"""Surveys of uploaded tables without an orchestrator: what `Pipeline.surveys` gives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from components import surveys, wiring
from components.contracts import Progress, StepRunner
from components.dataset_settings import effective_settings
from components.open_store import OpenStore
from components.removal import Dropped, drop_dataset
from components.retry import retry_while_busy
from components.run_recorder import RecordRun, RunRecorder
from components.settings import Settings
from components.store import Store
from components.survey.export import Format
from components.survey.metrics import Metrics
from components.survey.run import SurveyReport
from components.survey.uploads import Upload
from components.surveys import CleanUp, SurveyState, Terrain


class SurveyPipeline:
    """Uploads a table, runs its survey, shows and changes the terrain, writes the balanced table."""

    def __init__(self, settings: Settings, store: Store, *, run_step: StepRunner) -> None:
        self._settings = settings
        self._store = store
        self._run_step = run_step

    def upload(self, file: str | Path, *, text_column: str | None = None) -> Upload:
        """The dataset of a CSV file, without its terrain; `run` makes that. Raises `BadUpload`."""
        settings = retry_while_busy(lambda: effective_settings(self._settings, self._store))
        return surveys.accept_file(settings, self._store, Path(file), text_column=text_column)

    def run(self, dataset: str, *, progress: Progress | None = None, record: RecordRun = RunRecorder) -> SurveyReport:
        """Make the terrain of an uploaded dataset, or go on making it. Raises `LeaseHeld` while another run does."""
        return surveys.run(
            self._settings, self._store, dataset, run_step=self._run_step, record=record, progress=progress
        )

    def state(self, dataset: str) -> SurveyState:
        """How far the survey is. Raises `NotFound`."""
        return surveys.state_of(self._store, dataset)

    def terrain(self, dataset: str) -> Terrain:
        """The hills at their present weights. Raises `NotFound` or `NotCompleted`."""
        return surveys.terrain_of(self._store, dataset)

    def adjust(self, dataset: str, weights: Mapping[int, float]) -> Metrics:
        """Set weights of hills, by id; the others stay. Raises `BadQuery` for an unknown hill or a weight that can't be."""
        return surveys.adjust(self._store, dataset, weights)

    def export(
        self, dataset: str, to: str | Path, format: Format = "weighted", *, rows: int | None = None, seed: int = 42
    ) -> Path:
        """Write the table with the weights of its rows, or `resampled` by them; as Parquet if `to` ends so."""
        return surveys.export_to(self._settings, self._store, dataset, Path(to), format, rows=rows, seed=seed)

    def clean_up(self) -> CleanUp:
        """Delete uploads that are too old or too many, and what interrupted uploads and removals left."""
        return surveys.clean_up(effective_settings(self._settings, self._store), self._store)


class SurveyOperations(OpenStore):
    """What a pipeline does with uploaded tables, and the removal of datasets."""

    @property
    def surveys(self) -> SurveyPipeline:
        """What is done with uploaded tables, step by step."""
        return SurveyPipeline(self.settings, self.store, run_step=self.run_step)

    def survey(
        self,
        file: str | Path,
        *,
        text_column: str | None = None,
        progress: Progress | None = None,
        record: RecordRun = RunRecorder,
    ) -> SurveyReport:
        """Upload a CSV file as a dataset of its own, and make its terrain. Raises `BadUpload`.

        `text_column` names the column to embed; without, it is found by length and variety.
        """
        upload = self.surveys.upload(file, text_column=text_column)
        return self.surveys.run(upload.dataset_id, progress=progress, record=record)

    def drop(self, dataset: str) -> Dropped:
        """Remove a dataset with its records, map, snapshots, caches, and the vectors that no other dataset uses.

        Raises `NotFound`, or `LeaseHeld` while it is loaded or indexed.
        """
        credentials = wiring.open_credentials(self.settings)
        return drop_dataset(effective_settings(self.settings, self.store), self.store, dataset, credentials=credentials)
