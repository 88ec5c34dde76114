"""What all steps of one index read: opened once, under the dataset's lease, and never changed while the index runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from components.contracts import Embedder, Progress, Projector, Record, TokenProgress
from components.errors import Cancelled, LeaseHeld
from components.index.cluster import Cluster
from components.publish.run import Publishing
from components.retry import retry_while_busy
from components.settings import Settings, TextSettings
from components.store import Store, lease_name
from components.store.index_requests import IndexRequest
from components.store.lease import Fence, Heartbeat
from components.text import prepared_text, settings_hash
from components.topics.chat import ChatModel
from components.topics.clusters import USUAL, Density


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexInputs:
    """What an index is opened with. `owner` names the process in messages about the lease."""

    store: Store
    embedder: Embedder
    projector: Projector
    settings: Settings
    dataset: str
    owner: str
    requested: IndexRequest
    chat: ChatModel | None = None
    cluster: Cluster | None = None  # None: embeds and places here
    listener: Progress | None = None
    should_stop: Callable[[], bool] | None = None
    density: Density = USUAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where vectors of a dataset go: all that is needed to embed a batch of its texts.

    Another process can make an equal one from the settings, the dataset's name and the fence's token.
    """

    store: Store
    embedder: Embedder
    text: TextSettings
    dataset_id: int
    model_id: int
    fence: Fence

    def prepared(self, record: Record) -> str:
        """The text of a record that is embedded."""
        return prepared_text(record, self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexContext:
    """One running index. `report` takes its progress, and raises `Cancelled` once the index is asked to stop."""

    target: Target
    projector: Projector
    publishing: Publishing
    settings: Settings
    dataset: str
    text_hash: str
    requested: IndexRequest
    report: TokenProgress
    chat: ChatModel | None  # names topics
    cluster: Cluster | None
    density: Density = USUAL


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressReport:
    """Passes progress on to the lease and to a listener; a `TokenProgress`."""

    dataset: str
    heartbeat: Heartbeat
    listener: Progress | None = None
    should_stop: Callable[[], bool] | None = None

    def __call__(self, step: str, done: int, total: int) -> None:
        """Raises `Cancelled` once the index is asked to stop."""
        self.heartbeat.report(step, done, total)
        if self.listener:
            self.listener(step, done, total)
        if self.should_stop and self.should_stop():
            raise Cancelled(f"The index of {self.dataset} was stopped. Progress is saved; run `index` to resume.")

    def tokens(self, done: int, total: int) -> None:
        """Passes token counts on, if the listener takes them."""
        if isinstance(self.listener, TokenProgress):
            self.listener.tokens(done, total)


@contextmanager
def open_index(inputs: IndexInputs) -> Iterator[IndexContext]:
    """An index of the dataset, under its lease; what an interrupted index left is finished or removed first.

    Raises `LeaseHeld` while another index of the dataset runs, which then does what was requested;
    `OutputElsewhere` where another home has the dataset's output.
    """
    store, dataset = inputs.store, inputs.dataset
    dataset_id = retry_while_busy(lambda: store.datasets.id(dataset, create=True))
    assert dataset_id is not None
    with _held_lease(inputs) as (fence, heartbeat):
        own = inputs.settings.dataset(dataset)
        publishing = Publishing(
            store,
            fence,
            dataset=dataset,
            dataset_id=dataset_id,
            home=inputs.settings.home,
            output=inputs.settings.output / dataset,
            settings=inputs.settings.publish,
            extras=own.extras,
        )
        retry_while_busy(lambda: _recover(store, fence, dataset_id, publishing))
        yield IndexContext(
            target=open_target(store, inputs.embedder, own.text, dataset_id, fence),
            projector=inputs.projector,
            publishing=publishing,
            settings=inputs.settings,
            dataset=dataset,
            text_hash=settings_hash(own.text),
            requested=inputs.requested,
            chat=inputs.chat,
            cluster=inputs.cluster,
            density=inputs.density,
            report=ProgressReport(
                dataset=dataset, heartbeat=heartbeat, listener=inputs.listener, should_stop=inputs.should_stop
            ),
        )


def open_target(store: Store, embedder: Embedder, text: TextSettings, dataset_id: int, fence: Fence) -> Target:
    """The target of a dataset's vectors; registers the model if it is new."""
    return Target(
        store=store,
        embedder=embedder,
        text=text,
        dataset_id=dataset_id,
        model_id=retry_while_busy(lambda: store.vectors.model_id(embedder.identity, embedder.dim)),
        fence=fence,
    )


@contextmanager
def _held_lease(inputs: IndexInputs) -> Iterator[tuple[Fence, Heartbeat]]:
    """The dataset's lease, renewed by a heartbeat. Raises `LeaseHeld`, once the request is left to the holder."""
    store, dataset, requested = inputs.store, inputs.dataset, inputs.requested
    try:
        fence = retry_while_busy(lambda: store.leases.acquire(lease_name(dataset), inputs.owner))
    except LeaseHeld as held:
        retry_while_busy(
            lambda: store.index_requests.add(
                dataset,
                recompute=requested.recompute,
                retry_failed=requested.retry_failed,
                renew_topics=requested.renew_topics,
            )
        )
        if not requested.names:
            raise
        raise LeaseHeld(f"{held} That index, or else the next one, does {requested.names} as well.") from held
    with Heartbeat(store.leases, fence) as heartbeat:
        yield fence, heartbeat


def _recover(store: Store, fence: Fence, dataset_id: int, publishing: Publishing) -> None:
    publishing.claim()
    store.layouts.drop_unfinished(fence, dataset_id)
    publishing.finish()
