"""Removes a dataset with everything that is its own, and then the vectors that no other dataset uses.

All rows go in one transaction, so nobody sees half a dataset. Its vectors are noted in that transaction and deleted in a
later one, while no index runs that may be about to use them.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import orjson
from sqlalchemy import Connection, delete, func, select, text
from sqlmodel import SQLModel

from components.contracts import in_batches
from components.store.engine import Database, in_clause
from components.store.index_requests import request_t
from components.store.layouts import layout_t, position_t, topic_t
from components.store.lease import Fence, lease_t
from components.store.runs import run_t
from components.store.survey_tables import dropped_t
from components.store.tables import dataset_t, record_t
from components.store.vectors import vector_t

OPTIMIZED_ROWS: Final = 200_000  # of the index of words, which is rewritten so that nothing of deleted texts is left


class Removal:
    """What `runatlas drop` does to the database."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def drop(self, fence: Fence, dataset: str, dataset_id: int, digests: Iterable[bytes]) -> int:
        """Delete the dataset; returns how many records it had. `digests` are those of its prepared texts."""
        names = list(digests)
        with fence.write() as connection, self._erasing(connection):
            self._note_vectors(connection, dataset_id, names)
            if self.db.dialect == "sqlite":
                connection.execute(text(_forget_words), {"dataset": dataset_id})
            n = int(
                connection.execute(
                    select(func.count()).select_from(record_t).where(record_t.c.dataset_id == dataset_id)
                ).scalar_one()
            )
            for statement in _deletes(dataset, dataset_id):
                connection.execute(statement)
        self._flush()
        return n

    def _note_vectors(self, connection: Connection, dataset_id: int, digests: list[bytes]) -> None:
        mine = select(layout_t.c.id).where(layout_t.c.dataset_id == dataset_id)
        placed = select(position_t.c.vector_id).where(position_t.c.layout_id.in_(mine)).distinct()
        self._note(connection, connection.execute(placed).scalars().all())
        for fitted in _fitted_vectors(connection, layout_t.c.dataset_id == dataset_id):
            self._note(connection, fitted)
        for chunk in in_batches(digests, in_clause):
            query = select(vector_t.c.id).where(vector_t.c.digest.in_(chunk))
            self._note(connection, connection.execute(query).scalars().all())

    def _note(self, connection: Connection, ids: Iterable[int]) -> None:
        for chunk in in_batches(ids, in_clause):
            there = list(connection.execute(select(vector_t.c.id).where(vector_t.c.id.in_(chunk))).scalars())
            self.db.insert_new(connection, dropped_t, [{"id": id} for id in there])

    def has_unused(self) -> bool:
        """Are there vectors of dropped datasets to look at?"""
        with self.db.read() as connection:
            return connection.execute(select(dropped_t.c.id).limit(1)).first() is not None

    def sweep(self, pending: Callable[[], Iterable[bytes]]) -> int | None:
        """Delete the vectors of dropped datasets that no other one uses, on a map or for `pending` texts (digests).

        Returns how many; None while an index runs, which may be about to use one of them.
        """
        if not self.has_unused():
            return 0
        waiting = list(pending())
        with self.db.write() as connection, self._erasing(connection):
            if self.db.dialect == "postgresql":
                connection.exec_driver_sql("lock table lease in share row exclusive mode")
            if self._is_indexing(connection):
                return None
            connection.execute(delete(dropped_t).where(dropped_t.c.id.in_(select(position_t.c.vector_id))))
            for fitted in _fitted_vectors(connection, layout_t.c.id.is_not(None)):
                _keep(connection, fitted)
            for chunk in in_batches(waiting, in_clause):
                query = select(vector_t.c.id).where(vector_t.c.digest.in_(chunk))
                _keep(connection, connection.execute(query).scalars().all())
            gone = connection.execute(delete(vector_t).where(vector_t.c.id.in_(select(dropped_t.c.id)))).rowcount
            connection.execute(delete(dropped_t))
        self._flush()
        return int(gone)

    def _is_indexing(self, connection: Connection) -> bool:
        held = (lease_t.c.expires_at >= self.db.now(connection)) & lease_t.c.name.startswith("index:")
        return connection.execute(select(lease_t.c.name).where(held).limit(1)).first() is not None

    @contextmanager
    def _erasing(self, connection: Connection) -> Iterator[None]:
        """SQLite overwrites what is deleted on this connection with zeros."""
        if self.db.dialect != "sqlite":
            yield
            return
        connection.exec_driver_sql("pragma secure_delete=on")
        try:
            yield
        finally:
            connection.exec_driver_sql("pragma secure_delete=off")

    def _flush(self) -> None:
        """Leave nothing of what was deleted in the index of words and the write-ahead log, on SQLite."""
        if self.db.dialect != "sqlite":
            return
        with self.db.write() as connection, self._erasing(connection):
            rows = connection.execute(text("select count(*) from record_words_docsize")).scalar_one()
            if rows <= OPTIMIZED_ROWS:
                connection.execute(text("insert into record_words(record_words) values ('optimize')"))
        with self.db.read() as connection:
            connection.rollback()
            connection.exec_driver_sql("pragma wal_checkpoint(truncate)")


# what FTS5 knows of the dataset's texts, of those records that are in its index
_forget_words = """
    insert into record_words(record_words, rowid, text)
    select 'delete', record.seq, record.text from record
    where record.dataset_id = :dataset and record.seq in (select id from record_words_docsize)
"""


def _deletes(dataset: str, dataset_id: int) -> Iterator[Any]:
    """The statements that delete everything of a dataset, what refers to others first."""
    layouts = select(layout_t.c.id).where(layout_t.c.dataset_id == dataset_id)
    for table in (position_t, topic_t):
        yield delete(table).where(table.c.layout_id.in_(layouts))
    for own in reversed(SQLModel.metadata.sorted_tables):
        if "dataset_id" in own.c:
            yield delete(own).where(own.c.dataset_id == dataset_id)
    for table in (request_t, run_t):
        yield delete(table).where(table.c.dataset == dataset)
    yield delete(dataset_t).where(dataset_t.c.id == dataset_id)


def _keep(connection: Connection, ids: Iterable[int]) -> None:
    for chunk in in_batches(ids, in_clause):
        connection.execute(delete(dropped_t).where(dropped_t.c.id.in_(chunk)))


def _fitted_vectors(connection: Connection, which: Any) -> Iterator[list[int]]:
    """The vectors that layouts were fitted on, and those that stand for their topics."""
    layouts = select(layout_t.c.id, layout_t.c.arrays).where(which)
    for id, arrays in connection.execute(layouts).all():
        with np.load(io.BytesIO(arrays), allow_pickle=False) as stored:
            yield stored["fitted_ids"].tolist() if "fitted_ids" in stored.files else []
        for members in connection.execute(select(topic_t.c.members).where(topic_t.c.layout_id == id)).scalars():
            yield orjson.loads(members)
