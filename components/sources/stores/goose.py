"""Goose's sessions in its database (`sessions.db`), as the lines that its older versions wrote."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from sqlite3 import Connection
from typing import Final

from components.contracts import Json
from components.sources.stores.contract import Kind, StoredSession
from components.sources.stores.opencode import value_of

_SESSIONS: Final = """
select s.*, (select count(*) from messages m where m.session_id = s.id) as n_messages,
  (select coalesce(max(m.id), 0) from messages m where m.session_id = s.id) as last_id,
  (select coalesce(sum(length(m.content_json)), 0) from messages m where m.session_id = s.id) as size,
  (select coalesce(max(m.created_timestamp), 0) from messages m where m.session_id = s.id) as last_created
from sessions s order by s.id
"""
STABLE: Final = ("id", "working_dir", "parent_session_id", "session_type")


def _sessions(connection: Connection) -> Iterator[StoredSession]:
    for row in connection.execute(_SESSIONS):
        if row["n_messages"]:
            yield StoredSession(
                id=str(row["id"]),
                n_items=1 + row["n_messages"],
                changed_ns=_changed_ns(row["last_created"]),
                version=repr((row["n_messages"], row["last_id"], row["size"], row["last_created"])),
            )


def _changed_ns(value: Json) -> int:
    """Seconds or milliseconds since 1970, or a text of ISO 8601, as ns; 0 for what is none of these."""
    if isinstance(value, int | float):
        return int(value * (1_000_000 if value > 1e11 else 1_000_000_000))
    try:
        when = datetime.fromisoformat(str(value))
    except ValueError:
        return 0
    return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1e9)


def _items(connection: Connection, id: str, _: float) -> Iterator[Json]:
    row = connection.execute("select * from sessions where id = ?", (id,)).fetchone()
    about = dict(row) if row else {"id": id}
    yield {"working_dir": "", **{key: about[key] for key in STABLE if about.get(key) is not None}}
    query = "select * from messages where session_id = ? order by created_timestamp, messages.id"
    for found in connection.execute(query, (id,)):
        message = dict(found)
        yield {
            "id": message.get("message_id") or message["id"],
            "role": message["role"],
            "created": message["created_timestamp"],
            "content": value_of(message["content_json"]),
            "metadata": value_of(message.get("metadata_json")),
            "tokens": message.get("tokens"),
        }


DATABASE: Final = Kind(
    name="goose",
    tables={
        "sessions": frozenset({"id"}),
        "messages": frozenset({"id", "session_id", "role", "content_json", "created_timestamp"}),
    },
    sessions=_sessions,
    items=_items,
)
