"""What was asked of an index that could not do it just then: kept until one has done it."""

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
open_for = timedelta(days=7)  # what nobody did for so long is not wanted any more


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRequest:
    """What an index shall do beyond going on; several of them at once may be one. `ids` are those that are open."""

    ids: Sequence[str] = ()
    recompute: bool = False
    retry_failed: bool = False


class IndexRequests:
    """The wishes of all datasets, which are known by their names."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def ask(
        self,
        dataset: str,
        *,
        recompute: bool = False,
        retry_failed: bool = False,
        id: str = "",
        at: datetime | None = None,
    ) -> bool:
        """Leave a wish for the index that is at work, or the next one. True if it is new: an `id` is heard once."""
        if not recompute and not retry_failed:
            return False
        row = {
            "id": id or uuid.uuid4().hex,
            "dataset": dataset,
            "recompute": recompute,
            "retry_failed": retry_failed,
            "asked_at": at or datetime.now(UTC),
            "done_at": None,
        }
        with self.db.write() as connection:
            connection.execute(delete(request_t).where(request_t.c.asked_at < datetime.now(UTC) - open_for))
            return self.db.insert_new(connection, request_t, [row]) == 1

    def open(self, dataset: str) -> IndexRequest:
        """All that is wished for now, as one."""
        query = select(request_t).where(request_t.c.dataset == dataset, request_t.c.done_at.is_(None))
        with self.db.read() as connection:
            rows = connection.execute(query.where(request_t.c.asked_at > datetime.now(UTC) - open_for)).all()
        return IndexRequest(
            ids=tuple(row.id for row in rows),
            recompute=any(row.recompute for row in rows),
            retry_failed=any(row.retry_failed for row in rows),
        )

    def withdraw(self, dataset: str) -> None:
        """Nobody wants any more what was asked for until now."""
        open_now = (request_t.c.dataset == dataset) & request_t.c.done_at.is_(None)
        with self.db.write() as connection:
            connection.execute(update(request_t).where(open_now).values(done_at=datetime.now(UTC)))

    def done(self, fence: Fence, wish: IndexRequest) -> None:
        """These are fulfilled."""
        if not wish.ids:
            return
        with fence.write() as connection:
            mine = request_t.c.id.in_(list(wish.ids))
            connection.execute(update(request_t).where(mine).values(done_at=datetime.now(UTC)))
