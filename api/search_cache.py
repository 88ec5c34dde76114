"""The datasets that were searched last, opened: vectors in memory, the embedding model loaded."""

from __future__ import annotations

import threading
from collections import OrderedDict

from api.state import State
from components.contracts import Embedder
from components.dataset_settings import effective_settings
from components.search.opening import open_dataset
from components.search.search import Searched
from components.settings import Settings
from components.snapshot.read import open_snapshot
from components.store import Store
from components.wiring import open_embedder

max_open = 4  # datasets


class SearchCache:
    """Opened datasets by name, each at its newest snapshot; safe to use from several threads."""

    def __init__(self, settings: Settings, state: State) -> None:
        self._settings = settings
        self._state = state
        self._opened: OrderedDict[str, Searched] = OrderedDict()
        self._embedders: dict[str, Embedder] = {}  # by model
        self._opening = threading.Lock()
        self._loading = threading.Lock()

    @property
    def has_model(self) -> bool:
        """Is an embedding model open?"""
        return bool(self._embedders)

    def get(self, dataset: str) -> Searched:
        """The dataset at its newest snapshot. Raises `NotFound` before the first, `Problem` 404 for an unknown one."""
        self._state.dataset_id(dataset)
        with self._opening:
            return self._state.with_store(lambda store: self._get(store, dataset))

    def _get(self, store: Store, dataset: str) -> Searched:
        opened = self._opened.get(dataset)
        newest = open_snapshot(self._settings.output / dataset)
        if opened is None or opened.snapshot != newest:
            settings = effective_settings(self._settings, store)
            opened = self._opened[dataset] = open_dataset(
                store,
                store.datasets.id(dataset),
                output=settings.output / dataset,
                cache=settings.cache,
                open_embedder=lambda: self._embedder(settings, dataset),
                in_memory=True,
            )
        self._opened.move_to_end(dataset)
        while len(self._opened) > max_open:
            self._opened.popitem(last=False)
        return opened

    def _embedder(self, settings: Settings, dataset: str) -> Embedder:
        model = settings.model_of(dataset)
        with self._loading:  # datasets of one model share it
            if model not in self._embedders:
                self._embedders[model] = open_embedder(settings, dataset)
            return self._embedders[model]
