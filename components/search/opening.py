"""Open the newest snapshot of a dataset to search it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from components.contracts import Embedder
from components.search.lists import open_vectors, search_cache
from components.search.row_ids import open_ids
from components.search.search import Searched
from components.snapshot.read import open_snapshot
from components.store import Store


def open_dataset(
    store: Store,
    dataset_id: int | None,
    *,
    output: Path,
    cache: Path,
    open_embedder: Callable[[], Embedder],
    in_memory: bool = False,
) -> Searched:
    """The newest snapshot in `output`; unpacked vectors are kept below `cache`. `in_memory`: for many searches.

    Raises `NotFound` before the first snapshot.
    """
    snapshot, folder = open_snapshot(output), search_cache(cache, output)
    assert dataset_id is not None  # what is published was loaded
    return Searched(
        store=store,
        dataset_id=dataset_id,
        snapshot=snapshot,
        ids=open_ids(snapshot, folder),
        vectors=open_vectors(snapshot, folder, in_memory=in_memory),
        open_embedder=open_embedder,
    )
