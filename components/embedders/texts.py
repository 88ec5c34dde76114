"""What every embedder does with its texts and vectors, as pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from components.contracts import Vectors
from components.errors import EmbeddingFailed, RunAtlasError, ServiceUnavailable

Ids = NDArray[np.int64]  # (n, length) token ids, all rows of one length

Rows = TypeVar("Rows", Ids, list[str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A loaded model: ids (n, length) to unit vectors (n, dim). `at_once` batches are worth running side by side."""

    run: Callable[[Ids], Vectors]
    at_once: int = 1


_MEMORY_WORDS = ("out of memory", "bad_alloc", "failed to allocate", "allocate memory", "bad allocation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Distinct:
    """The distinct texts in order of first appearance, and the index of each given text among them."""

    texts: list[str]
    where: NDArray[np.int64]  # (n,): given text i is texts[where[i]]


def distinct(texts: Sequence[str]) -> Distinct:
    """Exact duplicates once.

    >>> distinct(["a", "b", "a"]).texts
    ['a', 'b']
    """
    seen: dict[str, int] = {}
    where = [seen.setdefault(text, len(seen)) for text in texts]
    return Distinct(texts=list(seen), where=np.array(where, np.int64))


def well_formed(text: str) -> str:
    """The same text; lone surrogates, which no tokeniser or service takes, become U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def batches_of_equal_length(
    lengths: NDArray[np.int64], batch_tokens: int, batch_texts: int = 0
) -> Iterator[NDArray[np.int64]]:
    """Indices in batches whose texts all have the same token count, longest first, at most `batch_tokens` together.

    `batch_texts`: at most so many texts; 0: as many as fit.

    Equal lengths need neither padding nor a mask, so a text's vector can't depend on its neighbours. A text longer
    than the budget is alone.
    """
    order = np.argsort(-lengths, kind="stable")
    falling = -lengths[order]
    start = 0
    while start < len(order):
        length = int(lengths[order[start]])
        end = int(np.searchsorted(falling, -length, side="right"))
        step = max(1, min(batch_tokens // max(1, length), batch_texts or end - start))
        for first in range(start, end, step):
            yield order[first : min(first + step, end)]
        start = end


def run_or_halve(run: Callable[[Rows], Vectors], rows: Rows) -> Vectors:
    """`run(rows)`; where memory runs out, the halves one after the other. Raises `ServiceUnavailable` when even one
    row is too much, and `EmbeddingFailed` on any other failure of the model.
    """
    try:
        return run(rows)
    except RunAtlasError:
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise EmbeddingFailed(f"The model failed on a batch of {len(rows)} texts: {error}") from error
        if len(rows) == 1:
            raise ServiceUnavailable(f"Not enough memory to embed even one text: {error}") from error
    half = len(rows) // 2
    return np.concatenate([run_or_halve(run, rows[:half]), run_or_halve(run, rows[half:])])


def is_out_of_memory(error: BaseException) -> bool:
    """Would a smaller batch fit?"""
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in _MEMORY_WORDS)


def unit(vectors: NDArray[np.floating[Any]]) -> Vectors:
    """The same directions at length one, float32 (n, dim). Raises `EmbeddingFailed` on NaN, infinity or zero vectors."""
    wide = np.asarray(vectors, np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    wrong = np.flatnonzero(~(np.isfinite(lengths[:, 0]) & (lengths[:, 0] > 0)))
    if len(wrong):
        raise EmbeddingFailed(
            f"{len(wrong)} of {len(wide)} vectors are zero or not finite (the first is number {wrong[0]})."
        )
    return np.asarray(wide / lengths, np.float32)
