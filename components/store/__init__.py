"""The store: everything runatlas knows, in one database (SQLite or PostgreSQL)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from components.store.comparisons import Comparisons
from components.store.datasets import Datasets
from components.store.defects import Defects
from components.store.engine import Database
from components.store.index_requests import IndexRequests
from components.store.keyed_vectors import KeyedVectors
from components.store.layouts import Layouts
from components.store.lease import Holder, Leases
from components.store.ledger import Ledger
from components.store.migrate import upgrade
from components.store.publications import Publications
from components.store.received import ReceivedRecords
from components.store.record_writer import RecordWriter
from components.store.records import Records
from components.store.removal import Removal
from components.store.runs import Runs
from components.store.sessions import Sessions
from components.store.surveys import Surveys
from components.store.tables import RecordState
from components.store.tags import Tags
from components.store.topics import Topics
from components.store.vectors import VectorStore
from components.store.words import Words

shortest_stall_s = 10.0  # a busy machine may let a transaction wait for some seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetStatus:
    """The state of a dataset. `drift` is the share of newly placed records off the map."""

    records: int
    unindexed: int
    failed: int
    defects: int
    model: str | None
    layout: int | None
    drift: float | None
    snapshot: int | None
    rows: int
    indexing: Holder


class Store:
    """The tables of one database, each behind its class; the schema is migrated when it is opened."""

    def __init__(
        self,
        url: str,
        *,
        lease_ttl_s: float = 60.0,
        private: bool = True,
        keep_credentials: Callable[[list[str]], None] | None = None,
    ) -> None:
        self.db = Database(url, private=private, stall_limit_s=max(lease_ttl_s, shortest_stall_s))
        try:
            upgrade(self.db, keep_credentials)
        except BaseException:
            self.db.close()
            raise
        self.datasets = Datasets(self.db)
        self.ledger = Ledger(self.db)
        self.writer = RecordWriter(self.db)
        self.received = ReceivedRecords(self.db)
        self.defects = Defects(self.db)
        self.sessions = Sessions(self.db)
        self.records = Records(self.db)
        self.vectors = VectorStore(self.db)
        self.keyed_vectors = KeyedVectors(self.db)
        self.layouts = Layouts(self.db)
        self.publications = Publications(self.db)
        self.leases = Leases(self.db, lease_ttl_s)
        self.runs = Runs(self.db)
        self.index_requests = IndexRequests(self.db)
        self.words = Words(self.db)
        self.topics = Topics(self.db)
        self.tags = Tags(self.db)
        self.comparisons = Comparisons(self.db)
        self.surveys = Surveys(self.db)
        self.removal = Removal(self.db)

    def status(self) -> dict[str, DatasetStatus]:
        """Name -> the state of the dataset."""
        return {name: self._status(name, number) for name, number in self.datasets.ids().items()}

    def _status(self, name: str, dataset_id: int) -> DatasetStatus:
        counts = self.records.counts(dataset_id)
        layout = self.layouts.current(dataset_id)
        snapshot = self.publications.newest(dataset_id)
        return DatasetStatus(
            records=sum(counts.values()) - counts[RecordState.SUPERSEDED],
            unindexed=counts[RecordState.WAITING],
            failed=counts[RecordState.FAILED],
            defects=self.defects.count(dataset_id),
            model=self.vectors.model(layout.model_id)[0] if layout else None,
            layout=layout.version if layout else None,
            drift=layout.drift if layout else None,
            snapshot=snapshot.no if snapshot else None,
            rows=snapshot.rows if snapshot else 0,
            indexing=self.leases.holder(lease_name(name)),
        )

    def close(self) -> None:
        self.db.close()


def lease_name(dataset: str) -> str:
    """The lease that guards a dataset's index."""
    return f"index:{dataset}"
