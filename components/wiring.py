"""Settings to objects: the one file that names implementations."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contracts import Embedder, IndexReport, LoadReport, Progress, Projector, StepRunner
from components.credentials import Credentials
from components.dataset_settings import effective_settings
from components.datasets import find_dataset
from components.errors import NotFound
from components.private import secure_home
from components.redact import Redactor
from components.removal import uploaded_file
from components.retry import retry_while_busy, run_directly
from components.settings import EmbedSettings, Settings
from components.sources.records import RecordMaker, zone_named
from components.store import Store, lease_name
from components.store.index_requests import IndexRequest
from components.store.lease import Fence, Heartbeat
from components.survey.run import SurveyJob, SurveyReport
from components.survey.run import run_survey as make_terrain
from components.topics.chat import open_chat
from components.topics.clusters import USUAL, Density

if TYPE_CHECKING:  # a command that only asks the store shall not wait for pyarrow and the readers of logs
    from components.compare.opening import OpenedDataset
    from components.index.batches import EmbedBatch, EmbedOutcome
    from components.index.cluster import Cluster
    from components.search.search import Hit
    from components.sources.files import FileSource


def open_store(settings: Settings) -> Store:
    """The state, its schema up to date."""
    secure_home(settings)
    return Store(
        settings.database,
        lease_ttl_s=settings.lease.ttl_s,
        private=settings.private_files,
        keep_credentials=open_credentials(settings).keep,
    )


def open_credentials(settings: Settings) -> Credentials:
    """The passwords of source URLs."""
    configured = (spec for dataset in settings.datasets.values() for spec in dataset.sources)
    return Credentials(settings.home.absolute() / "credentials.json", configured)


def open_source(settings: Settings, dataset: str, *, format: str | None = None) -> FileSource:
    """What reads the sources of a dataset."""
    from components.sources.files import FileSource

    chosen = settings.dataset(dataset)
    return FileSource(
        settings.load,
        timezone=chosen.timezone,
        history=chosen.history,
        columns=chosen.columns,
        format=format or chosen.format,
        corpus=chosen.corpus,
        redact=settings.redacts(dataset),
    )


def open_maker(settings: Settings, dataset: str, source: str) -> RecordMaker:
    """What makes records of the items that this source of a dataset has."""
    return RecordMaker(
        key=source,
        zone=zone_named(settings.dataset(dataset).timezone),
        max_text_chars=settings.load.max_text_chars,
        redactor=Redactor() if settings.redacts(dataset) else None,
    )


def open_embedder(settings: Settings, dataset: str) -> Embedder:
    """The embedding model of a dataset."""
    return _embedder(settings.model_of(dataset), settings.embed, settings.shared_cache)


def open_model(settings: Settings, uri: str) -> Embedder:
    """The embedding model that a URI names."""
    return _embedder(uri, settings.embed, settings.shared_cache)


def open_projector(settings: Settings) -> Projector:
    """What fits and refits maps."""
    from components.projector.umap_projector import open_projector as by_settings

    return by_settings(settings.project, settings.shared_cache)


def run_load(
    settings: Settings,
    store: Store,
    dataset: str,
    *,
    sources: Sequence[str] = (),
    format: str | None = None,
    verify: bool = False,
    run_step: StepRunner = run_directly,
    progress: Progress | None = None,
) -> LoadReport:
    """Load a dataset's sources, or the given ones."""
    from components.load import context, run

    own = settings.dataset(dataset)
    load = context.LoadContext(
        store=store,
        source=open_source(settings, dataset, format=format),
        dataset=dataset,
        settings=own,
        credentials=open_credentials(settings),
        given=tuple(sources),
        format=format or own.format or "",
        verify=verify,
    )
    return run.run_load(load, run_step=run_step, progress=progress)


def publish(settings: Settings, store: Store, dataset: str, dataset_id: int, *, adopt: bool) -> int | None:
    """Finish what is to be published of a dataset; the newest snapshot's number, None before the first.

    Raises `LeaseHeld` while an index of it runs.
    """
    from components.publish.run import Publishing

    fence = store.leases.acquire(lease_name(dataset), "publish")
    with Heartbeat(store.leases, fence):
        publishing = Publishing(
            store,
            fence,
            dataset=dataset,
            dataset_id=dataset_id,
            home=settings.home,
            output=settings.output / dataset,
            settings=settings.publish,
            extras=settings.dataset(dataset).extras,
        )
        retry_while_busy(lambda: publishing.claim(adopt=adopt))
        retry_while_busy(lambda: publishing.finish(thorough=True))
    newest = store.publications.newest(dataset_id)
    return newest.no if newest else None


def run_index(
    settings: Settings,
    store: Store,
    dataset: str,
    requested: IndexRequest,
    *,
    run_step: StepRunner = run_directly,
    cluster: Cluster | None = None,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
    embedder: Embedder | None = None,
) -> IndexReport:
    """Index a dataset. Raises `LeaseHeld` while another index of it runs."""
    from components.index import context, run

    survey = settings.survey
    is_upload = dataset not in store.datasets.ids() and store.datasets.id(dataset) is not None
    inputs = context.IndexInputs(
        store=store,
        embedder=embedder or open_embedder(settings, dataset),
        density=Density(radius=survey.eps, min_samples=survey.min_samples) if is_upload else USUAL,
        projector=open_projector(settings),
        settings=settings,
        dataset=dataset,
        owner=_owner(),
        requested=requested,
        chat=open_chat(settings.topics),
        cluster=cluster,
        listener=progress,
        should_stop=should_stop,
    )
    return run.run_index(inputs, run_step=run_step)


def run_survey(
    settings: Settings,
    store: Store,
    dataset: str,
    *,
    run_step: StepRunner = run_directly,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> SurveyReport:
    """Make the terrain of an uploaded dataset. Raises `LeaseHeld` while another run makes it."""
    embedder = open_embedder(settings, dataset)
    # of an upload only the hills are named by a language model, not the topics that they are made of
    without_model = settings.model_copy(update={"topics": settings.topics.model_copy(update={"model": ""})})

    def index(progress: Progress) -> IndexReport:
        requested = IndexRequest()
        return run_index(
            without_model, store, dataset, requested, run_step=run_step, progress=progress, embedder=embedder
        )

    job = SurveyJob(
        store=store,
        embedder=embedder,
        settings=settings,
        survey=store.surveys.get(dataset),
        file=uploaded_file(settings, dataset),
        owner=_owner(),
        index=index,
        progress=progress,
        should_stop=should_stop,
    )
    return make_terrain(job, run_step)


def _owner() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def search(settings: Settings, store: Store, dataset: str, **query: Any) -> list[Hit]:
    """Search the newest snapshot of a dataset; `query` are the fields of `components.search.search.Query`.

    Raises what `components.search.search.search` raises, and `NotFound` before the first index.
    """
    from components.search import opening, search

    wanted = search.Query(**query)
    search.check(wanted)
    dataset_id = find_dataset(settings, store, dataset)
    return search.search(
        opening.open_dataset(
            store,
            dataset_id,
            output=settings.output / dataset,
            cache=settings.cache,
            open_embedder=lambda: open_embedder(settings, dataset),
        ),
        wanted,
    )


def open_comparison(settings: Settings, store: Store, dataset: str) -> OpenedDataset:
    """The newest snapshot of a dataset, ready to be compared. Raises `NotFound` before the first index."""
    from components.compare import opening

    dataset_id = find_dataset(settings, store, dataset)
    return opening.open_dataset(store, dataset_id, output=settings.output / dataset, cache=settings.cache)


def embed_batch(
    settings: Settings, dataset: str, fence_token: int, batch: EmbedBatch, *, is_last_try: bool = False
) -> EmbedOutcome:
    """Embed a batch for an index that runs in another process or on another machine.

    `fence_token` is the token of that index's lease. Raises `LeaseLost` once that has ended, and what
    `components.index.embed.embed_batch` raises.
    """
    from components.index import context, embed

    with closing(open_store(settings)) as store:
        settings = effective_settings(settings, store)
        dataset_id = find_dataset(settings, store, dataset)
        if dataset_id is None:
            raise NotFound(f"Nothing was loaded into dataset {dataset!r} yet: `runatlas load SOURCE -d {dataset}`.")
        target = context.open_target(
            store,
            _kept_embedder(settings.model_of(dataset), settings.embed.model_dump_json(), settings.shared_cache),
            settings.dataset(dataset).text,
            dataset_id,
            Fence(db=store.db, name=lease_name(dataset), token=fence_token),
        )
        return embed.embed_batch(target, batch, is_last_try=is_last_try)


@cache
def _kept_embedder(uri: str, embed_settings: str, folder: Path) -> Embedder:
    """The embedder of this process for many batches; its settings are given as JSON."""
    return _embedder(uri, EmbedSettings.model_validate_json(embed_settings), folder)


def _embedder(uri: str, settings: EmbedSettings, folder: Path) -> Embedder:
    from components.embedders.model_uri import open_embedder as by_uri

    return by_uri(uri, settings, folder)
