"""The way of received records into the store: what several requests bring at a time goes into one transaction.

Nothing is acknowledged before it is committed, and a commit waits for the disk; so the requests that wait meanwhile share
the next one.
"""

from __future__ import annotations

import queue
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Lock, Thread
from typing import Final

from components.receive.received import Received
from components.retry import retry_while_busy
from components.store import Store
from components.store.keyed import Kept

MOST_RECORDS: Final = 5_000  # a transaction, unless one request has more


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    """A request that waits to be stored."""

    dataset: str
    received: Received
    kept: Future[Kept] = field(default_factory=Future)


class Intake:
    """Stores what is received, in one thread. `with_store` calls a function with the store, and raises as it likes."""

    def __init__(self, with_store: Callable[[Callable[[Store], list[Kept]]], list[Kept]]) -> None:
        self._with_store = with_store
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread: Thread | None = None
        self._starting = Lock()

    def put(self, dataset: str, received: Received) -> Future[Kept]:
        """What becomes of a request, known once it is committed. The dataset is created if it is new."""
        one = _Waiting(dataset=dataset, received=received)
        if not received.records and not received.rejected:
            one.kept.set_result(Kept())
            return one.kept
        with self._starting:
            if self._thread is None:
                self._thread = Thread(target=self._run, name="intake", daemon=True)
                self._thread.start()
        self._waiting.put(one)
        return one.kept

    def close(self) -> None:
        """Store what waits, and end."""
        with self._starting:
            if self._thread is not None:
                self._waiting.put(None)
                self._thread.join()
                self._thread = None

    def _run(self) -> None:
        is_open = True
        while is_open:
            batch, is_open = self._next_batch()
            by_dataset: dict[str, list[_Waiting]] = defaultdict(list)
            for one in batch:
                by_dataset[one.dataset].append(one)
            for dataset, waiting in by_dataset.items():
                self._store(dataset, waiting)

    def _next_batch(self) -> tuple[list[_Waiting], bool]:
        """The requests that wait now, after the first one; and False if these are the last."""
        batch: list[_Waiting] = []
        n_records = 0
        while n_records < MOST_RECORDS:
            try:
                one = self._waiting.get(block=not batch)
            except queue.Empty:
                break
            if one is None:
                return batch, False
            batch.append(one)
            n_records += len(one.received.records)
        return batch, True

    def _store(self, dataset: str, waiting: Sequence[_Waiting]) -> None:
        try:
            kept = self._with_store(
                lambda store: retry_while_busy(lambda: store_all(store, dataset, [one.received for one in waiting]))
            )
        except BaseException as error:  # noqa: BLE001 - each request answers with it
            for one in waiting:
                one.kept.set_exception(error)
        else:
            for one, own in zip(waiting, kept, strict=True):
                one.kept.set_result(own)


def store_all(store: Store, dataset: str, requests: Sequence[Received]) -> list[Kept]:
    """Store requests in one transaction; what each of them brought. The dataset is created if it is new."""
    dataset_id = store.datasets.id(dataset, create=True)
    assert dataset_id is not None
    with store.db.write() as connection:
        return [
            store.received.write(
                connection,
                dataset_id,
                one.source,
                one.records,
                [rejected.defect for rejected in one.rejected],
                once=one.once,
            )
            for one in requests
        ]
