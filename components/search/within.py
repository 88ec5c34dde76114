"""Similar records within their operation: what is common to all spans of an operation is taken out of the comparison.

The texts of a service's spans share most of their words, so that a failed call is most similar to the calls of its own
operation that went well. With the mean of the operation subtracted, what differs between them decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from components.contracts import Json
from components.errors import BadQuery
from components.search.filters import Filters
from components.search.vectors import Rows, chunk_rows, floats

VectorsAt = Callable[[Rows], NDArray[Any]]  # the vectors of rows, (n, dim)
OPERATION: Final = ("service", "span")  # keys of `extra` that name it
FEWEST: Final = 3  # rows whose mean says anything
SMALLEST: Final = 1e-3  # length of what is left of a vector that differs from the mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Centred:
    """The rows of a group, best first, and their similarities."""

    rows: Rows
    scores: NDArray[np.float32]


def operation_filters(id: str, extra: Mapping[str, Json]) -> Filters:
    """What selects the spans of the same operation as this record. Raises `BadQuery` for a record that is no span."""
    named = {key: [str(extra[key])] for key in OPERATION if extra.get(key)}
    if "span" not in named:
        raise BadQuery(f"Record {id!r} names no operation: only spans can be compared within one.")
    return Filters(type=("span",), extra=named)


def centred(rows: Rows, at: VectorsAt, wanted: NDArray[np.float32]) -> Centred:
    """These rows (n,) by their similarity to a vector (dim,) once the mean of all is subtracted; `at` gives their vectors.

    As they are where they are too few for that, or where the vector does not differ from the mean.

    >>> axes = np.eye(4, dtype=np.float32)
    >>> vectors = np.float32(0.6) * axes[[0, 0, 0, 1]] + np.float32(0.8) * axes[3]
    >>> centred(np.arange(4), vectors.__getitem__, vectors[3]).rows.tolist()
    [3, 0, 1, 2]
    """
    chunks = [rows[start : start + chunk_rows] for start in range(0, len(rows), chunk_rows)]
    total = sum((_floats(at, chunk).sum(axis=0, dtype=np.float64) for chunk in chunks), np.zeros(len(wanted)))
    mean = (total / max(1, len(rows))).astype(np.float32)
    if len(rows) < FEWEST or float(np.linalg.norm(wanted - mean)) < SMALLEST:
        mean = np.zeros_like(mean)
    direction = (wanted - mean) / np.linalg.norm(wanted - mean)
    scores = np.concatenate(
        [np.empty(0, np.float32), *(_similarities(_floats(at, one) - mean, direction) for one in chunks)]
    )
    order = np.argsort(-scores, kind="stable")
    return Centred(rows=rows[order], scores=scores[order])


def _floats(at: VectorsAt, rows: Rows) -> NDArray[np.float32]:
    return floats(at(rows))


def _similarities(vectors: NDArray[np.float32], direction: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.maximum(np.linalg.norm(vectors, axis=1), SMALLEST)
    return np.asarray((vectors @ direction) / lengths, np.float32)
