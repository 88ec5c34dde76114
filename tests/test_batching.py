"""How what waits is told apart and cut into tasks, on arrays."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from components.index.batches import Waiting, commit_groups, commit_tokens, cut_tasks, max_tasks, window_tokens
from components.text import digest

Text = tuple[int, bytes, int]
some_texts = st.lists(st.text(alphabet="abc", max_size=3), max_size=60)


def waiting(texts: list[str], first_seq: int = 0) -> list[Text]:
    return [(seq, digest(text), len(text)) for seq, text in enumerate(texts, first_seq)]


@given(some_texts, some_texts)
def test_each_text_is_embedded_once_for_the_first_record_that_has_it(before: list[str], after: list[str]) -> None:
    parts = [Waiting.of(waiting(before)), Waiting.of(waiting(after, len(before)))]
    first: dict[str, int] = {}
    for seq, text in enumerate(before + after):
        first.setdefault(text, seq)
    assert Waiting.joined(parts).distinct().seqs.tolist() == sorted(first.values())


def test_nothing_waits_in_no_parts() -> None:
    assert cut_tasks(Waiting.joined([]).distinct().seqs, Waiting.joined([]).tokens) == []


@given(st.lists(st.integers(1, window_tokens), min_size=1, max_size=2_000))
def test_tasks_hold_every_record_once_with_texts_of_like_length_together(tokens: list[int]) -> None:
    tasks = cut_tasks(np.arange(len(tokens)), np.array(tokens))
    assert sorted(seq for task in tasks for seq in task.seqs) == list(range(len(tokens)))
    lengths = [[tokens[seq] for seq in task.seqs] for task in tasks]
    assert all(max(a) <= min(b) for a, b in pairwise(lengths))
    assert [task.n_tokens for task in tasks] == [sum(group) for group in lengths]
    assert all(task.n_tokens <= commit_tokens for task in tasks)


def test_a_run_has_no_more_tasks_than_an_orchestrator_bears() -> None:
    n = 300_000
    assert len(cut_tasks(np.arange(n), np.full(n, window_tokens))) <= max_tasks


@given(st.lists(st.integers(0, 5_000), max_size=300))
def test_what_is_committed_together_took_seconds_and_nothing_is_left_out(chars: list[int]) -> None:
    texts = [(str(n).encode(), n_chars) for n, n_chars in enumerate(chars)]
    groups = list(commit_groups(texts))
    assert [name for group in groups for name in group] == [name for name, _ in texts]
    assert all(0 < len(group) * 2 <= commit_tokens for group in groups)
