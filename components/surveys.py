"""What is done with surveys: accept an upload, run it, look at it, change its weights, download it, clean up."""

from __future__ import annotations

import logging
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from components import wiring
from components.atomic import atomic_write, disk_errors, make_folder
from components.contracts import Progress, StepRunner
from components.dataset_settings import effective_settings
from components.errors import BadUpload, Cancelled, LeaseHeld, NotFound, RunAtlasError, TransientError
from components.redact import public_text
from components.removal import Dropped, drop_dataset, remove_abandoned_files, sweep, uploaded_file
from components.retry import retry_while_busy
from components.run_recorder import RecordRun
from components.settings import Settings
from components.store import Store
from components.store.runs import RunInfo
from components.store.surveys import SurveyInfo
from components.survey import export
from components.survey.metrics import Metrics, metrics_of
from components.survey.stages import percent, stage_of
from components.survey.table import Table, read_table
from components.survey.terrain import Hill, checked_weights, effective_sizes, height_map, hill_from_json
from components.survey.uploads import Upload, expired, keep_file, new_dataset_name, plain_name, upload_of, utc_now

if TYPE_CHECKING:
    from components.survey.run import SurveyReport

logger = logging.getLogger(__name__)

MAX_ATTEMPTS: Final = 3  # of a survey whose runs crash
UNSTARTED_AFTER: Final = timedelta(minutes=5)  # a survey without any run for so long was never started


class NotCompleted(RunAtlasError):
    """The terrain is not there yet, or the survey failed; `state` tells."""

    def __init__(self, state: SurveyState) -> None:
        if state.status == "failed":
            super().__init__(f"The survey of {state.dataset_id} failed: {state.error}")
        else:
            super().__init__(
                f"The survey of {state.dataset_id} is not completed: stage {state.stage}, {state.progress} %. "
                f"GET /api/status/{state.dataset_id} shows its progress."
            )
        self.state = state


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyState:
    """How far a survey is. `progress` is 0 to 100; `error` is "" unless it failed."""

    dataset_id: str
    status: str
    progress: int
    stage: str
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanUp:
    """What a clean-up deleted, and the surveys whose runs crashed and are to be started again."""

    dropped: list[Dropped] = field(default_factory=list)
    files: int = 0
    vectors: int | None = 0
    stalled: list[str] = field(default_factory=list)


# --- upload and run


def accept(settings: Settings, store: Store, received: Path, *, file_name: str, text_column: str | None) -> Upload:
    """The dataset of a received file, which is kept; its survey is to be run. Raises `BadUpload`."""
    table = read_table(received, text_column)
    dataset, size_bytes = new_dataset_name(), received.stat().st_size
    keep_file(received, uploaded_file(settings, dataset))
    retry_while_busy(
        lambda: store.surveys.add(
            dataset, file_name=plain_name(file_name), size_bytes=size_bytes, uploaded=table.to_json()
        )
    )
    remove_expired(settings, store)
    return upload_of(dataset, table)


def accept_file(settings: Settings, store: Store, file: Path, *, text_column: str | None) -> Upload:
    """As `accept`, for a file of this machine, which is copied. Raises `BadUpload`."""
    if not file.is_file():
        raise BadUpload(f"There is no file {file}: name a CSV file.")
    if file.stat().st_size > settings.survey.max_upload_bytes:
        raise BadUpload(
            f"{file.name} has {file.stat().st_size:,} bytes, more than survey.max_upload_bytes, "
            f"{settings.survey.max_upload_bytes:,}."
        )
    received = incoming_file(settings)
    try:
        shutil.copyfile(file, received)
        return accept(settings, store, received, file_name=file.name, text_column=text_column)
    finally:
        received.unlink(missing_ok=True)


def incoming_file(settings: Settings) -> Path:
    """A name for a file that is still being received; the clean-up deletes it if it is abandoned."""
    make_folder(settings.uploads)
    return settings.uploads / f".incoming-{uuid.uuid4().hex}"


def run(
    settings: Settings,
    store: Store,
    dataset: str,
    *,
    run_step: StepRunner,
    record: RecordRun,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> SurveyReport:
    """Make the terrain of an uploaded dataset, or go on making it. Raises `LeaseHeld` while another run does."""
    survey = retry_while_busy(lambda: store.surveys.get(dataset))
    with record(store, dataset, "survey", listener=progress) as recorder:
        try:
            report = wiring.run_survey(
                effective_settings(settings, store),
                store,
                dataset,
                run_step=run_step,
                progress=recorder,
                should_stop=should_stop or recorder.should_stop,
            )
        except (Cancelled, LeaseHeld):
            raise
        except Exception as error:
            _note_failure(store, survey, error)
            raise
        recorder.report = asdict(report)
    _tally(store, report)
    return report


def _note_failure(store: Store, survey: SurveyInfo, error: Exception) -> None:
    """Record why a survey failed. Raises `NotFound` if it was deleted meanwhile."""
    store.surveys.get(survey.dataset)
    reason = (
        public_text(str(error))
        if isinstance(error, RunAtlasError)
        else "Internal error; the run's log has the details."
    )
    retry = " Run it again from Prefect." if isinstance(error, TransientError) else ""
    store.surveys.fail(survey.dataset_id, f"{reason}{retry}")
    store.surveys.tally("outcome", "failed")


def _tally(store: Store, report: SurveyReport) -> None:
    store.surveys.tally("outcome", "completed")
    for stage, seconds in report.seconds.items():
        store.surveys.tally("stage", stage, seconds=seconds)
    if report.label_failures:
        store.surveys.tally("label", "failed", n=report.label_failures)


# --- look


def state_of(store: Store, dataset: str) -> SurveyState:
    """How far a survey is. Raises `NotFound`."""
    return _state(store.surveys.get(dataset), store.runs.last(dataset, "survey"))


def _state(survey: SurveyInfo, last: RunInfo | None) -> SurveyState:
    stage = survey.stage or "embedding"
    if survey.status == "completed":
        return SurveyState(
            dataset_id=survey.dataset, status="completed", progress=100, stage="building_terrain", error=None
        )
    progress = percent(last.step, last.done, last.total) if last is not None else 0
    stage = (stage_of(last.step) or stage) if last is not None else stage
    if survey.status == "failed" or (last is not None and last.state == "cancelled"):
        error = survey.error or "The survey was cancelled."
        return SurveyState(dataset_id=survey.dataset, status="failed", progress=progress, stage=stage, error=error)
    return SurveyState(dataset_id=survey.dataset, status="processing", progress=progress, stage=stage, error=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terrain:
    """A finished terrain with its weights."""

    survey: SurveyInfo
    hills: list[Hill]
    grid_size: int
    height_scale: float
    noise: int

    @property
    def metrics(self) -> Metrics:
        """How unequal the hills are at their present heights."""
        return metrics_of(effective_sizes(self.hills, self.survey.weights))

    def as_dict(self) -> dict[str, Any]:
        """The terrain as the page draws it: `heightData[z][x]` in the cells that hills' `x`, `z` and `radius` count."""
        weights = self.survey.weights
        grid = height_map(self.hills, weights, self.grid_size)
        return {
            "dataset_id": self.survey.dataset,
            "hills": [_hill_json(hill, weights.get(hill.id, 1.0)) for hill in self.hills],
            "heightData": [[round(one, 4) for one in row] for row in grid.tolist()],
            "gridSize": self.grid_size,
            "heightScale": self.height_scale,
            "noise": {"size": self.noise, "weight": 1.0},
            "metrics": asdict(self.metrics),
            "rows": int(self.survey.uploaded["rows"]),
            "file_name": self.survey.file_name,
        }


def _hill_json(hill: Hill, weight: float) -> dict[str, Any]:
    plain = ("id", "label", "description", "label_source", "size", "x", "z", "radius", "color")
    return {
        **{name: getattr(hill, name) for name in plain},
        "weight": weight,
        "height": round(hill.original_height * weight, 6),
        "originalHeight": hill.original_height,
        "samples": list(hill.samples),
    }


def terrain_of(store: Store, dataset: str) -> Terrain:
    """The terrain of a survey, which counts as used now. Raises `NotFound` or `NotCompleted`."""
    survey = store.surveys.get(dataset)
    raw = store.surveys.terrain(survey.dataset_id) if survey.status == "completed" else None
    if raw is None:
        raise NotCompleted(state_of(store, dataset))
    store.surveys.touch(survey.dataset_id)
    return Terrain(
        survey=survey,
        hills=[hill_from_json(hill) for hill in raw["hills"]],
        grid_size=raw["grid_size"],
        height_scale=raw["height_scale"],
        noise=raw["noise"],
    )


def adjust(store: Store, dataset: str, adjustments: Mapping[int, float]) -> Metrics:
    """Set weights of hills, the others stay; returns the metrics. Raises `NotFound`, `NotCompleted` or `BadQuery`."""
    survey = store.surveys.get(dataset)
    raw = store.surveys.terrain(survey.dataset_id) if survey.status == "completed" else None
    if raw is None:
        raise NotCompleted(state_of(store, dataset))
    hills = [hill_from_json(hill) for hill in raw["hills"]]
    weights = store.surveys.adjust(survey.dataset_id, checked_weights(hills, adjustments))
    return metrics_of(effective_sizes(hills, weights))


def download(
    settings: Settings,
    store: Store,
    dataset: str,
    format: export.Format,
    *,
    rows: int | None = None,
    seed: int = 42,
) -> export.Download:
    """The rows of a survey by its present weights. Raises `NotFound`, `NotCompleted`, or `BadQuery` if there are none."""
    terrain = terrain_of(store, dataset)
    file, table = uploaded_file(settings, dataset), Table.from_json(terrain.survey.uploaded)
    if not file.is_file():
        raise NotFound(f"The uploaded file of {dataset} is not in this home any more.")
    name = Path(terrain.survey.file_name).stem or "table"
    hill_of_row = store.surveys.hill_of_row(terrain.survey.dataset_id)
    weights = {hill.id: terrain.survey.weights.get(hill.id, 1.0) for hill in terrain.hills}
    if format == "weighted":
        return export.weighted(name, file, table, hill_of_row, weights)
    return export.resampled(name, file, table, terrain.hills, hill_of_row, weights, n_rows=rows, seed=seed)


def export_to(
    settings: Settings,
    store: Store,
    dataset: str,
    target: Path,
    format: export.Format,
    *,
    rows: int | None = None,
    seed: int = 42,
) -> Path:
    """Write what `download` gives to a file, Parquet if its name ends so; returns the file."""
    chosen = download(settings, store, dataset, format, rows=rows, seed=seed)
    with disk_errors(target.parent), atomic_write(target) as aside:
        if target.suffix == ".parquet":
            export.write_parquet(chosen, aside)
        else:
            with aside.open("wb") as file:
                file.writelines(export.csv_blocks(chosen))
    return target


# --- clean up


def remove_expired(settings: Settings, store: Store) -> list[Dropped]:
    """Delete the uploads that are too old or too many."""
    pinned = [name for name, own in effective_settings(settings, store).datasets.items() if own.pinned]
    survey = settings.survey
    gone = expired(store.surveys.all(), pinned, now=utc_now(), ttl_h=survey.ttl_h, keep=survey.max_datasets)
    dropped = []
    for one in gone:
        try:
            dropped.append(drop_dataset(settings, store, one.dataset, credentials=wiring.open_credentials(settings)))
        except RunAtlasError as error:  # the next clean-up tries it again
            logger.warning("%s could not be deleted: %s", one.dataset, error)
    return dropped


def clean_up(settings: Settings, store: Store) -> CleanUp:
    """Delete what has expired and what interrupted uploads and removals left; find surveys that crashed."""
    dropped = remove_expired(settings, store)
    files = remove_abandoned_files(settings, store)
    return CleanUp(dropped=dropped, files=files, vectors=sweep(settings, store), stalled=_stalled(store))


def _stalled(store: Store) -> list[str]:
    found = []
    for survey in store.surveys.all():
        last = store.runs.last(survey.dataset, "survey")
        is_unstarted = last is None and survey.created_at < datetime.now(UTC) - UNSTARTED_AFTER
        if survey.status != "processing" or not (is_unstarted or (last is not None and last.state == "crashed")):
            continue
        if survey.attempts < MAX_ATTEMPTS:
            found.append(survey.dataset)
        else:
            store.surveys.fail(survey.dataset_id, f"Its runs crashed {survey.attempts} times.")
            store.surveys.tally("outcome", "failed")
    return found
