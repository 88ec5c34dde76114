"""The records of the newest snapshot that filters choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.search.filters import Filters
from components.search.rows import accepted_rows
from components.snapshot.export import export
from components.snapshot.parts import read_columns
from components.snapshot.read import Snapshot
from components.store import Store
from components.views.map_file import MAX_BYTES, MapFile, map_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A snapshot, and which of its rows are chosen (rows,)."""

    snapshot: Snapshot
    rows: NDArray[np.bool_]

    def ids(self) -> Sequence[str]:
        """The ids of the chosen records, in the order of their rows."""
        ids = read_columns(self.snapshot.logs_files, ["id"])["id"].to_pylist()
        return [ids[row] for row in np.flatnonzero(self.rows).tolist()]

    def map_file(self, *, max_bytes: int = MAX_BYTES) -> MapFile:
        """The map with the chosen records as one HTML file that needs no network, redacted."""
        return map_file(self.snapshot, self.rows, max_bytes=max_bytes)

    def plain_files(self, to: Path) -> list[Path]:
        """`logs.parquet` and `embeddings.parquet` of the whole snapshot, in a folder."""
        return export(self.snapshot, to)


def select(store: Store, dataset_id: int | None, snapshot: Snapshot, filters: Filters | None) -> Selection:
    """The records that pass the filters; without any, all. Raises `NotFound` for a topic or snapshot that there is not."""
    if not filters or dataset_id is None:
        return Selection(snapshot=snapshot, rows=np.ones(snapshot.manifest.rows, np.bool_))
    return Selection(snapshot=snapshot, rows=accepted_rows(store, dataset_id, snapshot, filters))
