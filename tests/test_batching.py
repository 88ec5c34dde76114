"""Distinct texts, and how they are cut into batches, on arrays."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from components.index.batches import UnknownTexts, commit_groups, commit_tokens, cut_batches, max_batches, window_tokens
from components.index.embed import Text
from components.text import digest

Named = tuple[int, bytes, int]
some_texts = st.lists(st.text(alphabet="abc", max_size=3), max_size=60)


def unknown(texts: list[str], first_seq: int = 0) -> list[Named]:
    return [(seq, digest(text), len(text)) for seq, text in enumerate(texts, first_seq)]


@given(some_texts, some_texts)
def test_each_text_is_embedded_once_for_the_first_record_that_has_it(before: list[str], after: list[str]) -> None:
    parts = [UnknownTexts.of(unknown(before)), UnknownTexts.of(unknown(after, len(before)))]
    first: dict[str, int] = {}
    for seq, text in enumerate(before + after):
        first.setdefault(text, seq)
    assert UnknownTexts.joined(parts).distinct().seqs.tolist() == sorted(first.values())


def test_no_texts_make_no_batches() -> None:
    assert cut_batches(UnknownTexts.joined([]).distinct()) == []


def texts_of(tokens: NDArray[np.int64]) -> UnknownTexts:
    numbers = np.arange(len(tokens))
    return UnknownTexts(seqs=numbers, digests=np.stack([numbers, numbers], 1).astype(np.uint64), tokens=tokens)


@given(st.lists(st.integers(1, window_tokens), min_size=1, max_size=2_000))
def test_batches_hold_every_text_once_with_texts_of_similar_length_together(tokens: list[int]) -> None:
    batches = cut_batches(texts_of(np.array(tokens)))
    assert sorted(seq for batch in batches for seq in batch.seqs) == list(range(len(tokens)))
    assert all(
        int.from_bytes(name[:8], "little") == seq for b in batches for seq, name in zip(b.seqs, b.digests, strict=True)
    )
    lengths = [[tokens[seq] for seq in batch.seqs] for batch in batches]
    assert all(max(a) <= min(b) for a, b in pairwise(lengths))
    assert [batch.n_tokens for batch in batches] == [sum(group) for group in lengths]
    assert all(batch.n_tokens <= commit_tokens for batch in batches)


def test_a_run_has_no_more_batches_than_an_orchestrator_can_show() -> None:
    assert len(cut_batches(texts_of(np.full(300_000, window_tokens)))) <= max_batches


@given(st.lists(st.integers(0, 5_000), max_size=300))
def test_texts_that_are_committed_together_take_seconds_and_none_is_left_out(chars: list[int]) -> None:
    texts = [Text(seq=n, digest=b"", text="x" * n_chars) for n, n_chars in enumerate(chars)]
    groups = list(commit_groups(texts))
    assert [one.seq for group in groups for one in group] == list(range(len(texts)))
    assert all(0 < len(group) * 2 <= commit_tokens for group in groups)
