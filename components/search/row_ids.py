"""The record ids of a snapshot's rows, memory-mapped: reading them all takes longer than most searches."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.atomic import atomic_write, disk_errors
from components.search.vectors import Rows, by_part
from components.snapshot.parts import Part, read_columns
from components.snapshot.read import Snapshot

id_type = np.dtype("S32")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowIds:
    """The ids of all rows, part by part."""

    parts: Sequence[NDArray[np.bytes_]]

    def at(self, rows: Rows) -> list[str]:
        """The ids of these rows."""
        found = np.empty(len(rows), id_type)
        for number, here, inside in by_part(rows, [len(part) for part in self.parts]):
            found[here] = self.parts[number][inside]
        return [id.decode() for id in found.tolist()]

    def of(self, accepted: NDArray[np.bool_]) -> NDArray[np.bytes_]:
        """The ids of the accepted rows (rows,)."""
        whole = np.concatenate([np.empty(0, id_type), *self.parts])
        return whole[accepted]


def open_ids(snapshot: Snapshot, cache: Path) -> RowIds:
    """The ids of a snapshot; `cache` is the folder of their files. Raises `DiskFailed` if a part can't be read."""
    parts = list(zip(snapshot.logs_files, snapshot.manifest.of("logs"), strict=True))
    ids = RowIds(parts=[_part_ids(file, cache, part) for file, part in parts])
    used = {_ids_file(cache, part) for _, part in parts}
    for path in cache.glob("*.ids"):
        if path not in used:
            with suppress(OSError):
                path.unlink()
    return ids


def _ids_file(cache: Path, part: Part) -> Path:
    return cache / f"{part.file_name}.ids"


def _part_ids(file: Path, cache: Path, part: Part) -> NDArray[np.bytes_]:
    if not part.rows:
        return np.empty(0, id_type)
    target = _ids_file(cache, part)
    with disk_errors(target):
        if not target.exists() or target.stat().st_size != part.rows * id_type.itemsize:
            ids = read_columns([file], ["id"])["id"].to_numpy().astype(id_type)
            with atomic_write(target) as aside:
                aside.write_bytes(ids.tobytes())
        return np.memmap(target, id_type, "r", shape=(part.rows,))
