"""Search for words in the texts of records: FTS5 on SQLite, full text search on PostgreSQL.

What people type is never query syntax: each word is looked for as it is, its parts side by side (`foo-bar` finds "foo
bar"); words in double quotes are a phrase. Case does not matter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from sqlalchemy import Connection, text

from components.store.engine import Database
from components.store.lease import Fence
from components.store.tables import RecordState

added_rows = 20_000  # in one transaction
max_words = 64  # of a query; further ones are ignored
ranked_rows = 10_000  # records that are ranked on SQLite, at most: of more that match, the newest
max_postgres_chars = 50_000  # of a text that are indexed: longer vectors of words are an error there


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A record that contains words; the best has the highest score."""

    seq: int
    id: str
    score: float


def phrases_of(query: str) -> list[list[str]]:
    """The phrases of a query, each as its words.

    >>> phrases_of('how to "retry the search" foo-bar *')
    [['how'], ['to'], ['retry', 'the', 'search'], ['foo', 'bar']]
    """
    found = [re.findall(r"[^\W_]+", quoted or word) for quoted, word in re.findall(r'"([^"]*)"|([^\s"]+)', query)]
    return [words for words in found if words][:max_words]


class Words:
    """The index of words."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def update(self, fence: Fence) -> None:
        """Add the records that arrived since the last update. PostgreSQL does it by itself."""
        if self.db.dialect != "sqlite":
            return
        last = newest = -1
        while newest > last or last < 0:
            last = newest
            with fence.write() as connection:
                connection.execute(text(_sqlite_add))
                newest = int(connection.execute(text(_sqlite_newest)).scalar_one())

    def search(
        self, dataset_id: int, query: str, limit: int, *, every: bool = True, is_typing: bool = False
    ) -> list[Found]:
        """Records on the map that contain every phrase of the query, or any of them, the best first.

        `is_typing`: the last word may be the beginning of one.
        """
        phrases = phrases_of(query)
        if not phrases:
            return []
        with self.db.read() as connection:
            if self.db.dialect == "sqlite":
                some = phrases if every else _rarest(connection, phrases)
                query = _sqlite_query(some, every=every, is_typing=is_typing)
                return _search_sqlite(connection, dataset_id, query, limit)
            query = _postgres_query(phrases, every=every, is_typing=is_typing)
            parameters = {"query": query, "dataset": dataset_id, "state": int(RecordState.INDEXED), "limit": limit}
            return [_found(row) for row in connection.execute(text(_postgres), parameters)]


def _search_sqlite(connection: Connection, dataset_id: int, query: str, limit: int) -> list[Found]:
    """The best of the newest records that match; of all that do, if too few of those are the dataset's."""
    bound = {"query": query, "offset": max(limit, ranked_rows) - 1}
    since = connection.execute(text(_sqlite_since), bound).scalar() or 0
    parameters = {"query": query, "dataset": dataset_id, "state": int(RecordState.INDEXED)}
    taken = limit
    while True:
        rows = connection.execute(text(_sqlite), {**parameters, "since": since, "limit": taken}).all()
        found = [_found(row) for row in rows if row[1] is not None][:limit]
        if len(found) == limit or (len(rows) < taken and not since):
            return found
        if len(rows) < taken:
            since = 0
        else:
            taken *= 8


def _rarest(connection: Connection, phrases: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """The rarest phrases, so many that `ranked_rows` records have them; at least one. The others would tell little."""
    counted: list[tuple[int, Sequence[str]]] = []
    for phrase in phrases:
        query = _sqlite_query([phrase], every=True, is_typing=False)
        n = connection.execute(text(_sqlite_count), {"query": query, "limit": ranked_rows}).scalar_one()
        counted.append((int(n), phrase))
    counted.sort(key=lambda one: one[0])
    total = list(accumulate(n for n, _ in counted))
    return [phrase for (_, phrase), n in zip(counted, total, strict=True) if n <= max(total[0], ranked_rows)]


def _found(row: Any) -> Found:
    seq, id, score = row
    return Found(seq=seq, id=id, score=float(score))


_sqlite_newest = "select coalesce(max(id), 0) from record_words_docsize"
_sqlite_add = f"""
    insert into record_words(rowid, text)
    select seq, text from record where seq > ({_sqlite_newest}) order by seq limit {added_rows}
"""
# the rank of FTS5 is the smaller the better; it is computed for each row that matches, from its numbers of words
_sqlite = """
    select best.rowid, record.id, -best.rank
    from (
        select rowid, rank from record_words where record_words match :query and rowid >= :since
        order by rank, rowid limit :limit
    ) best
    left join record on record.seq = best.rowid and record.dataset_id = :dataset and record.state = :state
    order by best.rank, best.rowid
"""
_sqlite_since = """
    select rowid from record_words where record_words match :query order by rowid desc limit 1 offset :offset
"""
_sqlite_count = """
    select count(*) from (select 1 from record_words where record_words match :query limit :limit)
"""
_vector = f"to_tsvector('simple', regexp_replace(lower(left(text, {max_postgres_chars})), '[^[:alnum:]]+', ' ', 'g'))"
_postgres = f"""
    select seq, id, ts_rank_cd({_vector}, cast(:query as tsquery), 1) as score
    from record
    where {_vector} @@ cast(:query as tsquery) and dataset_id = :dataset and state = :state
    order by score desc, seq limit :limit
"""


def _sqlite_query(phrases: Sequence[Sequence[str]], *, every: bool, is_typing: bool) -> str:
    quoted = [f'"{" ".join(words)}"' for words in phrases]
    if is_typing:
        quoted[-1] += " *"
    return (" AND " if every else " OR ").join(quoted)


def _postgres_query(phrases: Sequence[Sequence[str]], *, every: bool, is_typing: bool) -> str:
    quoted = ["(" + " <-> ".join(f"'{word.lower()}'" for word in words) + ")" for words in phrases]
    if is_typing:
        quoted[-1] = f"{quoted[-1][:-1]}:*)"
    return (" & " if every else " | ").join(quoted)
