"""The store as requests use it: opened at the first use, each failure raised as a problem."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from api.problems import Problem
from components.datasets import find_dataset, sources_of
from components.errors import BadQuery, BadSetting, BadUpload, Cancelled, NotFound, RunAtlasError, SchemaTooNew
from components.record_details import record_details
from components.redact import public_text
from components.settings import Settings
from components.surveys import NotCompleted
from components.wiring import open_store

if TYPE_CHECKING:
    from components.store import DatasetStatus, Store

T = TypeVar("T")


class State:
    """The store of these settings; safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._store: Store | None = None
        self._opening = threading.Lock()

    def with_store(self, call: Callable[[Store], T]) -> T:
        """What `call` returns for the store. Raises `Problem` 503 if the database fails."""
        try:
            return call(self._opened())
        except (BadQuery, BadUpload, Cancelled, NotCompleted, NotFound, SchemaTooNew):
            raise
        except (RunAtlasError, SQLAlchemyError, OSError) as error:
            raise _unreachable(error) from error

    def status(self) -> dict[str, DatasetStatus]:
        """Name -> the dataset's numbers."""
        return self.with_store(lambda store: store.status())

    def dataset_id(self, name: str) -> int | None:
        """The store's number of a dataset; None for one that is only configured. Raises `Problem` 404 on an unknown one."""
        with _unusable_is_unknown(name):
            self.settings.dataset(name)
        try:
            return self.with_store(lambda store: find_dataset(self.settings, store, name))
        except NotFound as error:
            raise Problem(404, "unknown-dataset", str(error)) from error

    def record(self, dataset: str, name: str) -> dict[str, Any]:
        """One record by id or key, as JSON. Raises `Problem` 404."""
        number = self.dataset_id(dataset)
        found = None if number is None else self.with_store(lambda store: record_details(store, number, name))
        if found is None:
            raise Problem(404, "unknown-record", f"Dataset {dataset!r} has no record {name!r}.")
        return {**found, "dataset": dataset}

    def sources(self, dataset: str) -> tuple[str, ...]:
        """The dataset's sources, without passwords: configured ones, and those of earlier loads."""
        number = self.dataset_id(dataset)
        return self.with_store(lambda store: sources_of(self.settings.dataset(dataset).sources, store, number))

    def output(self, dataset: str) -> Path:
        """The folder that the dataset is published in. Raises `Problem` 404 on an unknown dataset."""
        with _unusable_is_unknown(dataset):
            self.settings.dataset(dataset)
        output = self.settings.output / dataset
        if not output.is_dir():
            self.dataset_id(dataset)
        return output

    def close(self) -> None:
        """Closes the store, if it was opened."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _opened(self) -> Store:
        with self._opening:
            if self._store is None:
                self._store = open_store(self.settings)
            return self._store


@contextmanager
def _unusable_is_unknown(name: str) -> Iterator[None]:
    """A name that is not valid for a dataset is answered like an unknown one."""
    try:
        yield
    except BadSetting as error:
        raise Problem(404, "unknown-dataset", f"There is no dataset {name!r}. {error}") from error


def _unreachable(error: Exception) -> Problem:
    reason = public_text(str(error).splitlines()[0]) if isinstance(error, RunAtlasError) else type(error).__name__
    remedy = "Run `runatlas doctor`." if isinstance(error, BadSetting) else "Is it running? Try again in a moment."
    detail = f"The database does not answer: {reason} {remedy}"
    return Problem(503, "database-unreachable", detail, headers={"Retry-After": "5"})
