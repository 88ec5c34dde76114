"""Settings to objects: the one file that names implementations."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from components.contracts import Embedder, IndexReport, Progress, Projector, StepRunner
from components.credentials import Credentials
from components.datasets import find_dataset
from components.private import secure_home
from components.retry import retry_while_busy, run_directly
from components.settings import Settings
from components.store import Store
from components.store.lease import Fence

if TYPE_CHECKING:  # a command that only asks the store shall not wait for pyarrow and the readers of logs
    from components.index.steps import Indexing
    from components.load.run import Loading
    from components.publish.run import Publishing
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
        redact=settings.redacts(dataset),
    )


def open_embedder(settings: Settings, dataset: str) -> Embedder:
    """The embedding model of a dataset."""
    from components.embedders.model_uri import open_embedder as by_uri

    return by_uri(settings.model_of(dataset), settings.embed, settings.shared_cache)


def open_projector(settings: Settings) -> Projector:
    """What fits and refits maps."""
    from components.projector.umap_projector import open_projector as by_settings

    return by_settings(settings.project, settings.shared_cache)


def open_loading(
    settings: Settings,
    store: Store,
    dataset: str,
    *,
    sources: Sequence[str] = (),
    format: str | None = None,
    verify: bool = False,
) -> Loading:
    """One load of a dataset. Raises `NotFound` where the name is unknown and no sources are given."""
    from components.load.run import Loading

    if not sources:
        retry_while_busy(lambda: find_dataset(settings, store, dataset))
    return Loading(
        store,
        open_source(settings, dataset, format=format),
        dataset,
        settings.dataset(dataset),
        sources=sources,
        format=format,
        verify=verify,
        credentials=open_credentials(settings),
    )


def open_publishing(settings: Settings, store: Store, dataset: str, dataset_id: int, fence: Fence) -> Publishing:
    """Publication of a dataset, under a lease that is held."""
    from components.publish.run import Publishing

    return Publishing(
        store,
        fence,
        dataset=dataset,
        dataset_id=dataset_id,
        home=settings.home,
        output=settings.output / dataset,
        settings=settings.publish,
        extras=settings.dataset(dataset).extras,
    )


def open_indexing(
    settings: Settings,
    store: Store,
    dataset: str,
    *,
    recompute: bool = False,
    retry_failed: bool = False,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Indexing:
    """One index of a dataset; entering it takes the lease. Raises `NotFound` for an unknown dataset."""
    from components.index.steps import Indexing

    retry_while_busy(lambda: find_dataset(settings, store, dataset))
    return Indexing(
        store,
        open_embedder(settings, dataset),
        open_projector(settings),
        dataset,
        settings,
        owner=f"{socket.gethostname()}:{os.getpid()}",
        recompute=recompute,
        retry_failed=retry_failed,
        progress=progress,
        should_stop=should_stop,
    )


def run_index(
    settings: Settings,
    store: Store,
    dataset: str,
    *,
    recompute: bool = False,
    retry_failed: bool = False,
    run_step: StepRunner = run_directly,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> IndexReport:
    """Index a dataset. Raises `LeaseHeld` while another index of it runs, `NotFound` for an unknown dataset."""
    from components.index.run import run_index as run

    opened = open_indexing(
        settings,
        store,
        dataset,
        recompute=recompute,
        retry_failed=retry_failed,
        progress=progress,
        should_stop=should_stop,
    )
    return run(opened, run_step=run_step)
