"""Batches of texts for the embedder, and checks of what it returns: pure functions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from components.contracts import UNIT_TOLERANCE, Embedder, Vectors
from components.errors import DimensionMismatch, EmbeddingFailed

commit_tokens = 16_384  # what is embedded between two commits, as estimated: a few seconds of one core
max_batches = 200  # a run: each is a task of the orchestrator, which costs some 40 ms
chars_per_token = 4
window_tokens = 256  # an estimate's cap: longer texts are cut or cost more, but are rare


class HasText(Protocol):
    """Anything with a text."""

    @property
    def text(self) -> str: ...


T = TypeVar("T", bound=HasText)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedBatch:
    """Texts of similar length that have no vector yet, by digest and by a record that has each: parallel sequences."""

    no: int
    seqs: tuple[int, ...]
    digests: tuple[bytes, ...]
    n_tokens: int  # estimated

    def to_json(self) -> str:
        """The batch for another process."""
        return json.dumps(asdict(self) | {"digests": [digest.hex() for digest in self.digests]})

    @classmethod
    def from_json(cls, raw: str) -> Self:
        """The batch of which `to_json` made this."""
        values = json.loads(raw)
        digests = tuple(map(bytes.fromhex, values["digests"]))
        return cls(no=values["no"], seqs=tuple(values["seqs"]), digests=digests, n_tokens=values["n_tokens"])


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedOutcome:
    """What embedding a batch, or several, did."""

    embedded: int = 0
    failed: int = 0
    n_tokens: int = 0
    n_shortened: int = 0

    def __add__(self, other: Self) -> Self:
        return type(self)(**{name: getattr(self, name) + getattr(other, name) for name in type(self).__slots__})


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownTexts:
    """Records whose texts have no vector, in order of arrival: parallel arrays (n,), 32 bytes a record."""

    seqs: NDArray[np.int64]
    digests: NDArray[np.uint64]  # (n, 2)
    tokens: NDArray[np.int64]  # estimated

    @classmethod
    def of(cls, texts: Iterable[tuple[int, bytes, int]]) -> Self:
        """From (seq, digest, characters)."""
        texts = list(texts)
        return cls(
            seqs=np.array([seq for seq, _, _ in texts], np.int64),
            digests=np.frombuffer(b"".join(digest for _, digest, _ in texts), np.uint64).reshape(-1, 2),
            tokens=np.array([estimated_tokens(n_chars) for _, _, n_chars in texts], np.int64),
        )

    @classmethod
    def joined(cls, parts: Sequence[UnknownTexts]) -> Self:
        """All of them, in the order of the parts."""
        empty = cls.of([])
        return cls(
            **{name: np.concatenate([getattr(part, name) for part in [empty, *parts]]) for name in cls.__slots__}
        )

    def distinct(self) -> Self:
        """The first record of each text."""
        order = np.lexsort(self.digests.T)
        is_first = np.ones(len(order), np.bool_)
        is_first[1:] = (self.digests[order[1:]] != self.digests[order[:-1]]).any(axis=1)
        kept = np.sort(order[is_first])
        return type(self)(seqs=self.seqs[kept], digests=self.digests[kept], tokens=self.tokens[kept])


def cut_batches(texts: UnknownTexts) -> list[EmbedBatch]:
    """Batches of distinct texts: similar lengths together, at most `max_batches` of them."""
    order = np.argsort(texts.tokens, kind="stable")
    seqs, tokens = texts.seqs[order], texts.tokens[order]
    names = digest_list(texts.digests[order])
    budget = max(commit_tokens, int(tokens.sum()) // (max_batches - 1) + 1)
    return [
        EmbedBatch(
            no=no, seqs=tuple(seqs[group].tolist()), digests=tuple(names[group]), n_tokens=int(tokens[group].sum())
        )
        for no, group in enumerate(_packed(tokens, budget), 1)
    ]


def digest_list(digests: NDArray[np.uint64]) -> list[bytes]:
    """Digests as the store keeps them, from an array (n, 2)."""
    raw = digests.tobytes()
    return [raw[start : start + 16] for start in range(0, len(raw), 16)]


def _packed(weights: NDArray[np.int64], budget: int) -> Iterator[slice]:
    """Neighbours together while their weights stay within the budget; one at least."""
    total = np.cumsum(weights)
    start = 0
    while start < len(weights):
        before = int(total[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(total, before + budget, side="right")))
        yield slice(start, stop)
        start = stop


def estimated_tokens(n_chars: int) -> int:
    """Of a text of so many characters, as far as they are embedded."""
    return min(n_chars // chars_per_token + 2, window_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenEstimate:
    """Tokens embedded so far, and how many there will be: `of` were estimated in all, `estimated` of them are `done`.

    >>> TokenEstimate(of=1_000).after(50, 100).after(50, 100).total
    500
    """

    of: int
    done: int = 0
    estimated: int = 0

    def after(self, n_tokens: int, estimated: int) -> Self:
        """A step later, which took `n_tokens` where so many were `estimated`."""
        return type(self)(of=self.of, done=self.done + n_tokens, estimated=min(self.estimated + estimated, self.of))

    @property
    def total(self) -> int:
        return self.done + round((self.of - self.estimated) * (self.done / self.estimated if self.estimated else 1.0))


def commit_groups(texts: Sequence[T]) -> Iterator[Sequence[T]]:
    """Texts that are committed together: some seconds of one core each."""
    for group in _packed(np.array([estimated_tokens(len(one.text)) for one in texts], np.int64), commit_tokens):
        yield texts[group]


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
    if not np.isfinite(lengths).all() or (np.abs(lengths - 1) > UNIT_TOLERANCE).any():
        raise EmbeddingFailed(f"Model {embedder.identity} gave a vector that is not finite or not of unit length.")
    return vectors
