"""Lines and items of sources that could not become a record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select

from components.contracts import Defect
from components.store.engine import Database
from components.store.tables import defect_t, source_t
from components.store.values import storable


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


def defect_rows(dataset_id: int, source_id: int, generation: int, defects: Sequence[Defect]) -> list[dict[str, Any]]:
    """Defects as rows of their table."""
    return [
        {
            "dataset_id": dataset_id,
            "source_id": source_id,
            "generation": generation,
            "offset": defect.offset,
            "reason": storable(defect.reason),
            "excerpt": storable(defect.excerpt),
        }
        for defect in defects
    ]
