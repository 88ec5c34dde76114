"""Stores of other programs that hold many sessions: what is asked of one, and the sessions that it lists.

A session is a source of its own. Its content is a text of JSON lines that is made when it is read, so that sources of
lines are compared, resumed and read again by the same rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Final

from components.contracts import Json

SETTLED_S: Final = 600  # a message that was not finished so long after the last change never will be


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSession:
    """One session: its id, how many items it has, when it was changed, and what changes with any of its content."""

    id: str
    n_items: int
    changed_ns: int
    version: str


class StillWritten(Exception):
    """The next item of the session is not complete yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One program's database: the tables that it is known by with the columns that are read, and its two queries.

    `items(connection, id, settled_ms)` gives the session's items in their order, and raises `StillWritten` before one that
    is not complete, unless it was last changed before `settled_ms` (epoch): then nobody goes on with it.
    """

    name: str
    tables: Mapping[str, frozenset[str]]
    sessions: Callable[[Connection], Iterator[StoredSession]]
    items: Callable[[Connection, str, float], Iterator[Json]]


def missing_columns(kind: Kind, found: Mapping[str, frozenset[str]]) -> Sequence[str] | None:
    """The columns that a database of this kind lacks, as `table.column`; None where it is of another kind."""
    if not kind.tables.keys() <= found.keys():
        return None
    return sorted(f"{table}.{column}" for table, columns in kind.tables.items() for column in columns - found[table])
