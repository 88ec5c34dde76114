"""Queries of `runatlas verify`; they only read."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import func, select

from components.store.engine import Database
from components.store.layouts import layout_t, position_t
from components.store.tables import RecordState, record_t
from components.store.vectors import vector_t


class Verification:
    """Statements over whole tables that only checks need."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def database_errors(self) -> list[str]:
        """Findings of SQLite's own checks; none on PostgreSQL, which has no such check for clients."""
        if self.db.dialect != "sqlite":
            return []
        checks = ("pragma quick_check", "pragma foreign_key_check")
        with self.db.read() as connection:
            return [str(tuple(row)) for sql in checks for row in connection.exec_driver_sql(sql) if row[0] != "ok"]

    def placed_count(self, dataset_id: int, layout_id: int) -> int:
        """How many indexed records have a position in this layout, and a vector."""
        query = (
            select(func.count())
            .select_from(record_t)
            .join(position_t, (position_t.c.seq == record_t.c.seq) & (position_t.c.layout_id == layout_id))
            .join(vector_t, vector_t.c.id == position_t.c.vector_id)
            .where(record_t.c.dataset_id == dataset_id, record_t.c.state == RecordState.INDEXED)
        )
        with self.db.read() as connection:
            return int(connection.execute(query).scalar_one())

    def current_layout_count(self, dataset_id: int) -> int:
        """How many layouts are marked as current; one, if the database is consistent."""
        query = select(func.count()).where(layout_t.c.dataset_id == dataset_id, layout_t.c.status == "current")
        with self.db.read() as connection:
            return int(connection.execute(query).scalar_one())

    def shared_keys(self, dataset_id: int, limit: int = 5) -> list[str]:
        """Keys that more than one current record has; none, if the database is consistent."""
        live = (record_t.c.dataset_id == dataset_id) & (record_t.c.state != int(RecordState.SUPERSEDED))
        query = select(record_t.c.key).where(live, record_t.c.key.is_not(None)).group_by(record_t.c.key)
        with self.db.read() as connection:
            return list(connection.execute(query.having(func.count() > 1).limit(limit)).scalars())

    def vectors(self, size: int = 5_000) -> Iterator[tuple[int, bytes]]:
        """All vectors by id, as stored: the bytes of float16 values; `size` are read at once."""
        last = -1
        while True:
            query = select(vector_t.c.id, vector_t.c.data).where(vector_t.c.id > last).order_by(vector_t.c.id)
            with self.db.read() as connection:
                rows = connection.execute(query.limit(size)).tuples().all()
            if not rows:
                return
            yield from rows
            last = rows[-1][0]
