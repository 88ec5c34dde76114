"""One survey: the rows of an uploaded file are stored, indexed, and made into hills. Each step continues where it stopped."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from components.contracts import NO_TOPIC, TOPIC_LEVEL, Embedder, Progress, StepRunner, Vectors
from components.errors import Cancelled, EmbeddingFailed
from components.redact import Redactor
from components.retry import retry_while_busy
from components.settings import Settings
from components.store import Store, lease_name
from components.store.layouts import LayoutInfo, PositionRows
from components.store.lease import Heartbeat
from components.store.surveys import SurveyInfo
from components.store.tables import RecordState
from components.survey.hills import centroids_of, frequent_noise, merge_topics, renumbered, sample_all_clusters
from components.survey.labels import MAX_SAMPLE, Labels, label_hills
from components.survey.metrics import metrics_of
from components.survey.rows import load_rows
from components.survey.stages import Stage, stage_of
from components.survey.table import Table
from components.survey.terrain import HEIGHT_SCALE, Hill, build_terrain
from components.topics.chat import open_chat

logger = logging.getLogger(__name__)

SAMPLES: Final = 5  # rows that show what a hill is about
SAMPLE_CHARS: Final = 600  # of each
VECTORS: Final = 8_192  # read at once


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyJob:
    """What a survey needs. `index` embeds, places and publishes the dataset's pending records, showing its progress."""

    store: Store
    embedder: Embedder
    settings: Settings
    survey: SurveyInfo
    file: Path
    owner: str
    index: Callable[[Progress], object]
    progress: Progress | None = None
    should_stop: Callable[[], bool] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyReport:
    """What a survey found. `label_source` counts hills by what named them; seconds are by stage."""

    dataset: str
    rows: int
    hills: int
    noise: int
    gini: float
    flatness: float
    labels: dict[str, int]
    label_failures: int
    seconds: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """The rows on the map: parallel arrays (n,), and what is needed to read their vectors."""

    rows: NDArray[np.int64]  # numbers of rows of the file
    seqs: NDArray[np.int64]
    vector_ids: NDArray[np.int64]
    positions: NDArray[np.float32]  # (n, 2)
    hills: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """The hills of the rows on the map, their centroids (n_hills, dim), and the texts of each, the most typical first."""

    placed: Placed
    centroids: Vectors
    texts: list[list[str]] = field(default_factory=list)


class Stages:
    """Notes the stages of a survey and the seconds that each takes; passes progress on."""

    def __init__(self, job: SurveyJob) -> None:
        self._job = job
        self._stage: Stage | None = None
        self._began = time.monotonic()
        self.seconds: dict[str, float] = {}

    def __call__(self, step: str, done: int, total: int) -> None:
        """Raises `Cancelled` once the survey is asked to stop."""
        if (stage := stage_of(step)) and stage != self._stage:
            self.end()
            self._stage = stage
            retry_while_busy(lambda: self._job.store.surveys.enter(self._job.survey.dataset_id, stage))
        if self._job.progress:
            self._job.progress(step, done, total)
        if self._job.should_stop and self._job.should_stop():
            raise Cancelled(f"The survey of {self._job.survey.dataset} was stopped. Progress is saved; run it again.")

    def end(self) -> None:
        """Ends the present stage."""
        now = time.monotonic()
        if self._stage:
            self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._began
        self._began = now


def run_survey(job: SurveyJob, run_step: StepRunner) -> SurveyReport:
    """Make the terrain of an uploaded dataset. Raises `LeaseHeld` while another run makes it."""
    stages = Stages(job)
    dataset_id = job.survey.dataset_id
    retry_while_busy(lambda: job.store.surveys.start(dataset_id))
    run_step("parse", lambda _: _parse(job, stages))
    job.index(stages)
    layout = retry_while_busy(lambda: job.store.layouts.current(dataset_id))
    if layout is None:
        raise EmbeddingFailed("None of the rows could be embedded; `runatlas failed` of the dataset says why.")
    sampled = run_step("sample", lambda _: _sampled(job, layout, stages))
    labels = run_step("label", lambda _: _labelled(job, sampled, stages))
    hills = run_step("terrain", lambda _: _built(job, sampled, labels, stages))
    stages.end()
    return _report(job, labels, hills, stages)


def _parse(job: SurveyJob, stages: Stages) -> int:
    """Store the rows, under the lease of the dataset, so that a removal ends it."""
    table, store, settings = Table.from_json(job.survey.uploaded), job.store, job.settings
    stages("parse", 0, table.rows)
    store.leases.wait_for_stale_holder(lease_name(job.survey.dataset))
    fence = store.leases.acquire(lease_name(job.survey.dataset), job.owner)
    with Heartbeat(store.leases, fence):
        return load_rows(
            store,
            fence,
            job.survey.dataset_id,
            job.file,
            table,
            key=job.survey.file_name,
            redactor=Redactor() if settings.redacts(job.survey.dataset) else None,
            max_text_chars=settings.load.max_text_chars,
            batch_records=settings.load.batch_records,
            progress=lambda done: stages("parse", done, table.rows),
        )


# --- hills


def _sampled(job: SurveyJob, layout: LayoutInfo, stages: Stages) -> Sampled:
    stages("sample", 0, 3)
    dim = job.embedder.dim
    placed = _placed(job, layout)
    n_hills = int(placed.hills.max(initial=-1)) + 1
    centroids = centroids_of(((vectors, hills) for _, vectors, hills in _chunks(job, placed)), n_hills, dim)
    stages("sample", 1, 3)
    best = sample_all_clusters(_chunks(job, placed), centroids, MAX_SAMPLE)
    stages("sample", 2, 3)
    first = dict(zip(placed.vector_ids[::-1].tolist(), placed.seqs[::-1].tolist(), strict=True))
    seqs = [first[id] for ids in best for id in ids]
    by_seq = {one.seq: one.record.text for one in job.store.records.by_seq(seqs)}
    texts = [[by_seq[first[id]] for id in ids if first[id] in by_seq] for ids in best]
    return Sampled(placed=placed, centroids=centroids, texts=texts)


def _placed(job: SurveyJob, layout: LayoutInfo) -> Placed:
    """The rows on the map with their hills: the topics of the map, merged to a few."""
    numbers: list[int] = []
    parts: list[PositionRows] = []
    for batch in job.store.records.stream(job.survey.dataset_id, RecordState.INDEXED):
        part = job.store.layouts.placed_at(layout.id, [stored.seq for stored in batch])
        row_of = {stored.seq: stored.record.idx_in_iteration for stored in batch}
        numbers += [row_of[seq] for seq in part.seqs.tolist()]
        parts.append(part)
    vector_ids = np.concatenate([np.empty(0, np.int64), *(part.vector_ids for part in parts)])
    topics = np.concatenate([np.empty(0, np.int64), *(part.topics for part in parts)])
    return Placed(
        rows=np.array(numbers, np.int64),
        seqs=np.concatenate([np.empty(0, np.int64), *(part.seqs for part in parts)]),
        vector_ids=vector_ids,
        positions=np.concatenate([np.empty((0, 2), np.float32), *(part.positions for part in parts)]),
        hills=_hills(job, layout, vector_ids, topics),
    )


def _hills(
    job: SurveyJob, layout: LayoutInfo, vector_ids: NDArray[np.int64], topics: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The hill of each row, -1 for those without."""
    known = {topic.id: topic for topic in job.store.topics.of_layout(layout.id)}
    is_leaf = [id for id, topic in known.items() if topic.level == TOPIC_LEVEL and topic.state == "active"]
    rows_with = frequent_noise(vector_ids, np.where(np.isin(topics, is_leaf), topics, NO_TOPIC))
    ids, sizes = np.unique(rows_with[rows_with >= 0], return_counts=True)
    centroids = np.zeros((len(ids), job.embedder.dim), np.float32)
    for at, id in enumerate(ids.tolist()):
        if id in known:
            centroids[at] = known[id].centroid
        else:  # a text of its own
            centroids[at] = job.store.vectors.get(vector_ids[rows_with == id][:1], job.embedder.dim)[0]
    hills = merge_topics(centroids, sizes.tolist())
    return renumbered(rows_with, dict(zip(ids.tolist(), hills.tolist(), strict=True)))


def _chunks(job: SurveyJob, placed: Placed) -> Iterator[tuple[NDArray[np.int64], Vectors, NDArray[np.int64]]]:
    """The distinct vectors of the rows: ids, vectors and hills."""
    ids, first = np.unique(placed.vector_ids, return_index=True)
    hills = placed.hills[first]
    for start in range(0, len(ids), VECTORS):
        part = slice(start, start + VECTORS)
        yield ids[part], job.store.vectors.get(ids[part], job.embedder.dim), hills[part]


def _labelled(job: SurveyJob, sampled: Sampled, stages: Stages) -> Labels:
    stages("label", 0, len(sampled.texts))
    topics = job.settings.topics
    return label_hills(
        sampled.texts,
        sampled.centroids,
        embedder=job.embedder,
        chat=open_chat(topics),
        connections=topics.connections,
        progress=lambda done, total: stages("label", done, total),
    )


def _built(job: SurveyJob, sampled: Sampled, labels: Labels, stages: Stages) -> list[Hill]:
    """The hills, which are stored now."""
    stages("terrain", 0, 1)
    placed, grid_size = sampled.placed, job.settings.survey.grid_size
    names = [(one.name, one.description, one.source) for one in labels.names]
    samples = [[text[:SAMPLE_CHARS] for text in texts[:SAMPLES]] for texts in sampled.texts]
    hills = build_terrain(placed.positions, placed.hills, names, samples, grid_size)
    hill_of_row = np.full(int(job.survey.uploaded["rows"]), -1, np.int64)
    hill_of_row[placed.rows] = placed.hills
    terrain = {
        "hills": [asdict(hill) for hill in hills],
        "grid_size": grid_size,
        "height_scale": HEIGHT_SCALE,
        "noise": int((hill_of_row < 0).sum()),
        "label_failures": labels.n_failed,
    }
    retry_while_busy(
        lambda: job.store.surveys.complete(job.survey.dataset_id, terrain=terrain, hill_of_row=hill_of_row)
    )
    return hills


def _report(job: SurveyJob, labels: Labels, hills: list[Hill], stages: Stages) -> SurveyReport:
    metrics = metrics_of([hill.size for hill in hills])
    rows = int(job.survey.uploaded["rows"])
    sources = [hill.label_source for hill in hills]
    return SurveyReport(
        dataset=job.survey.dataset,
        rows=rows,
        hills=len(hills),
        noise=rows - sum(hill.size for hill in hills),
        gini=metrics.gini,
        flatness=metrics.flatness,
        labels={source: sources.count(source) for source in dict.fromkeys(sources)},
        label_failures=labels.n_failed,
        seconds={stage: round(seconds, 3) for stage, seconds in stages.seconds.items()},
    )
