"""The vectors of a snapshot in the order of its rows, and the rows that are nearest to one.

Parquet packs vectors tightly and reads them slowly. So each part is unpacked once into the cache, as float16, which is what
its values are rounded to, and memory-mapped from there. Parts never change, so neither do these files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.atomic import atomic_write, disk_errors
from components.contracts import Vectors
from components.neighbors.cores import on_all_cores
from components.snapshot.parts import read_row_groups, vectors_of
from components.snapshot.read import Snapshot

Rows = NDArray[np.int64]
f16 = np.dtype("<f2")
chunk_rows = 16_384  # scored at once, on each core
in_memory_rows = 131_072  # of a snapshot, that a long-lived process keeps as float32


@dataclass(frozen=True, slots=True, kw_only=True)
class RowVectors:
    """The vectors of all rows (rows, dim), part by part; as float32 if they are kept in memory."""

    parts: Sequence[NDArray[Any]]
    dim: int

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def scores(self, queries: Vectors) -> NDArray[np.float32]:
        """Cosine similarities of all rows to the queries (n, dim), which are of unit length: (rows, n)."""
        if all(part.dtype == np.float32 for part in self.parts):
            found = [part @ queries.T for part in self.parts]
            return np.concatenate([np.empty((0, len(queries)), np.float32), *found])
        found = list(on_all_cores(lambda chunk: chunk.astype(np.float32, copy=False) @ queries.T, self._chunks()))
        return np.concatenate([np.empty((0, len(queries)), np.float32), *found])

    def at(self, rows: Rows) -> NDArray[np.float16]:
        """The vectors of these rows (n, dim), as they are published."""
        bounds = np.cumsum([0, *map(len, self.parts)])
        part = np.searchsorted(bounds, rows, side="right") - 1
        found = np.empty((len(rows), self.dim), f16)
        for number in np.unique(part).tolist():
            here = part == number
            found[here] = self.parts[number][rows[here] - bounds[number]]
        return found

    def _chunks(self) -> Iterator[NDArray[Any]]:
        for part in self.parts:
            for start in range(0, len(part), chunk_rows):
                yield part[start : start + chunk_rows]


def open_vectors(snapshot: Snapshot, cache: Path, *, in_memory: bool = False) -> RowVectors:
    """The vectors of a snapshot; `cache` is a folder for unpacked parts. `in_memory`: for many searches, if they fit.

    Raises `DiskFailed` if a part can't be read or unpacked.
    """
    dim = snapshot.manifest.dim
    embeddings = snapshot.manifest.of("embeddings")
    parts: list[NDArray[Any]] = [
        _unpacked(file, cache / f"{part.file_name}.f16", (part.rows, dim))
        for file, part in zip(snapshot.embeddings_files, embeddings, strict=True)
    ]
    _remove_unused(cache, {f"{part.file_name}.f16" for part in embeddings})
    if in_memory and snapshot.manifest.rows <= in_memory_rows:
        parts = [np.asarray(part, np.float32) for part in parts]
    return RowVectors(parts=parts, dim=dim)


def _remove_unused(cache: Path, used: set[str]) -> None:
    """Delete unpacked parts of earlier snapshots; whoever has one mapped keeps it."""
    for path in cache.glob("*.f16") if cache.is_dir() else ():
        if path.name not in used:
            with suppress(OSError):
                path.unlink()


def _unpacked(file: Path, target: Path, shape: tuple[int, int]) -> NDArray[np.float16]:
    """The vectors of a part (rows, dim), memory-mapped; unpacked first unless they are there completely."""
    n_bytes = shape[0] * shape[1] * f16.itemsize
    if not n_bytes:
        return np.empty(shape, f16)
    with disk_errors(target):
        if not target.exists() or target.stat().st_size != n_bytes:
            with atomic_write(target) as aside, aside.open("wb") as out:
                for table in read_row_groups(file, ["vector"]):
                    out.write(vectors_of(table).astype(f16).tobytes())
        return np.memmap(target, f16, "r", shape=shape)
