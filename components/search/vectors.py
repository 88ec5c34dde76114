"""The vectors of a snapshot in the order of its rows, and the rows that are nearest to one: by comparing all of them.

Parquet packs vectors tightly and reads them slowly. So each part is unpacked once into the cache, as float16, which is what
its values are rounded to, and memory-mapped from there. Parts never change, so neither do these files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from components.atomic import atomic_write, disk_errors
from components.contracts import UNIT_TOLERANCE, Vectors
from components.neighbors.cores import on_all_cores
from components.snapshot.parts import Part, read_row_groups, vectors_of
from components.snapshot.read import Snapshot

Rows = NDArray[np.int64]
Accepted = NDArray[np.bool_] | None  # which rows may be found (rows,), None for all of them
Digests = NDArray[np.uint64]
f16 = np.dtype("<f2")
chunk_rows = 16_384  # scored at once, on each core
in_memory_rows = 131_072  # of a snapshot, that a long-lived process keeps as float32
first_rows = 256  # best rows among which distinct vectors are looked for first
same_score = 1e-5  # by which scores of equal vectors may differ: sums in another order


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The first row of each of the best distinct vectors (n,), best first, and their cosine similarities (n,).

    `compared` are the similarities of all rows (rows,), if all were compared; -inf for rows that are not accepted.
    """

    rows: Rows
    scores: NDArray[np.float32]
    compared: NDArray[np.float32] | None = None


class SearchVectors(Protocol):
    """The vectors of a snapshot, ready to be searched."""

    @property
    def dim(self) -> int: ...

    def __len__(self) -> int: ...

    def at(self, rows: Rows) -> NDArray[np.float16]:
        """The vectors of these rows (n, dim), as they are published."""
        ...

    def best(self, direction: NDArray[np.float32], n: int, accepted: Accepted) -> Best:
        """The n distinct vectors most similar to a direction (dim,) of unit length."""
        ...

    def equal_rows(
        self, wanted: Vectors, accepted: Accepted, direction: NDArray[np.float32] | None, best: Best | None
    ) -> list[Rows]:
        """The accepted rows that have each of these vectors (n, dim); `best` was found in that direction."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RowVectors:
    """The vectors of all rows (rows, dim), part by part; as float32 if they are kept in memory."""

    parts: Sequence[NDArray[Any]]
    dim: int

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def scores(self, queries: Vectors) -> NDArray[np.float32]:
        """Cosine similarities of all rows to the queries (n, dim), which are of unit length: (rows, n)."""
        found = list(on_all_cores(lambda chunk: similarities(chunk, queries), self._chunks()))
        return np.concatenate([np.empty((0, len(queries)), np.float32), *found])

    def at(self, rows: Rows) -> NDArray[np.float16]:
        """The vectors of these rows (n, dim), as they are published."""
        found = np.empty((len(rows), self.dim), f16)
        for number, here, inside in by_part(rows, [len(part) for part in self.parts]):
            found[here] = self.parts[number][inside]
        return found

    def best(self, direction: NDArray[np.float32], n: int, accepted: Accepted) -> Best:
        """The n distinct vectors most similar to a direction, by comparing all."""
        scores = self.scores(direction[None, :])[:, 0]
        if accepted is not None:
            scores[~accepted] = -np.inf
        rows = np.flatnonzero(np.isfinite(scores))
        chosen = distinct(self.at, rows, scores[rows], n)
        return Best(rows=chosen, scores=scores[chosen], compared=scores)

    def equal_rows(
        self, wanted: Vectors, accepted: Accepted, direction: NDArray[np.float32] | None, best: Best | None
    ) -> list[Rows]:
        """The accepted rows that have each of these vectors.

        Equal vectors have equal scores in any direction, so only rows of about that score are compared; without a
        comparison at hand, each vector is compared with all rows.
        """
        if best is not None and best.compared is not None and direction is not None:
            compared = best.compared
            near = [np.flatnonzero(np.abs(compared - score) <= same_score) for score in wanted @ direction]
        else:
            scores = self.scores(wanted)
            if accepted is not None:
                scores[~accepted] = -np.inf
            near = [np.flatnonzero(scores[:, at] >= 1.0 - 3 * UNIT_TOLERANCE) for at in range(len(wanted))]
        return [
            rows[(self.at(rows) == vector).all(axis=1)] for rows, vector in zip(near, wanted.astype(f16), strict=True)
        ]

    def _chunks(self) -> Iterator[NDArray[Any]]:
        for part in self.parts:
            for start in range(0, len(part), chunk_rows):
                yield part[start : start + chunk_rows]


def floats(vectors: NDArray[Any]) -> Vectors:
    """Vectors (n, dim) as float32. Finite float16 values are converted exactly, four times as fast as by `astype`.

    The bits of a float16 are moved to their places in a float32, whose exponent is then too small by 112.

    >>> floats(np.array([[1.5, -6e-8, 0.0]], np.float16)).tolist() == [[1.5, -(2.0**-24), 0.0]]
    True
    """
    if vectors.dtype != f16:
        return np.asarray(vectors, np.float32)
    bits = np.ascontiguousarray(vectors).view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= np.int32(-0x70002000)  # the sign, and exponent and fraction without the copies of the sign before them
    wide = bits.view(np.float32)
    wide *= np.float32(2.0**112)
    return wide


def similarities(vectors: NDArray[Any], queries: Vectors) -> NDArray[np.float32]:
    """Products of vectors (n, dim), of float16 or float32, with queries (m, dim): (n, m).

    One query is not left to BLAS, whose threads take longer to wake than to compute.
    """
    wide = floats(vectors)
    return np.vecdot(wide, queries[0])[:, None] if len(queries) == 1 else wide @ queries.T


def digests_of(vectors: NDArray[np.float16]) -> Digests:
    """A digest of each vector (n,): equal ones have the same, and to others they look random."""
    weights = np.random.default_rng(0).integers(1, 2**63, vectors.shape[1], np.uint64) * np.uint64(2) + np.uint64(1)
    digests = np.ascontiguousarray(vectors).view(np.uint16).astype(np.uint64) @ weights
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # splitmix64, Steele et al. 2014
        digests = (digests ^ (digests >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray(digests ^ (digests >> np.uint64(31)), np.uint64)


def by_part(rows: Rows, lengths: Sequence[int]) -> Iterator[tuple[int, NDArray[np.bool_], Rows]]:
    """The number of each part that holds some of these rows, which of them, and their places within the part."""
    bounds = np.cumsum([0, *lengths])
    part = np.searchsorted(bounds, rows, side="right") - 1
    for number in np.flatnonzero(np.bincount(part)).tolist():
        here = part == number
        yield number, here, rows[here] - bounds[number]


def distinct(at: Callable[[Rows], NDArray[np.float16]], rows: Rows, scores: NDArray[np.float32], n: int) -> Rows:
    """Of rows (m,) with these scores the first of each of the n best distinct vectors, best first, equal ones by row."""
    m = max(first_rows, 2 * n)
    while True:
        best = rows[_largest(scores, m)]
        _, first = np.unique(digests_of(at(best)), return_index=True)
        if len(first) >= n or len(best) == len(rows):
            break
        m *= 8
    return best[np.sort(first)[:n]]


def _largest(scores: NDArray[np.float32], n: int) -> Rows:
    """Where the n largest scores are, largest first, equal ones by place."""
    chosen = np.sort(np.argpartition(scores, -n)[-n:]) if n < len(scores) else np.arange(len(scores))
    return chosen[np.argsort(-scores[chosen], kind="stable")]


# --- opening


def open_rows(snapshot: Snapshot, cache: Path, *, in_memory: bool = False) -> RowVectors:
    """The vectors of a snapshot; `cache` is a folder for unpacked parts. `in_memory`: for many searches, if they fit.

    Raises `DiskFailed` if a part can't be read or unpacked.
    """
    dim = snapshot.manifest.dim
    parts: list[NDArray[Any]] = [unpacked(file, cache, part, dim) for file, part in embeddings_of(snapshot)]
    if in_memory and snapshot.manifest.rows <= in_memory_rows:
        parts = [np.asarray(part, np.float32) for part in parts]
    return RowVectors(parts=parts, dim=dim)


def embeddings_of(snapshot: Snapshot) -> list[tuple[Path, Part]]:
    """The embeddings parts of a snapshot with their files."""
    return list(zip(snapshot.embeddings_files, snapshot.manifest.of("embeddings"), strict=True))


def unpacked(file: Path, cache: Path, part: Part, dim: int) -> NDArray[np.float16]:
    """The vectors of a part (rows, dim), memory-mapped; unpacked first unless they are there completely."""
    target, n_bytes = unpacked_file(cache, part), part.rows * dim * f16.itemsize
    if not n_bytes:
        return np.empty((part.rows, dim), f16)
    with disk_errors(target):
        if not target.exists() or target.stat().st_size != n_bytes:
            with atomic_write(target) as aside, aside.open("wb") as out:
                for table in read_row_groups(file, ["vector"]):
                    out.write(vectors_of(table).astype(f16).tobytes())
        return np.memmap(target, f16, "r", shape=(part.rows, dim))


def unpacked_file(cache: Path, part: Part) -> Path:
    """The file of a part's unpacked vectors."""
    return cache / f"{part.file_name}.f16"


def remove_unpacked(cache: Path, *, used: set[Path]) -> None:
    """Delete unpacked parts that are not used any more; whoever has one mapped keeps it."""
    for path in cache.glob("*.f16") if cache.is_dir() else ():
        if path not in used:
            with suppress(OSError):
                path.unlink()
