"""Open the newest snapshot of a dataset to search it."""

from __future__ import annotations

from pathlib import Path

from components.contracts import Embedder
from components.search.search import Searched
from components.search.vectors import open_vectors
from components.snapshot.parts import read_columns
from components.snapshot.read import open_snapshot
from components.store import Store


def open_dataset(
    store: Store, dataset_id: int | None, *, output: Path, cache: Path, embedder: Embedder, in_memory: bool = False
) -> Searched:
    """The newest snapshot in `output`; unpacked vectors are kept below `cache`. `in_memory`: for many searches.

    Raises `NotFound` before the first snapshot.
    """
    snapshot = open_snapshot(output)
    assert dataset_id is not None  # what is published was loaded
    return Searched(
        store=store,
        dataset_id=dataset_id,
        snapshot=snapshot,
        ids=read_columns(snapshot.logs_files, ["id"])["id"].to_numpy().astype("S32"),
        vectors=open_vectors(snapshot, cache / "search" / output.name, in_memory=in_memory),
        embedder=embedder,
    )
