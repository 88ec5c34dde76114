"""Facets and runs of the maps that were requested last: computed once a snapshot, from the store."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np

from api.map_data import MapData
from api.state import State
from components.store import Store
from components.views.facets import LISTED, Facet, Facets, by_value, coded, read_facets

max_in_memory = 2  # snapshots: at a million rows 100 MB each, where the logs have many fields


class FacetCache:
    """Facets by version of a map; safe to use from several threads."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._known: OrderedDict[tuple[str, str], Facets] = OrderedDict()
        self._reading = threading.Lock()

    def get(self, dataset: str, data: MapData) -> Facets:
        """The facets of the store's fields, and the runs. Raises `Problem` 503 while the database is unreachable."""
        key = (dataset, data.version)
        with self._reading:
            found = self._known.get(key)
            if found is None:
                found = self._read(dataset, data)
                self._known[key] = found
            self._known.move_to_end(key)
            while len(self._known) > max_in_memory:
                self._known.popitem(last=False)
        return found

    def all(self, dataset: str, data: MapData) -> list[Facet]:
        """All fields that a map's rows can be filtered by: the run, those of the store, the topic."""
        stored = self.get(dataset, data).fields
        n = len(LISTED)
        topics = by_value("topic", data.topic)
        return [coded("run", data.filename, data.filenames), *stored[:n], topics, *stored[n:]]

    def _read(self, dataset: str, data: MapData) -> Facets:
        number = self._state.dataset_id(dataset)

        def read(store: Store) -> Facets:
            batches = _batches(store, number, data) if number is not None else iter(())
            return read_facets(batches, data.filename, len(data.filenames), data.seconds)

        return self._state.with_store(read)


def _batches(store: Store, number: int, data: MapData) -> Iterator[tuple[Sequence[int], Sequence[str]]]:
    """Rows of the map and their extra fields as JSON."""
    for batch in store.records.stream_extras(number):
        rows = data.index.rows_of([id for id, _ in batch])
        here = np.flatnonzero(rows >= 0).tolist()
        yield rows[here].tolist(), [batch[at][1] for at in here]


def facets_json(facets: Sequence[Facet]) -> list[dict[str, Any]]:
    """The members of `facets.json`; `extra`: the filter is `extra=NAME=VALUE`."""
    own = {"run", "topic", *LISTED}
    return [
        {
            "name": facet.name,
            "extra": facet.name not in own,
            "url": f"facets/{quote(facet.name, safe='')}.bin",
            "values": [{"value": value, "count": n} for value, n in zip(facet.values, facet.counts, strict=True)],
            "others": facet.others,
            "missing": facet.missing,
        }
        for facet in facets
    ]
