"""Lines and items of sources that could not become a record."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from components.store.engine import Database
from components.store.tables import defect_t, source_t


class Defects:
    """The defects of all datasets."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def count(self, dataset_id: int) -> int:
        """How many defects the sources of a dataset have."""
        with self.db.read() as connection:
            query = select(func.count()).select_from(defect_t).where(defect_t.c.dataset_id == dataset_id)
            return int(connection.execute(query).scalar_one())

    def rows(self, dataset_id: int, limit: int = 1_000) -> list[dict[str, Any]]:
        """source, offset, reason, excerpt of the defects, by source and offset."""
        query = (
            select(source_t.c.key.label("source"), defect_t.c.offset, defect_t.c.reason, defect_t.c.excerpt)
            .join(source_t, source_t.c.id == defect_t.c.source_id)
            .where(defect_t.c.dataset_id == dataset_id)
            .order_by(source_t.c.key, defect_t.c.offset)
            .limit(limit)
        )
        with self.db.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]
