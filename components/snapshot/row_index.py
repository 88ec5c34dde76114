"""Rows of a snapshot by record id, for many ids at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ID_CHARS = 32
_MIX = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no bit is lost

Ids = NDArray[np.bytes_]  # (n,) S32


@dataclass(frozen=True, slots=True, kw_only=True)
class RowIndex:
    """Sorted 64-bit digests of the ids (n,), the rows in that order (n,), and the ids by row (n,): 16 bytes a row."""

    digests: NDArray[np.uint64]
    order: NDArray[np.int64]
    ids: Ids

    def rows_of(self, wanted: Sequence[str]) -> NDArray[np.int64]:
        """The row of each id (len(wanted),), -1 for one that the snapshot does not have."""
        is_possible = np.array([len(id) == ID_CHARS and id.isascii() for id in wanted], np.bool_)
        plain = [id if good else "" for id, good in zip(wanted, is_possible.tolist(), strict=True)]
        asked = np.array([id.encode() for id in plain], f"S{ID_CHARS}")
        if not len(asked) or not len(self.ids):
            return np.full(len(asked), -1, np.int64)
        at = np.minimum(np.searchsorted(self.digests, _digests(asked)), len(self.order) - 1)
        rows = self.order[at]
        return np.where(is_possible & (self.ids[rows] == asked), rows, -1)


def row_index(ids: Ids) -> RowIndex:
    """The index of a snapshot's ids."""
    digests = _digests(ids)
    order = np.argsort(digests, kind="stable")
    return RowIndex(digests=digests[order], order=order, ids=ids)


def _digests(ids: Ids) -> NDArray[np.uint64]:
    """64 bits of each id; two ids of a snapshot that agree in these are not to be expected."""
    words = np.ascontiguousarray(ids).view("<u8").reshape(len(ids), ID_CHARS // 8)
    digest = np.zeros(len(ids), np.uint64)
    with np.errstate(over="ignore"):
        for at in range(words.shape[1]):
            digest = digest * _MIX + words[:, at]
            digest ^= digest >> np.uint64(29)
    return digest
