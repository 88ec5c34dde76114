"""Datasets by name, the sources that were given to their loads, and the settings that are stored for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, cast

import orjson
from sqlalchemy import select, update

from components.store.engine import Database
from components.store.survey_tables import survey_t
from components.store.tables import dataset_t
from components.store.values import to_json


class Datasets:
    """The datasets of one database."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def id(self, name: str, *, create: bool = False) -> int | None:
        """The id of a dataset, or None; with `create`, a new dataset if there is none of this name."""
        query = select(dataset_t.c.id).where(dataset_t.c.name == name)
        with self.db.read() as connection:
            found = connection.execute(query).scalar()
        if found is not None or not create:
            return cast("int | None", found)
        with self.db.write() as connection:
            self.db.insert_new(connection, dataset_t, [_new_row(name)])
            return int(connection.execute(query).scalar_one())

    def ids(self) -> dict[str, int]:
        """Name -> id, sorted by name; without uploaded tables, which loads and indexes of all datasets leave out."""
        is_upload = select(survey_t.c.dataset_id).where(survey_t.c.dataset_id == dataset_t.c.id).exists()
        query = select(dataset_t.c.name, dataset_t.c.id).where(~is_upload).order_by(dataset_t.c.name)
        with self.db.read() as connection:
            return dict(connection.execute(query).tuples().all())

    def sources(self, dataset_id: int) -> tuple[str, ...]:
        """The sources that were given to loads, in order of their first load."""
        with self.db.read() as connection:
            raw = connection.execute(select(dataset_t.c.sources).where(dataset_t.c.id == dataset_id)).scalar_one()
        return tuple(orjson.loads(raw))

    def remember(self, dataset_id: int, specs: Iterable[str]) -> None:
        """Add sources to those that later loads read."""
        with self.db.write() as connection:
            query = select(dataset_t.c.sources).where(dataset_t.c.id == dataset_id)
            if self.db.dialect != "sqlite":
                query = query.with_for_update()
            known = orjson.loads(connection.execute(query).scalar_one())
            fresh = [spec for spec in dict.fromkeys(specs) if spec not in known]
            if fresh:
                connection.execute(
                    update(dataset_t).where(dataset_t.c.id == dataset_id).values(sources=to_json([*known, *fresh]))
                )

    def settings(self) -> dict[str, dict[str, Any]]:
        """Name -> the settings that are stored for it, of datasets that have any."""
        query = select(dataset_t.c.name, dataset_t.c.settings).where(dataset_t.c.settings != "{}")
        with self.db.read() as connection:
            return {name: orjson.loads(raw) for name, raw in connection.execute(query.order_by(dataset_t.c.name))}

    def configure(self, dataset_id: int, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Store settings of a dataset, None to remove one; returns all that are stored now."""
        with self.db.write() as connection:
            query = select(dataset_t.c.settings).where(dataset_t.c.id == dataset_id)
            if self.db.dialect != "sqlite":
                query = query.with_for_update()
            merged = orjson.loads(connection.execute(query).scalar_one()) | dict(changes)
            stored = {name: value for name, value in merged.items() if value is not None}
            connection.execute(update(dataset_t).where(dataset_t.c.id == dataset_id).values(settings=to_json(stored)))
        return stored


def _new_row(name: str) -> dict[str, Any]:
    return {"name": name, "sources": "[]", "settings": "{}", "created_at": datetime.now(UTC)}
