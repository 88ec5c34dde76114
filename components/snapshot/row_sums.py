"""Sums over rows that are equal where the rows are, in whatever order: sets of any size are compared in constant memory."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Words = NDArray[np.uint64]


@dataclass(slots=True)
class RowSum:
    """How many rows were added, and two sums of 64 bits over them: of other rows both agree once in 2^128 cases."""

    rows: int = 0
    sums: Words = field(default_factory=lambda: np.zeros(2, np.uint64))

    def add(self, ids: Words, *columns: NDArray[np.float32]) -> None:
        """Add rows by their ids (n, 2) and values (n,), of which every bit counts."""
        mixed = _mixed(ids[:, 0] ^ _mixed(ids[:, 1]))
        for column in columns:
            mixed = _mixed(mixed ^ column.view(np.uint32).astype(np.uint64))
        self.rows += len(ids)
        self.sums += np.array([mixed.sum(dtype=np.uint64), _mixed(mixed + np.uint64(1)).sum(dtype=np.uint64)])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RowSum) and self.rows == other.rows and bool((self.sums == other.sums).all())

    __hash__ = None  # type: ignore[assignment]


def id_words(ids: pa.ChunkedArray | list[str]) -> Words:
    """Ids of 32 hex digits as two numbers each, (n, 2). Raises `ValueError` for what is none."""
    spelled = ids.to_pylist() if isinstance(ids, pa.ChunkedArray) else ids
    return np.frombuffer(bytes.fromhex("".join(spelled)), ">u8").astype(np.uint64).reshape(len(spelled), 2)


def has_twice(firsts: Words) -> bool:
    """May an id occur twice, by the first numbers (n,) of all ids? They are sorted; those of different ids hardly ever agree."""
    firsts.sort()
    return bool((firsts[1:] == firsts[:-1]).any())


def _mixed(z: Words) -> Words:
    """SplitMix64's finaliser (Steele, Lea, Flood 2014)."""
    z = z + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
