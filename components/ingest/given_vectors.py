"""Takes the vectors that documents bring along into the store, so that nothing is left to embed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from components.contracts import Embedder, Json, Record
from components.errors import BadSetting
from components.settings import TextSettings
from components.store import Store
from components.store.lease import Fence
from components.store.vectors import f16
from components.text import digest, prepared_text

SAME = 0.002  # difference of two values of unit vectors that float16 and other roundings explain


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenVectors:
    """How many documents brought a vector, and how many of these have the text of another one and another vector.

    Equal texts have one vector, the one that was given first; `example` is the key of the first document that lost its own.
    """

    documents: int
    overruled: int
    example: str


class _Given(NamedTuple):
    key: str
    digest: bytes
    vector: NDArray[np.float32]  # (dim,), of unit length


def given_dimension(batches: Iterable[Sequence[Record]], column: str) -> int:
    """How many numbers the vector of the first document has. Raises `BadSetting` where there is none."""
    for records in batches:
        for record in records[:1]:
            return len(_numbers(record, column))
    raise BadSetting(f"No document with a vector in {column!r} was found: `--vectors` names the column of the vectors.")


def take_vectors(
    store: Store,
    fence: Fence,
    batches: Iterable[Sequence[Record]],
    column: str,
    model: Embedder,
    text: TextSettings,
    progress: Callable[[int], None],
) -> TakenVectors:
    """Store the vectors of these documents under the digests of their texts; those that are there stay.

    Raises `BadSetting` that names the document and its file where a vector is missing or can't be one of the dataset.
    """
    model_id = store.vectors.model_id(model.identity, model.dim)
    documents, overruled, example = 0, 0, ""
    for records in batches:
        given = [
            _Given(record.key, digest(prepared_text(record, text)), _vector(record, column, model.dim))
            for record in records
        ]
        lost = _put(store, fence, model_id, given, model.dim)
        documents, overruled, example = documents + len(given), overruled + len(lost), example or "".join(lost[:1])
        progress(documents)
    return TakenVectors(documents=documents, overruled=overruled, example=example)


def _put(store: Store, fence: Fence, model_id: int, given: Sequence[_Given], dim: int) -> list[str]:
    """Store the first vector of each text that has none; the keys of documents whose vector is another one."""
    firsts: dict[bytes, NDArray[np.float32]] = {}
    for one in given:
        firsts.setdefault(one.digest, one.vector)
    known = store.vectors.known(model_id, list(firsts))
    if known:
        stored = store.vectors.get(list(known.values()), dim)
        firsts |= dict(zip(known, stored, strict=True))
    if new := [name for name in firsts if name not in known]:
        store.vectors.put(fence, model_id, new, np.stack([firsts[name] for name in new]))
    return [one.key for one in given if np.abs(firsts[one.digest] - one.vector).max() > SAME]


def _vector(record: Record, column: str, dim: int) -> NDArray[np.float32]:
    """The document's vector at unit length."""
    numbers = _numbers(record, column)
    if len(numbers) != dim:
        raise BadSetting(
            f"{_where(record)} has a vector of {len(numbers)} numbers in {column!r}, those of this dataset have {dim}: "
            "mend the document, or give other vectors another name and rebuild the map (--model NAME --recompute), or "
            "ingest them into another dataset (-d)."
        )
    if not np.isfinite(numbers).all():
        at = int(np.flatnonzero(~np.isfinite(numbers))[0])
        raise BadSetting(
            f"{_where(record)} has a vector in {column!r} whose number {at + 1} is NaN, infinite or missing: "
            "embed the document again, or leave it out of the file."
        )
    length = float(np.linalg.norm(numbers))
    if length < 1e-12:
        raise BadSetting(
            f"{_where(record)} has a vector of zeros in {column!r}, which has no direction: "
            "embed the document again, or leave it out of the file."
        )
    unit: NDArray[np.float32] = (numbers / length).astype(f16).astype(np.float32)
    return unit


def _numbers(record: Record, column: str) -> NDArray[np.float64]:
    """The numbers in the column, a list or one spelled as JSON."""
    value: Json = record.extra.get(column)
    if value is None:
        raise BadSetting(
            f"{_where(record)} has no vector in {column!r}: `--vectors` names the column or JSON field in which every "
            "document has a list of numbers. Correct the name, or mend the document."
        )
    try:
        numbers = np.asarray(orjson.loads(value) if isinstance(value, str) else value, np.float64)
    except (ValueError, TypeError):
        numbers = np.empty((0, 0))
    if numbers.ndim != 1 or not len(numbers):
        raise BadSetting(
            f"{_where(record)} has no list of numbers in {column!r} (got {_shown(value)}): "
            "`--vectors` names a column whose values are lists of one length."
        )
    return numbers


def _where(record: Record) -> str:
    return f"Document {record.key!r} of {record.filename}"


def _shown(value: Json) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
