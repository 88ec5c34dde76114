"""Embed batches of texts and commit their vectors every few seconds."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from components.contracts import TokenProgress
from components.errors import DimensionMismatch, EmbeddingFailed, ServiceUnavailable, TransientError
from components.index.batches import (
    EmbedBatch,
    EmbedOutcome,
    TokenEstimate,
    checked,
    commit_groups,
    estimated_tokens,
)
from components.index.context import Target
from components.index.plan import Plan
from components.retry import retry_while_busy
from components.store.vectors import Tally

logger = logging.getLogger(__name__)

CANARY: Final = "Is the embedding service available?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text to embed, its digest, and a record that has it."""

    seq: int
    digest: bytes
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """Texts whose vectors, or failures, are stored now: what that took, and the tokens that were estimated."""

    outcome: EmbedOutcome
    n_texts: int
    n_estimated: int


def _ignore(_: Committed) -> None:
    """For callers that show no progress."""


def embed_batch(
    target: Target, batch: EmbedBatch, *, is_last_try: bool = False, on_commit: Callable[[Committed], None] = _ignore
) -> EmbedOutcome:
    """Embed the texts of a batch that have no vector yet; `on_commit` is called after each commit.

    Raises `TransientError` where another try may help. On the last try the texts that fail are found and recorded as
    failed instead, unless the model is unavailable altogether: then `ServiceUnavailable`.
    """
    total = EmbedOutcome()
    for group in commit_groups(_missing_texts(target, batch)):
        outcome = _embed_group(target, group, is_last_try=is_last_try)
        total += outcome
        estimated = sum(estimated_tokens(len(one.text)) for one in group)
        on_commit(Committed(outcome=outcome, n_texts=len(group), n_estimated=estimated))
    return total


def _missing_texts(target: Target, batch: EmbedBatch) -> list[Text]:
    """The texts of the batch that have no vector yet, shortest first."""
    known = retry_while_busy(lambda: target.store.vectors.known(target.model_id, batch.digests))
    missing = {seq: name for seq, name in zip(batch.seqs, batch.digests, strict=True) if name not in known}
    stored = retry_while_busy(lambda: target.store.records.by_seq(list(missing)))
    texts = [Text(seq=one.seq, digest=missing[one.seq], text=target.prepared(one.record)) for one in stored]
    return sorted(texts, key=lambda one: (len(one.text), one.digest))


def _embed_group(target: Target, texts: Sequence[Text], *, is_last_try: bool) -> EmbedOutcome:
    """Embed and commit some texts; halve them until what fails is alone."""
    began = time.monotonic()
    try:
        embedded = target.embedder.embed([one.text for one in texts])
        vectors = checked(embedded.vectors, len(texts), target.embedder)
    except (EmbeddingFailed, TransientError) as error:
        if isinstance(error, TransientError) and not is_last_try:
            raise
        _expect_available(target, error)
        if len(texts) == 1:
            return _record_failure(target, texts[0], error)
        middle = len(texts) // 2
        first = _embed_group(target, texts[:middle], is_last_try=is_last_try)
        return first + _embed_group(target, texts[middle:], is_last_try=is_last_try)
    digests = [one.digest for one in texts]
    seconds = time.monotonic() - began
    tally = Tally(dataset_id=target.dataset_id, texts=len(texts), tokens=embedded.n_tokens, seconds=seconds)
    retry_while_busy(lambda: target.store.vectors.put(target.fence, target.model_id, digests, vectors, tally))
    return EmbedOutcome(embedded=len(texts), n_tokens=embedded.n_tokens, n_shortened=embedded.n_shortened)


def _expect_available(target: Target, error: Exception) -> None:
    """Raises `ServiceUnavailable` if the model does not even embed a short plain text: then no text is to blame."""
    try:
        checked(target.embedder.embed([CANARY]).vectors, 1, target.embedder)
    except (TransientError, EmbeddingFailed, DimensionMismatch) as still:
        is_down = isinstance(still, TransientError)
        raise ServiceUnavailable(
            f"The embedding model {target.embedder.identity} {'is down' if is_down else 'gives no vectors'}: {error} "
            "Progress is saved; the next index resumes where this one stopped.",
            retry_after_s=still.retry_after_s if isinstance(still, TransientError) else None,
        ) from error


def _record_failure(target: Target, text: Text, error: Exception) -> EmbedOutcome:
    logger.warning("A text could not be embedded and is skipped (record seq %d): %s", text.seq, error)
    failed = {text.seq: text.digest}
    retry_while_busy(lambda: target.store.records.fail(target.fence, target.dataset_id, failed, str(error)))
    return EmbedOutcome(failed=1)


class EmbedProgress:
    """Adds up what the batches of a plan committed, and reports it."""

    def __init__(self, plan: Plan, report: TokenProgress) -> None:
        self._n_texts = plan.n_texts
        self._report = report
        self._done = 0
        self._tokens = TokenEstimate(of=plan.n_tokens)

    def __call__(self, committed: Committed) -> None:
        """Raises `Cancelled` once the index is asked to stop."""
        self._done += committed.n_texts
        self._tokens = self._tokens.after(committed.outcome.n_tokens, committed.n_estimated)
        self.refresh()

    def refresh(self) -> None:
        """Reports once more what is known. Raises `Cancelled` once the index is asked to stop."""
        self._report.tokens(self._tokens.done, self._tokens.total)
        self._report("embed", self._done, self._n_texts)
