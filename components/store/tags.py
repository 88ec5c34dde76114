"""Tags that people put on records, with what they noted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Connection, delete, func, select

from components.contracts import in_batches
from components.store.engine import Database, in_clause
from components.store.tables import record_t
from components.store.tag_tables import Tagged, Tagging

tagging_t = Tagging.__table__  # type: ignore[attr-defined]
tagged_t = Tagged.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """A tag: how many records have it, the newest note, and when it was last given."""

    tag: str
    count: int
    note: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordTag:
    """A tag of one record."""

    tag: str
    note: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TagChange:
    """What tagging did: records that got the tag, and those that had it and got a note."""

    added: int
    changed: int
    count: int  # records that have the tag now


class Tags:
    """The tags of all datasets."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def put(self, dataset_id: int, tag: str, note: str, ids: Sequence[str]) -> TagChange:
        """Tag records. Those that have the tag keep their note, unless there is a new one."""
        mine = (tagged_t.c.dataset_id == dataset_id) & (tagged_t.c.tag == tag)
        row = {"dataset_id": dataset_id, "tag": tag, "note": note, "created_at": datetime.now(UTC)}
        with self.db.write() as connection:
            before = _count(connection, mine)
            at = connection.execute(tagging_t.insert().values(row)).inserted_primary_key
            assert at is not None
            insert = self.db.insert(tagged_t)
            if note:
                changes = {"tagging_id": insert.excluded.tagging_id}
                insert = insert.on_conflict_do_update(index_elements=["dataset_id", "tag", "record_id"], set_=changes)
            else:
                insert = insert.on_conflict_do_nothing()
            new = {"dataset_id": dataset_id, "tag": tag, "tagging_id": at[0]}
            for chunk in in_batches(sorted(set(ids)), in_clause):  # in one order: two writers never wait for each other
                connection.execute(insert, [{**new, "record_id": id} for id in chunk])
            _remove_unused(connection, dataset_id, tag)
            count = _count(connection, mine)
        added = count - before
        return TagChange(added=added, changed=len(set(ids)) - added if note else 0, count=count)

    def remove(self, dataset_id: int, tag: str, ids: Sequence[str] | None = None) -> int:
        """Take a tag from these records, or from all; returns how many had it."""
        mine = (tagged_t.c.dataset_id == dataset_id) & (tagged_t.c.tag == tag)
        with self.db.write() as connection:
            if ids is None:
                n = connection.execute(delete(tagged_t).where(mine)).rowcount
            else:
                chunks = in_batches(sorted(set(ids)), in_clause)
                n = sum(
                    connection.execute(delete(tagged_t).where(mine, tagged_t.c.record_id.in_(chunk))).rowcount
                    for chunk in chunks
                )
            _remove_unused(connection, dataset_id, tag)
        return int(n)

    def all(self, dataset_id: int) -> list[Tag]:
        """The tags of a dataset, those that were given last first."""
        counted = (
            select(tagged_t.c.tagging_id, func.count().label("n"))
            .where(tagged_t.c.dataset_id == dataset_id)
            .group_by(tagged_t.c.tagging_id)
            .subquery()
        )
        query = (
            select(tagging_t, counted.c.n)
            .join(counted, counted.c.tagging_id == tagging_t.c.id)
            .order_by(tagging_t.c.id.desc())
        )
        found: dict[str, Tag] = {}
        with self.db.read() as connection:
            for row in connection.execute(query):
                known = found.get(row.tag)
                found[row.tag] = Tag(
                    tag=row.tag,
                    count=row.n + (known.count if known else 0),
                    note=(known.note if known else "") or row.note,
                    created_at=known.created_at if known else row.created_at,
                )
        return list(found.values())

    def count(self, dataset_id: int, tag: str) -> int:
        """How many records have the tag."""
        with self.db.read() as connection:
            return _count(connection, (tagged_t.c.dataset_id == dataset_id) & (tagged_t.c.tag == tag))

    def state(self, dataset_id: int) -> str:
        """Changes whenever a record of the dataset gets or loses a tag."""
        newest = select(func.max(tagging_t.c.created_at)).where(tagging_t.c.dataset_id == dataset_id)
        with self.db.read() as connection:
            at = connection.execute(newest).scalar_one()
            n = _count(connection, tagged_t.c.dataset_id == dataset_id)
        return f"{at.isoformat() if at else ''} {n}"

    def ids(self, dataset_id: int, tags: Sequence[str]) -> list[str]:
        """The ids of the records that have one of these tags."""
        query = select(tagged_t.c.record_id).where(tagged_t.c.dataset_id == dataset_id, tagged_t.c.tag.in_(list(tags)))
        with self.db.read() as connection:
            return list(connection.execute(query.distinct()).scalars())

    def of_records(self, dataset_id: int, ids: Sequence[str]) -> Mapping[str, Sequence[RecordTag]]:
        """Record id -> its tags, in their order of time; records without any are left out."""
        found: dict[str, list[RecordTag]] = {}
        query = (
            select(tagged_t.c.record_id, tagging_t.c.tag, tagging_t.c.note, tagging_t.c.created_at)
            .join(tagging_t, tagging_t.c.id == tagged_t.c.tagging_id)
            .where(tagged_t.c.dataset_id == dataset_id)
            .order_by(tagging_t.c.id)
        )
        with self.db.read() as connection:
            for chunk in in_batches(list(ids), in_clause):
                for row in connection.execute(query.where(tagged_t.c.record_id.in_(chunk))):
                    one = RecordTag(tag=row.tag, note=row.note, created_at=row.created_at)
                    found.setdefault(row.record_id, []).append(one)
        return found

    def unknown(self, dataset_id: int, ids: Sequence[str]) -> list[str]:
        """Those of the ids that no record of the dataset has, in their order."""
        known: set[str] = set()
        with self.db.read() as connection:
            for chunk in in_batches(list(ids), in_clause):
                query = select(record_t.c.id).where(record_t.c.dataset_id == dataset_id, record_t.c.id.in_(chunk))
                known.update(connection.execute(query).scalars())
        return [id for id in ids if id not in known]


def _count(connection: Connection, which: ColumnElement[bool]) -> int:
    return int(connection.execute(select(func.count()).select_from(tagged_t).where(which)).scalar_one())


def _remove_unused(connection: Connection, dataset_id: int, tag: str) -> None:
    """Notes that no record has any more."""
    used = select(tagged_t.c.tagging_id).where(tagged_t.c.tagging_id == tagging_t.c.id)
    mine = (tagging_t.c.dataset_id == dataset_id) & (tagging_t.c.tag == tag)
    connection.execute(delete(tagging_t).where(mine, ~used.exists()))
