"""Sessions whose history is in several sources: a fork repeats its parent, and what is repeated counts once.

A source owns the sessions that its records name, and holds copies of those that its copied records name. Copies are
compared by type and text with what the owners (and the owners' own ancestors) hold. Loads in any order come to the same
end: a copy that is there before its parent is retired when the parent has been read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Final, NamedTuple, cast

from sqlalchemy import ColumnElement, Connection, func, select, update

from components.contracts import COPIED_FROM, Record, in_batches
from components.store.engine import Database, in_clause
from components.store.tables import RecordState, record_t, session_t, source_t

STREAMED: Final = 1_000
_PLAIN: Final = re.compile(r"[A-Za-z0-9._:@/+-]{1,200}")  # ids in the form that tools use; others are not compared


class _Copy(NamedTuple):
    """A source that holds copies of a session, and the sum of all versions of the sources that have to do with it."""

    session: str
    source_id: int
    checked: int
    versions: int


def digest(type: str, text: str) -> bytes:
    """A digest of a record's type and text, 16 bytes."""
    return blake2b(f"{type}\0{text}".encode("utf-8", "surrogatepass"), digest_size=16).digest()


def note_sessions(
    connection: Connection,
    db: Database,
    dataset_id: int,
    source_id: int,
    *,
    own: Iterable[str],
    copied: Iterable[str],
) -> None:
    """Remember, in the transaction that keeps its records, which sessions a source owns and copies."""
    rows = [
        {"dataset_id": dataset_id, "session": name, "source_id": source_id, "is_copy": is_copy, "checked": -1}
        for is_copy, names in ((False, own), (True, copied))
        for name in sorted(names)
        if _PLAIN.fullmatch(name)
    ]
    db.insert_new(connection, session_t, rows)


class Sessions:
    """Which sources hold which sessions, and what was repeated."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def originals(self, dataset_id: int, source_id: int, records: Iterable[Record]) -> list[Record]:
        """The records without the copies of what another source holds already."""
        said: dict[str, set[bytes]] = {}
        kept: list[Record] = []
        for record in records:
            session = str(record.extra.get(COPIED_FROM, ""))
            if session not in said:
                said[session] = self._said_elsewhere(dataset_id, source_id, session)
            if digest(record.type, record.text) not in said[session]:
                kept.append(record)
        return kept

    def _said_elsewhere(self, dataset_id: int, source_id: int, session: str) -> set[bytes]:
        if not _PLAIN.fullmatch(session):
            return set()
        with self.db.read() as connection:
            return _said(connection, dataset_id, session, source_t.c.id != source_id)

    def settle(self, dataset_id: int) -> int:
        """Retire the copies whose originals have been read since; returns how many. Looks only at what changed."""
        retired = 0
        with self.db.read() as connection:
            changed = [copy for copy in _copies(connection, dataset_id) if copy.checked != copy.versions]
            doubled = [(copy, _doubled(connection, dataset_id, copy)) for copy in changed]
        for copy, seqs in doubled:
            with self.db.write() as connection:
                retired += _retire(connection, dataset_id, copy, seqs)
        return retired


def _copies(connection: Connection, dataset_id: int) -> Iterator[_Copy]:
    other = session_t.alias()
    versions = (
        select(func.coalesce(func.sum(source_t.c.version), 0))
        .select_from(other.join(source_t, source_t.c.id == other.c.source_id))
        .where(other.c.dataset_id == dataset_id, other.c.session == session_t.c.session)
        .scalar_subquery()
    )
    query = (
        select(session_t.c.session, session_t.c.source_id, session_t.c.checked, versions)
        .where(session_t.c.dataset_id == dataset_id, session_t.c.is_copy)
        .order_by(session_t.c.session, session_t.c.source_id)
    )
    for session, source_id, checked, total in connection.execute(query):
        yield _Copy(session, source_id, checked, int(total))


def _doubled(connection: Connection, dataset_id: int, copy: _Copy) -> list[int]:
    """The copies of this source (their `seq`) that another one holds. Of sources that only copy, the first keeps them."""
    said = _said(connection, dataset_id, copy.session, source_t.c.id < copy.source_id, owners_beside=copy.source_id)
    if not said:
        return []
    mine = (record_t.c.source_id == copy.source_id) & _is_copy(copy.session)
    query = select(record_t.c.seq, record_t.c.type, record_t.c.text).where(mine, _is_there())
    return [seq for seq, type, text in connection.execute(query) if digest(type, text) in said]


def _retire(connection: Connection, dataset_id: int, copy: _Copy, seqs: list[int]) -> int:
    retired = 0
    for chunk in in_batches(seqs, in_clause):
        gone = update(record_t).where(record_t.c.seq.in_(chunk), _is_there())
        retired += connection.execute(gone.values(state=RecordState.SUPERSEDED)).rowcount
    mine = (session_t.c.dataset_id == dataset_id) & (session_t.c.session == copy.session)
    mine &= (session_t.c.source_id == copy.source_id) & session_t.c.is_copy
    connection.execute(update(session_t).where(mine).values(checked=copy.versions))
    return retired


def _said(
    connection: Connection,
    dataset_id: int,
    session: str,
    rivals: ColumnElement[bool],
    *,
    owners_beside: int | None = None,
) -> set[bytes]:
    """The records of a session and of its ancestors: all of their owners, and the copies that `rivals` keep."""
    family = _ancestry(connection, dataset_id, session)
    owners = rivals if owners_beside is None else source_t.c.id != owners_beside
    found: set[bytes] = set()
    for is_copy, among in ((False, owners), (True, rivals)):
        ids = _holders(connection, dataset_id, family, among, is_copy=is_copy)
        for source_id in ids:
            query = select(record_t.c.type, record_t.c.text).where(record_t.c.source_id == source_id, _is_there())
            query = query.where(_is_copy()) if is_copy else query
            rows = connection.execute(query.execution_options(yield_per=STREAMED))
            found.update(digest(type, text) for type, text in rows)
    return found


def _ancestry(connection: Connection, dataset_id: int, session: str) -> set[str]:
    """The session, those that its owners copied from, those that theirs did, and so on."""
    family, latest = {session}, {session}
    mine, above = session_t.alias(), session_t.alias()
    while latest:
        query = (
            select(above.c.session)
            .select_from(mine.join(above, mine.c.source_id == above.c.source_id))
            .where(mine.c.dataset_id == dataset_id, mine.c.session.in_(latest), ~mine.c.is_copy, above.c.is_copy)
        )
        latest = set(connection.execute(query).scalars()) - family
        family |= latest
    return family


def _holders(
    connection: Connection, dataset_id: int, family: Iterable[str], among: ColumnElement[bool], *, is_copy: bool
) -> list[int]:
    query = (
        select(session_t.c.source_id)
        .select_from(session_t.join(source_t, source_t.c.id == session_t.c.source_id))
        .where(session_t.c.dataset_id == dataset_id, session_t.c.session.in_(sorted(family)), among)
        .where(session_t.c.is_copy if is_copy else ~session_t.c.is_copy)
        .distinct()
    )
    return list(connection.execute(query).scalars())


def _is_there() -> ColumnElement[bool]:
    return cast("ColumnElement[bool]", record_t.c.state != int(RecordState.SUPERSEDED))


def _is_copy(session: str | None = None) -> ColumnElement[bool]:
    """Is the record marked as a copy, of this session if one is given?"""
    mark = f'"{COPIED_FROM}":"' + ("" if session is None else f'{session}"')
    return cast("ColumnElement[bool]", record_t.c.extra.contains(mark, autoescape=True))
