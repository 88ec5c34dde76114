"""Ingest a corpus: choose its files, load and index them, and write what was asked for. The one path of every caller."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from components import wiring
from components.contracts import IndexReport, LoadReport, Locator, Problem, Progress, Record
from components.embedders.given import SCHEME, GivenVectors, open_given
from components.errors import BadSetting, ModelChanged, SourceError
from components.ingest.config import IngestConfig
from components.ingest.given_vectors import TakenVectors, given_dimension, take_vectors
from components.ingest.prepared import write_prepared
from components.ingest.vector_files import VectorSet, YearFiles, write_vector_files
from components.ingest.years import Chosen, choose, year_of
from components.locations import absolute
from components.retry import retry_while_busy
from components.settings import CorpusSettings, DatasetSettings, Settings, TextSettings
from components.store import lease_name
from components.store.lease import Heartbeat

if TYPE_CHECKING:  # which offers this as its method `ingest`
    from components.pipeline import Pipeline

KEY_COLUMN: Final = "key"  # of the output, so that the map shows it


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReport:
    """What an ingest did. `load` and `index` are None where only prepared texts were written."""

    dataset: str
    files: Sequence[str]
    left_out: Sequence[str]  # files that lie there and are no year, or hold no documents
    missing_years: Sequence[int]
    load: LoadReport | None
    vectors: TakenVectors | None  # that documents brought along
    index: IndexReport | None
    prepared: int | None  # rows of the file of prepared texts
    out: Sequence[YearFiles]
    seconds: float


class Steps(Protocol):
    """Runs the load and the index of an ingest: directly, or as an orchestrator shows them."""

    def load(self, sources: Sequence[str], dataset: str) -> LoadReport: ...

    def index(self, dataset: str, *, recompute: bool) -> IndexReport: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectSteps:
    """The steps of the Python API."""

    pipeline: Pipeline
    progress: Progress | None = None

    def load(self, sources: Sequence[str], dataset: str) -> LoadReport:
        """Loads these files."""
        return self.pipeline.load(sources, dataset, progress=self.progress)

    def index(self, dataset: str, *, recompute: bool) -> IndexReport:
        """Indexes what is pending."""
        return self.pipeline.index(dataset, recompute=recompute, progress=self.progress)


def ingest_corpus(
    pipeline: Pipeline, config: IngestConfig, *, progress: Progress | None = None, steps: Steps | None = None
) -> IngestReport:
    """Load and index the files of a corpus, and write its vectors to `config.out`; all of it resumes where it stopped.

    Raises `BadSetting` for options that can't be, `SourceError` where there is no file, `ModelChanged` where other
    vectors are asked for than those of the map.
    """
    began = time.monotonic()
    pipeline = _with_batch(pipeline, config)
    steps = steps or DirectSteps(pipeline=pipeline, progress=progress)
    chosen = _chosen(pipeline, config)
    own = _dataset(pipeline, config, chosen)
    prepared = load = index = taken = None
    out: list[YearFiles] = []
    if config.prep:
        prepared = _write_prepared(pipeline, config, own, chosen, progress)
    if not config.prep or config.out:
        _configure(pipeline, config, own)
        taken = _take_vectors(pipeline, config, own, chosen, progress)
        load = steps.load([one.location for one in chosen.files], config.dataset)
        index = steps.index(config.dataset, recompute=config.recompute)
        if config.out:
            out = export_vectors(pipeline, config)
    return IngestReport(
        dataset=config.dataset,
        files=[one.key for one in chosen.files],
        left_out=chosen.left_out,
        missing_years=chosen.missing_years,
        load=load,
        vectors=taken,
        index=index,
        prepared=prepared,
        out=out,
        seconds=round(time.monotonic() - began, 3),
    )


def export_vectors(pipeline: Pipeline, config: IngestConfig) -> list[YearFiles]:
    """Bring the files of an ingested dataset's vectors in `config.out` up to date."""
    assert config.out is not None
    dataset = config.dataset
    settings, dataset_id = pipeline.effective_settings(), pipeline.dataset_id(dataset)
    layout = retry_while_busy(lambda: pipeline.store.layouts.current(dataset_id))
    own = settings.dataset(dataset)
    if layout is None or own.corpus is None:
        return []
    identity, dim = retry_while_busy(lambda: pipeline.store.vectors.model(layout.model_id))
    which = VectorSet(
        dataset=dataset,
        dataset_id=dataset_id,
        model=settings.model_of(dataset),
        identity=identity,
        dim=dim,
        corpus=own.corpus,
        text=own.text,
    )
    return write_vector_files(pipeline.store, which, config.out.expanduser().absolute())


# --- files -------------------------------------------------------------------------------------------------------


def _chosen(pipeline: Pipeline, config: IngestConfig) -> Chosen:
    """The files to ingest. Raises `SourceError` where there is none."""
    if not config.sources:
        raise BadSetting("No source is given: name files or a folder, or use --input DIR.")
    if not all(map(str.strip, config.sources)):
        raise BadSetting("The name of a source is empty: is a variable unset? Name a file or a folder.")
    found = wiring.open_source(pipeline.settings, config.dataset).discover(config.sources)
    chosen = choose(found.locators, [absolute(spec) for spec in config.sources], config.years)
    if not chosen.files:
        raise SourceError(_nothing_found(config, found.locators, found.problems))
    return chosen


def _nothing_found(config: IngestConfig, found: Sequence[Locator], problems: Sequence[Problem]) -> str:
    if problems and not found:
        return " ".join(f"{problem.source}: {problem.reason}" for problem in problems)
    years = sorted({year for one in found if (year := year_of(one.key)) is not None})
    there = f"there are {years[0]} to {years[-1]}" if years else "no file there is named {YYYY}.json(l)(.gz)"
    wanted = f"No file of the years {config.years}" if config.years else "No file of documents"
    return f"{wanted} lies in {', '.join(config.sources)}: {there}."


# --- settings ----------------------------------------------------------------------------------------------------


def _with_batch(pipeline: Pipeline, config: IngestConfig) -> Pipeline:
    """The pipeline with the batch size that is asked for."""
    if config.batch is None:
        return pipeline
    embed = pipeline.settings.embed.model_copy(update={"batch_texts": config.batch})
    pipeline.settings = pipeline.settings.model_copy(update={"embed": embed})
    return pipeline


def _dataset(pipeline: Pipeline, config: IngestConfig, chosen: Chosen) -> DatasetSettings:
    """The dataset's settings as this ingest wants them.

    Raises `BadSetting` where the dataset holds other records, `ModelChanged` where the map has other vectors and no
    recompute is asked for.
    """
    settings = pipeline.effective_settings()
    before = settings.dataset(config.dataset)
    if before.corpus is None and _holds_records(pipeline, config.dataset):
        raise BadSetting(
            f"Dataset {config.dataset!r} holds records that were not ingested: name another one with --dataset (-d)."
        )
    corpus = config.corpus(before.corpus)
    roots = {one.root for one in chosen.files if one.root and one.location not in map(absolute, config.sources)}
    corpus = corpus.model_copy(update={"folders": tuple(sorted({*corpus.folders, *roots}))})
    text = _text_settings(config, before, corpus)
    extras = before.extras or (KEY_COLUMN,)
    own = before.model_copy(update={"corpus": corpus, "text": text, "extras": extras})
    own = own.model_copy(update={"model": _model(pipeline, config, own, chosen)})
    _expect_same_vectors(pipeline, config, settings, own)
    return own


def _model(pipeline: Pipeline, config: IngestConfig, own: DatasetSettings, chosen: Chosen) -> str | None:
    """The URI of the dataset's model; one that stands for given vectors has their name and dimension.

    Raises `BadSetting` where vectors are asked for and the first document has none.
    """
    assert own.corpus is not None
    column = own.corpus.vectors
    if not column:
        return config.model or own.model
    before = open_given(own.model) if own.model and own.model.startswith(f"{SCHEME}://") else None
    if before and config.model in {None, before.name, before.uri}:
        return before.uri  # a document with a vector of another dimension is then refused by name
    if config.model and config.model.startswith(f"{SCHEME}://"):
        return open_given(config.model).uri
    dim = given_dimension(_documents_with_vectors(pipeline, config, own, chosen), column)
    return GivenVectors(name=config.model or column, dim=dim).uri


def _holds_records(pipeline: Pipeline, dataset: str) -> bool:
    status = retry_while_busy(pipeline.store.status).get(dataset)
    return status is not None and status.records > 0


def _text_settings(config: IngestConfig, before: DatasetSettings, corpus: CorpusSettings) -> TextSettings:
    """Prefix and suffix stand before and behind the joined fields, set apart by the same delimiter."""
    old = before.corpus.delimiter if before.corpus else ""
    prefix = before.text.prefix.removesuffix(old) if config.prefix is None else config.prefix
    suffix = before.text.suffix.removeprefix(old) if config.suffix is None else config.suffix
    return before.text.model_copy(
        update={
            "fields": ("text",),
            "prefix": prefix and prefix + corpus.delimiter,
            "suffix": suffix and corpus.delimiter + suffix,
            **({} if config.lowercase is None else {"lowercase": config.lowercase}),
            **({} if config.truncate is None else {"truncate": config.truncate}),
        }
    )


def _expect_same_vectors(pipeline: Pipeline, config: IngestConfig, settings: Settings, own: DatasetSettings) -> None:
    """Raises `ModelChanged` before anything is changed, if the map would have to be rebuilt and that was not asked for."""
    dataset = config.dataset
    before = settings.dataset(dataset)
    has_map = (status := retry_while_busy(pipeline.store.status).get(dataset)) is not None and status.layout is not None
    other = [name for name in ("model", "text") if getattr(own, name) != getattr(before, name)]
    if not has_map or not other or config.recompute:
        return
    what = " and ".join(
        {"model": "another model", "text": "another prefix, suffix or text setting"}[one] for one in other
    )
    raise ModelChanged(
        f'The map of dataset "{dataset}" was made with {what}, so all its vectors would change. Add --recompute to rebuild '
        "it (the old one stays published until then), or ingest into another dataset with -d."
    )


def _configure(pipeline: Pipeline, config: IngestConfig, own: DatasetSettings) -> None:
    """Store what differs from the dataset's settings as they are."""
    wanted = _flat(own)
    present = _flat(pipeline.effective_settings().dataset(config.dataset))
    if changes := {name: value for name, value in wanted.items() if value != present[name]}:
        pipeline.configure(config.dataset, **changes)


def _flat(own: DatasetSettings) -> dict[str, Any]:
    dumped = own.model_dump(mode="json")
    text = {f"text.{name}": value for name, value in dumped["text"].items()}
    return {name: dumped[name] for name in ("corpus", "model", "extras")} | text


# --- given vectors -----------------------------------------------------------------------------------------------


def _take_vectors(
    pipeline: Pipeline, config: IngestConfig, own: DatasetSettings, chosen: Chosen, progress: Progress | None
) -> TakenVectors | None:
    """Store the vectors that documents bring, before the documents: no index finds one of these without a vector."""
    if own.corpus is None or not own.corpus.vectors or own.model is None:
        return None
    store, report = pipeline.store, progress or (lambda *_: None)
    fence = retry_while_busy(lambda: store.leases.acquire(lease_name(config.dataset), "ingest of vectors"))
    with Heartbeat(store.leases, fence):
        return take_vectors(
            store,
            fence,
            _documents_with_vectors(pipeline, config, own, chosen),
            own.corpus.vectors,
            open_given(own.model),
            own.text,
            lambda n: report("vectors", n, 0),
        )


def _documents_with_vectors(
    pipeline: Pipeline, config: IngestConfig, own: DatasetSettings, chosen: Chosen
) -> Iterator[Sequence[Record]]:
    """The documents with their vectors, which are not kept beside the texts; what can't be read, the load reports."""
    assert own.corpus is not None
    keep = tuple(dict.fromkeys((*own.corpus.keep, own.corpus.vectors)))
    own = own.model_copy(update={"corpus": own.corpus.model_copy(update={"keep": keep})})
    settings = pipeline.effective_settings()
    source = wiring.open_source(
        settings.model_copy(update={"datasets": {**settings.datasets, config.dataset: own}}), config.dataset
    )
    for locator in chosen.files:
        with suppress(SourceError):
            for batch in source.read(locator, None):
                yield batch.records


# --- prepared texts ----------------------------------------------------------------------------------------------


def _write_prepared(
    pipeline: Pipeline, config: IngestConfig, own: DatasetSettings, chosen: Chosen, progress: Progress | None
) -> int:
    """Write what would be embedded; nothing is stored."""
    assert config.prep is not None
    settings = pipeline.effective_settings()
    settings = settings.model_copy(update={"datasets": {**settings.datasets, config.dataset: own}})
    source = wiring.open_source(settings, config.dataset)

    def batches() -> Iterator[Sequence[Record]]:
        for locator in chosen.files:
            for batch in source.read(locator, None):
                yield batch.records

    report: Callable[[int], None] = (lambda n: progress("prepare", n, 0)) if progress else (lambda _: None)
    return write_prepared(batches(), own.text, config.prep.expanduser().absolute(), report)
