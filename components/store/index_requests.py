"""What was requested of an index while another one ran: kept until an index has done it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select, update

from components.store.engine import Database
from components.store.lease import Fence
from components.store.tables import IndexRequestRow

request_t = IndexRequestRow.__table__  # type: ignore[attr-defined]
expires_after = timedelta(days=7)  # a request that no index has done by then is dropped


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRequest:
    """What an index does beyond the pending records. `ids` are the stored requests that it combines."""

    ids: Sequence[str] = ()
    recompute: bool = False
    retry_failed: bool = False
    renew_topics: bool = False

    @property
    def names(self) -> str:
        """The options that are set, for messages.

        >>> IndexRequest(recompute=True, retry_failed=True).names
        'recompute and retry_failed'
        """
        return " and ".join(name for name in ("recompute", "retry_failed", "renew_topics") if getattr(self, name))


class IndexRequests:
    """The open requests of all datasets, by name of the dataset."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def add(
        self, dataset: str, *, recompute: bool = False, retry_failed: bool = False, renew_topics: bool = False
    ) -> None:
        """Request an index, done by the one that runs, or else by the next one."""
        now = datetime.now(UTC)
        row = {
            "id": uuid.uuid4().hex,
            "dataset": dataset,
            "recompute": recompute,
            "retry_failed": retry_failed,
            "renew_topics": renew_topics,
            "asked_at": now,
            "done_at": None,
        }
        with self.db.write() as connection:
            connection.execute(delete(request_t).where(request_t.c.asked_at < now - expires_after))
            self.db.insert_new(connection, request_t, [row])

    def open(self, dataset: str) -> IndexRequest:
        """All open requests, combined."""
        is_open = (request_t.c.dataset == dataset) & request_t.c.done_at.is_(None)
        query = select(request_t).where(is_open, request_t.c.asked_at > datetime.now(UTC) - expires_after)
        with self.db.read() as connection:
            rows = connection.execute(query).all()
        return IndexRequest(
            ids=tuple(row.id for row in rows),
            recompute=any(row.recompute for row in rows),
            retry_failed=any(row.retry_failed for row in rows),
            renew_topics=any(row.renew_topics for row in rows),
        )

    def withdraw(self, dataset: str) -> None:
        """Close all open requests of a dataset without an index."""
        is_open = (request_t.c.dataset == dataset) & request_t.c.done_at.is_(None)
        with self.db.write() as connection:
            connection.execute(update(request_t).where(is_open).values(done_at=datetime.now(UTC)))

    def close(self, fence: Fence, request: IndexRequest) -> None:
        """Close the requests that an index has done."""
        if not request.ids:
            return
        with fence.write() as connection:
            done = request_t.c.id.in_(list(request.ids))
            connection.execute(update(request_t).where(done).values(done_at=datetime.now(UTC)))
