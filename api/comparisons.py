"""Comparisons as requests ask for them: the kept result, or how long a new one takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from api.problems import Problem
from api.state import State
from components import wiring
from components.compare.compare import Compared, Request, estimated_s
from components.compare.opening import answer, request_of, request_of_result, with_tags
from components.compare.report import Comparison, from_dict
from components.dataset_settings import effective_settings
from components.store import Store

QUICK_S = 2.5  # a longer comparison is a run of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question about the newest snapshot of a dataset, and its answer if it is kept."""

    opened: Compared
    request: Request
    known: Comparison | None

    @property
    def is_quick(self) -> bool:
        """Can the caller wait for the answer?"""
        return self.known is not None or estimated_s(self.opened.snapshot, self.opened.cache) <= QUICK_S

    def answer(self) -> Comparison:
        """The answer, computed if it is not kept. Raises `BadQuery` for sets that can't be compared."""
        return self.known or answer(self.opened, self.request)


def ask(state: State, dataset: str, a: Sequence[str], b: Sequence[str]) -> Question:
    """The question that filters spell. Raises `BadSetting` for filters, `NotFound` or `Problem` for the dataset."""
    number = _dataset_id(state, dataset)
    spelled = request_of(a, b, task=_task(state, dataset), now=datetime.now(UTC))
    request = state.with_store(lambda store: with_tags(store, number, spelled))
    opened = state.with_store(lambda store: wiring.open_comparison(state.settings, store, dataset))
    key = request.key(opened.snapshot)
    known = state.with_store(lambda store: store.comparisons.get(number, key))
    return Question(opened=opened, request=request, known=None if known is None else from_dict(known))


def kept(state: State, dataset: str, id: str) -> Comparison:
    """The result of this id. Raises `Problem` 404."""
    number = _dataset_id(state, dataset)
    found = state.with_store(lambda store: store.comparisons.get(number, id))
    if found is None:
        detail = f"Dataset {dataset!r} has no comparison {id[:100]!r}: it is still being computed, or it was not asked for lately."
        raise Problem(404, "unknown-comparison", detail)
    return from_dict(found)


def question_of(state: State, dataset: str, found: Comparison) -> tuple[Compared, Request]:
    """The newest snapshot, and the question that a result answers."""
    opened = state.with_store(lambda store: wiring.open_comparison(state.settings, store, dataset))
    return opened, request_of_result(found, _task(state, dataset))


def as_json(dataset: str, found: Comparison) -> dict[str, Any]:
    """The result with its address."""
    return {
        **found.as_dict(),
        "links": {"self": f"/datasets/{dataset}/compare/{found.id}", "map": f"/map/{dataset}?compare={found.id}"},
    }


def _task(state: State, dataset: str) -> str:
    def read(store: Store) -> str:
        return effective_settings(state.settings, store).dataset(dataset).task

    return state.with_store(read)


def _dataset_id(state: State, dataset: str) -> int:
    number = state.dataset_id(dataset)
    if number is None:
        raise Problem(404, "not-found", f"Nothing was loaded into dataset {dataset!r} yet.")
    return number
