"""Embed batches of texts and commit their vectors every few seconds."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from components.contracts import TokenProgress
from components.errors import DimensionMismatch, EmbeddingFailed, ServiceUnavailable, TransientError
from components.index.batches import EmbedBatch, EmbedOutcome, Foreseen, checked, commit_groups, estimated_tokens
from components.index.context import Target
from components.index.plan import Plan
from components.retry import retry_while_busy
from components.store import Tally

logger = logging.getLogger(__name__)

CANARY: Final = "Is the embedding service available?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text to embed, and a record that has it."""

    seq: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """Some texts whose vectors, or failures, are stored now: what that took, and the tokens that were estimated."""

    outcome: EmbedOutcome
    n_texts: int
    n_estimated: int


def ignore(_: Committed) -> None:
    """For a caller that shows no progress."""


def embed_batch(
    target: Target, batch: EmbedBatch, *, is_last_try: bool = False, on_commit: Callable[[Committed], None] = ignore
) -> EmbedOutcome:
    """Embed the texts of a batch that have no vector yet.

    Raises `TransientError` where another try may help. On the last try the texts that fail are found and recorded as
    failed instead, unless the model is unavailable altogether: then `ServiceUnavailable`.
    """
    stored = retry_while_busy(lambda: target.store.records.by_seq(batch.seqs))
    texts = {target.digest(one.record): Text(seq=one.seq, text=target.text(one.record)) for one in stored}
    known = retry_while_busy(lambda: target.store.vectors.known(target.model_id, list(texts)))
    missing = sorted((len(one.text), name) for name, one in texts.items() if name not in known)
    total = EmbedOutcome()
    for group in commit_groups([(name, n) for n, name in missing]):
        outcome = _embed_group(target, {name: texts[name] for name in group}, is_last_try=is_last_try)
        total += outcome
        estimated = sum(estimated_tokens(len(texts[name].text)) for name in group)
        on_commit(Committed(outcome=outcome, n_texts=len(group), n_estimated=estimated))
    return total


def _embed_group(target: Target, texts: Mapping[bytes, Text], *, is_last_try: bool) -> EmbedOutcome:
    """Embed and commit texts by digest; halve the group until what fails is alone."""
    began = time.monotonic()
    try:
        embedded = target.embedder.embed([one.text for one in texts.values()])
        vectors = checked(embedded.vectors, len(texts), target.embedder)
    except (EmbeddingFailed, TransientError) as error:
        if isinstance(error, TransientError) and not is_last_try:
            raise
        _expect_available(target, error)
        if len(texts) == 1:
            return _record_failure(target, texts, error)
        items = list(texts.items())
        halves = items[: len(items) // 2], items[len(items) // 2 :]
        return sum((_embed_group(target, dict(half), is_last_try=is_last_try) for half in halves), EmbedOutcome())
    tally = Tally(dataset_id=target.dataset_id, tokens=embedded.n_tokens, seconds=time.monotonic() - began)
    retry_while_busy(lambda: target.store.vectors.put(target.fence, target.model_id, list(texts), vectors, tally))
    return EmbedOutcome(embedded=len(texts), n_tokens=embedded.n_tokens, n_shortened=embedded.n_shortened)


def _expect_available(target: Target, error: Exception) -> None:
    """Raises `ServiceUnavailable` if the model does not even embed a short plain text: then no text is to blame."""
    try:
        checked(target.embedder.embed([CANARY]).vectors, 1, target.embedder)
    except (TransientError, EmbeddingFailed, DimensionMismatch) as still:
        is_down = isinstance(still, TransientError)
        raise ServiceUnavailable(
            f"The embedding model {target.embedder.identity} {'is down' if is_down else 'gives no vectors'}: {error} "
            "Nothing is lost; the next index resumes where this one stopped.",
            retry_after_s=still.retry_after_s if isinstance(still, TransientError) else None,
        ) from error


def _record_failure(target: Target, texts: Mapping[bytes, Text], error: Exception) -> EmbedOutcome:
    digests = {one.seq: name for name, one in texts.items()}
    logger.warning("A text could not be embedded and is skipped (record seq %s): %s", list(digests), error)
    retry_while_busy(lambda: target.store.records.fail(target.fence, target.dataset_id, digests, str(error)))
    return EmbedOutcome(failed=len(texts))


class EmbedProgress:
    """Adds up what batches committed, and reports it."""

    def __init__(self, plan: Plan, report: TokenProgress) -> None:
        self.n_texts = plan.n_texts
        self.report = report
        self.done = 0
        self.tokens = Foreseen(of=plan.n_tokens)

    def __call__(self, committed: Committed) -> None:
        """Raises `Cancelled` when the index was asked to stop."""
        self.done += committed.n_texts
        self.tokens = self.tokens.after(committed.outcome.n_tokens, committed.n_estimated)
        self.report.tokens(self.tokens.done, self.tokens.total)
        self.report("embed", self.done, self.n_texts)
