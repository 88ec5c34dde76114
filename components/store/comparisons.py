"""Results of comparisons, so that each has an address and none is computed twice."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import delete, select

from components.store.engine import Database
from components.store.tables import ComparisonRow
from components.store.values import to_json

comparison_t = ComparisonRow.__table__  # type: ignore[attr-defined]
KEPT = 200  # of a dataset


class Comparisons:
    """The newest results of each dataset."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def get(self, dataset_id: int, id: str) -> dict[str, Any] | None:
        """The result of this id, or None."""
        query = select(comparison_t.c.result).where(comparison_t.c.dataset_id == dataset_id, comparison_t.c.id == id)
        with self.db.read() as connection:
            raw = connection.execute(query).scalar_one_or_none()
        return None if raw is None else dict(orjson.loads(raw))

    def put(self, dataset_id: int, id: str, snapshot: int, result: Mapping[str, Any]) -> None:
        """Keep a result; one of the same id stays as it is. The oldest ones beyond `KEPT` are removed."""
        row = {
            "id": id,
            "dataset_id": dataset_id,
            "snapshot": snapshot,
            "result": to_json(dict(result)),
            "created_at": datetime.now(UTC),
        }
        mine = comparison_t.c.dataset_id == dataset_id
        newest = select(comparison_t.c.id).where(mine).order_by(comparison_t.c.created_at.desc()).limit(KEPT)
        with self.db.write() as connection:
            self.db.insert_new(connection, comparison_t, [row])
            kept = list(connection.execute(newest).scalars())
            connection.execute(delete(comparison_t).where(mine, comparison_t.c.id.not_in(kept)))
