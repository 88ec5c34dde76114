"""What all steps of one index read: opened once, under the dataset's lease, and never changed while the index runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from components.contracts import Embedder, Progress, Projector, Record, TokenProgress
from components.errors import Cancelled, LeaseHeld
from components.publish.run import Publishing
from components.retry import retry_while_busy
from components.settings import Settings
from components.store import Store, lease_name
from components.store.lease import Fence, Heartbeat
from components.text import digest, prepared_text, settings_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRequested:
    """What a caller asks of an index beyond the pending records."""

    recompute: bool = False
    retry_failed: bool = False

    @property
    def names(self) -> str:
        """For messages.

        >>> IndexRequested(recompute=True, retry_failed=True).names
        'recompute and retry_failed'
        """
        return " and ".join(name for name in ("recompute", "retry_failed") if getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The dataset that is indexed, the parts that do it, and the right to write.

    It can be made again in another process from the settings, the dataset's name and the token of the fence, so that a
    batch of texts can be embedded elsewhere.
    """

    store: Store
    embedder: Embedder
    settings: Settings
    dataset: str
    dataset_id: int
    model_id: int
    fence: Fence

    def text(self, record: Record) -> str:
        """The text of a record that is embedded."""
        return prepared_text(record, self.settings.dataset(self.dataset).text)

    def digest(self, record: Record) -> bytes:
        """What identifies that text."""
        return digest(self.text(record))


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexContext:
    """One running index. `report` takes the progress and raises `Cancelled` when the index is asked to stop."""

    target: Target
    projector: Projector
    publishing: Publishing
    text_hash: str
    requested: IndexRequested
    report: TokenProgress


@contextmanager
def held_lease(
    store: Store, dataset: str, dataset_id: int, owner: str, requested: IndexRequested
) -> Iterator[tuple[Fence, Heartbeat]]:
    """The dataset's lease, kept alive by a heartbeat.

    Raises `LeaseHeld` while another index has it; what was requested beyond the pending records is left to that one.
    """
    try:
        fence = retry_while_busy(lambda: store.leases.acquire(lease_name(dataset), owner))
    except LeaseHeld as held:
        is_left = retry_while_busy(
            lambda: store.index_requests.ask(
                dataset, recompute=requested.recompute, retry_failed=requested.retry_failed
            )
        )
        if not is_left:
            raise
        raise LeaseHeld(f"{held} It does {requested.names} as well, or the next index does.") from held
    with Heartbeat(store.leases, fence) as heartbeat:
        yield fence, heartbeat


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressReport:
    """Passes progress on to the lease and to a listener; a `TokenProgress`."""

    dataset: str
    heartbeat: Heartbeat
    listener: Progress | None = None
    should_stop: Callable[[], bool] | None = None

    def __call__(self, step: str, done: int, total: int) -> None:
        """Raises `Cancelled` when the index was asked to stop."""
        self.heartbeat.tell(step, done, total)
        if self.listener:
            self.listener(step, done, total)
        if self.should_stop and self.should_stop():
            raise Cancelled(f"The index of {self.dataset} was asked to stop. Progress is saved; run index to resume.")

    def tokens(self, done: int, total: int) -> None:
        if isinstance(self.listener, TokenProgress):
            self.listener.tokens(done, total)


@contextmanager
def open_index(
    store: Store,
    embedder: Embedder,
    projector: Projector,
    settings: Settings,
    dataset: str,
    *,
    owner: str,
    requested: IndexRequested,
    listener: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Iterator[IndexContext]:
    """An index of the dataset, with what an interrupted one left finished or removed.

    Raises `LeaseHeld` while another index of the dataset runs, `OutputElsewhere` where another home has its output.
    """
    dataset_id = retry_while_busy(lambda: store.ledger.dataset_id(dataset, create=True))
    assert dataset_id is not None
    with held_lease(store, dataset, dataset_id, owner, requested) as (fence, heartbeat):
        publishing = Publishing(
            store,
            fence,
            dataset=dataset,
            dataset_id=dataset_id,
            home=settings.home,
            output=settings.output / dataset,
            settings=settings.publish,
            extras=settings.dataset(dataset).extras,
        )
        retry_while_busy(lambda: _recover(store, fence, dataset_id, publishing))
        yield IndexContext(
            target=Target(
                store=store,
                embedder=embedder,
                settings=settings,
                dataset=dataset,
                dataset_id=dataset_id,
                model_id=retry_while_busy(lambda: store.vectors.model_id(embedder.identity, embedder.dim)),
                fence=fence,
            ),
            projector=projector,
            publishing=publishing,
            text_hash=settings_hash(settings.dataset(dataset).text),
            requested=requested,
            report=ProgressReport(dataset=dataset, heartbeat=heartbeat, listener=listener, should_stop=should_stop),
        )


def _recover(store: Store, fence: Fence, dataset_id: int, publishing: Publishing) -> None:
    publishing.claim()
    store.layouts.drop_unfinished(fence, dataset_id)
    publishing.finish()
