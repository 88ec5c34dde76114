"""How texts are cut for the embedder, and what it gives is looked at: pure, and the same for every conductor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from components.contracts import Embedder, Vectors
from components.errors import DimensionMismatch, EmbeddingFailed

commit_tokens = 16_384  # what is embedded between two commits, as estimated: a few seconds of one core
max_tasks = 200  # a run: Prefect pays some 40 ms of server time a task
chars_per_token = 4
window_tokens = 256  # an estimate's cap: longer texts are cut or cost more, but are rare


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedTask:
    """Records of similar length whose texts have no vector yet, one a text."""

    no: int
    seqs: tuple[int, ...]
    n_tokens: int  # estimated


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedPlan:
    """What an index has to do: `records` wait, `reused` of them have a vector by their text."""

    tasks: Sequence[EmbedTask]
    records: int
    reused: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedOutcome:
    """What one task did."""

    embedded: int = 0
    failed: int = 0
    n_tokens: int = 0
    n_shortened: int = 0


def cut_tasks(texts: Sequence[tuple[int, int]]) -> list[EmbedTask]:
    """Tasks of (seq, tokens) pairs, similar lengths together, at most `max_tasks` of them."""
    ordered = sorted(texts, key=lambda pair: pair[1])
    budget = max(commit_tokens, sum(n for _, n in ordered) // (max_tasks - 1) + 1)
    return [
        EmbedTask(no=no, seqs=tuple(seq for seq, _ in group), n_tokens=sum(n for _, n in group))
        for no, group in enumerate(_packed(ordered, budget), 1)
    ]


def _packed(pairs: Sequence[tuple[int, int]], budget: int) -> Iterator[list[tuple[int, int]]]:
    """Neighbours together while their weights stay within the budget; one at least."""
    group: list[tuple[int, int]] = []
    weight = 0
    for pair in pairs:
        if group and weight + pair[1] > budget:
            yield group
            group, weight = [], 0
        group.append(pair)
        weight += pair[1]
    if group:
        yield group


def commit_groups(texts: Sequence[tuple[bytes, int]]) -> Iterator[list[bytes]]:
    """Digests of texts (digest, characters) that are committed together."""
    weights = [(n, min(chars // chars_per_token + 2, window_tokens)) for n, (_, chars) in enumerate(texts)]
    for group in _packed(weights, commit_tokens):
        yield [texts[n][0] for n, _ in group]


def checked(vectors: Vectors, n: int, embedder: Embedder) -> Vectors:
    """The vectors, if they are n finite ones of unit length; no wrong vector is ever stored."""
    if vectors.ndim != 2 or vectors.shape[0] != n:
        raise EmbeddingFailed(f"Model {embedder.identity} gave {vectors.shape[0]} vectors for {n} texts.")
    if vectors.shape[1] != embedder.dim:
        raise DimensionMismatch(
            f"Model {embedder.identity} gives {vectors.shape[1]} dimensions where {embedder.dim} were expected; "
            "index with recompute=true if the model has changed."
        )
    lengths = np.linalg.norm(vectors, axis=1)
    if not np.isfinite(lengths).all() or (np.abs(lengths - 1) > 1e-3).any():
        raise EmbeddingFailed(f"Model {embedder.identity} gave a vector that is not finite or not of unit length.")
    return vectors


def added(a: EmbedOutcome, b: EmbedOutcome) -> EmbedOutcome:
    return EmbedOutcome(**{name: getattr(a, name) + getattr(b, name) for name in EmbedOutcome.__slots__})
