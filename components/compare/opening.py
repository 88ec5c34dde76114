"""Open the newest snapshot of a dataset to compare its runs; answer questions, each once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from components.compare.compare import Compared, Request, compare
from components.compare.report import Comparison, from_dict
from components.compare.stored import graph_cache
from components.retry import retry_while_busy
from components.search.filters import parse_filters
from components.search.lists import open_vectors, search_cache
from components.search.row_ids import open_ids
from components.snapshot.read import open_snapshot
from components.store import Store


class OpenedDataset(Compared):
    """A dataset that answers questions."""

    def ask(self, a: Sequence[str], b: Sequence[str], *, task: str, now: datetime) -> Comparison:
        """The answer to the question that filters spell. Raises what `request_of` and `compare` raise."""
        return answer(self, with_tags(self.store, self.dataset_id, request_of(a, b, task=task, now=now)))


def open_dataset(store: Store, dataset_id: int | None, *, output: Path, cache: Path) -> OpenedDataset:
    """The newest snapshot in `output`. Raises `NotFound` before the first."""
    snapshot, folder = open_snapshot(output), search_cache(cache, output)
    assert dataset_id is not None  # what is published was loaded
    return OpenedDataset(
        store=store,
        dataset_id=dataset_id,
        snapshot=snapshot,
        ids=open_ids(snapshot, folder),
        vectors=open_vectors(snapshot, folder),
        cache=graph_cache(cache, output),
    )


def request_of(a: Sequence[str], b: Sequence[str], *, task: str, now: datetime) -> Request:
    """The question that filters spell, each as NAME=VALUE; without any for `b`, it is all other runs.

    Raises `BadSetting` for a filter that can't be understood.
    """
    return Request(a=parse_filters(a, now), b=parse_filters(b, now) if b else None, task=task)


def with_tags(store: Store, dataset_id: int, request: Request) -> Request:
    """The same question, asked of the records that have the tags now."""
    if not (request.a.tag or (request.b and request.b.tag)):
        return request
    return replace(request, tags=store.tags.state(dataset_id))


def request_of_result(found: Comparison, task: str) -> Request:
    """The question that a result answers; its times are absolute."""
    return request_of(found.a.filters, found.b.filters, task=task, now=datetime.now(UTC))


def answer(compared: Compared, request: Request) -> Comparison:
    """The result: the one that is kept, or a new one, which is kept from now on. Raises what `compare` raises."""
    store, key = compared.store, request.key(compared.snapshot)
    known = store.comparisons.get(compared.dataset_id, key)
    if known is not None:
        return from_dict(known)
    found = compare(compared, request)
    retry_while_busy(lambda: store.comparisons.put(compared.dataset_id, key, compared.snapshot.number, found.as_dict()))
    return found
