"""Remove a dataset: its rows, output, caches, uploaded file, and the vectors that no other dataset uses."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from components.atomic import remove_folder
from components.credentials import Credentials
from components.datasets import unknown_dataset
from components.errors import LeaseHeld, NotFound, OutputElsewhere, RunAtlasError
from components.locations import without_password
from components.retry import retry_while_busy
from components.settings import Settings
from components.store import Store, lease_name
from components.store.lease import Heartbeat
from components.store.tables import RecordState
from components.text import digest, prepared_text

logger = logging.getLogger(__name__)

UPLOADED: Final = ".csv"  # of an uploaded file, named after its dataset
ABANDONED_S: Final = 3_600.0  # an upload's file that no dataset has for so long belongs to one that was interrupted


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """What was removed. `vectors` is None while an index of another dataset runs: then a later clean-up deletes them."""

    dataset: str
    records: int
    vectors: int | None


def drop_dataset(settings: Settings, store: Store, dataset: str, *, credentials: Credentials) -> Dropped:
    """Remove a dataset with everything that is its own.

    What an interrupted removal left of it is removed as well. An uploaded dataset is removed also while its survey runs.
    Raises `NotFound`, `LeaseHeld` while it is loaded or indexed, `OutputElsewhere` where another home keeps its output.
    """
    settings.dataset(dataset)
    dataset_id = retry_while_busy(lambda: store.datasets.id(dataset))
    records = 0
    if dataset_id is None:
        if not any(_own_paths(settings, dataset)):
            raise NotFound(unknown_dataset(dataset, {*store.datasets.ids(), *settings.datasets}))
    else:
        records = _drop_rows(settings, store, dataset, dataset_id, credentials)
    for path in list(_own_paths(settings, dataset)):
        _remove(path)
    return Dropped(dataset=dataset, records=records, vectors=sweep(settings, store))


def _drop_rows(settings: Settings, store: Store, dataset: str, dataset_id: int, credentials: Credentials) -> int:
    is_upload = _is_upload(store, dataset)
    home = store.publications.home(dataset_id)
    has_output = (settings.output / dataset).exists()
    if home is not None and not has_output and not store.db.lies_in(settings.home):
        raise OutputElsewhere(f'The output of dataset "{dataset}" is kept by home {home.place}: drop it there.')
    if any(run.dataset == dataset for run in store.runs.active("load")):
        raise LeaseHeld(f"Dataset {dataset} is being loaded: wait for the end of the load, or stop it, then drop it.")
    name, acquire = lease_name(dataset), store.leases.take_over if is_upload else store.leases.acquire
    urls = store.datasets.sources(dataset_id)
    fence = retry_while_busy(lambda: acquire(name, "drop"))
    with Heartbeat(store.leases, fence):
        digests = set(_digests(settings, store, dataset, dataset_id))
        n = retry_while_busy(lambda: store.removal.drop(fence, dataset, dataset_id, digests))
    if is_upload:
        store.leases.forget(name)
    shared = {without_password(url) for id in store.datasets.ids().values() for url in store.datasets.sources(id)}
    with suppress(RunAtlasError):
        credentials.forget(set(map(without_password, urls)) - shared)
    return n


def _is_upload(store: Store, dataset: str) -> bool:
    try:
        store.surveys.get(dataset)
    except NotFound:
        return False
    return True


def _digests(settings: Settings, store: Store, dataset: str, dataset_id: int) -> Iterator[bytes]:
    text = settings.dataset(dataset).text
    for batch in store.records.stream(dataset_id, *RecordState):
        yield from (digest(prepared_text(stored.record, text)) for stored in batch)


def sweep(settings: Settings, store: Store) -> int | None:
    """Delete vectors of dropped datasets that no other one uses; None while an index runs, and it is to be repeated."""

    def pending() -> Iterator[bytes]:
        for dataset, dataset_id in store.datasets.ids().items():
            text = settings.dataset(dataset).text
            for batch in store.records.stream(dataset_id, RecordState.WAITING, RecordState.FAILED):
                yield from (digest(prepared_text(stored.record, text)) for stored in batch)

    return retry_while_busy(lambda: store.removal.sweep(pending))


# --- files


def uploaded_file(settings: Settings, dataset: str) -> Path:
    """The file of an uploaded dataset."""
    return settings.uploads / f"{dataset}{UPLOADED}"


def _own_paths(settings: Settings, dataset: str) -> Iterator[Path]:
    """What exists of a dataset on disk."""
    layout = re.compile(rf"{re.escape(dataset)}-\d+-\d{{20}}")
    layouts = settings.cache / "layouts"
    named = [path for path in layouts.iterdir() if layout.fullmatch(path.name)] if layouts.is_dir() else []
    caches = [settings.cache / kind / dataset for kind in ("map", "atlas", "search")]
    for path in (settings.output / dataset, *caches, *named, uploaded_file(settings, dataset)):
        if path.exists():
            yield path


def _remove(path: Path) -> None:
    if path.is_dir():
        remove_folder(path)
    else:
        path.unlink(missing_ok=True)


def remove_abandoned_files(settings: Settings, store: Store) -> int:
    """Delete uploaded files that no dataset has: of uploads and removals that were interrupted. Returns how many."""
    if not settings.uploads.is_dir():
        return 0
    known = {f"{survey.dataset}{UPLOADED}" for survey in store.surveys.all()}
    n = 0
    for path in settings.uploads.iterdir():
        with suppress(OSError):
            if path.name not in known and time.time() - path.stat().st_mtime > ABANDONED_S:
                path.unlink()
                n += 1
    return n
