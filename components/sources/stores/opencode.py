"""opencode's sessions: in its database, or in a storage folder with a file for each session, message and part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from sqlite3 import Connection, Row
from typing import Final

import orjson

from components.contracts import Json
from components.sources.stores.contract import Kind, StillWritten, StoredSession


def value_of(raw: Json) -> Json:
    """What a JSON text holds; the text itself where it is damaged."""
    try:
        return orjson.loads(raw)
    except (orjson.JSONDecodeError, TypeError):
        return raw


def items_of(
    session: Mapping[str, Json], messages: Iterable[tuple[Json, list[Json]]], *, settled_ms: float
) -> Iterator[Json]:
    """The session, then each message before its parts. Raises `StillWritten` before what is not complete."""
    yield {"session": session}
    held: tuple[Json, list[Json]] | None = None
    for message in messages:
        if held is not None:
            yield from _message(*held)
        held = message
    if held is not None:
        yield from _last_message(*held, settled_ms)


def _message(info: Json, parts: list[Json]) -> Iterator[Json]:
    yield {"message": info}
    yield from ({"part": part} for part in parts)
    if isinstance(info, dict) and info.get("error"):
        yield {"failure": info["error"]}


def _last_message(info: Json, parts: list[Json], settled_ms: float) -> Iterator[Json]:
    """The last message, unless the model is still at it."""
    about = info if isinstance(info, dict) else {}
    time = about.get("time")
    is_finished = (isinstance(time, dict) and "completed" in time) or about.get("error") or about.get("finish")
    created = time.get("created") if isinstance(time, dict) else None
    is_settled = (created if isinstance(created, int | float) else 0) < settled_ms
    if about.get("role") == "assistant" and not (is_finished or is_settled):
        raise StillWritten
    yield from _message(info, parts)


# --- the database ------------------------------------------------------------------------------------------------------

_SESSIONS: Final = """
select s.id, s.time_updated,
  (select count(*) from message m where m.session_id = s.id) as n_messages,
  (select coalesce(max(m.time_updated), 0) from message m where m.session_id = s.id) as last_message,
  (select count(*) from part p where p.session_id = s.id) as n_parts,
  (select coalesce(sum(p.time_updated), 0) from part p where p.session_id = s.id) as part_times,
  (select coalesce(max(p.time_updated), 0) from part p where p.session_id = s.id) as last_part
from session s order by s.id
"""


def _sessions(connection: Connection) -> Iterator[StoredSession]:
    for row in connection.execute(_SESSIONS):
        changed_ms = max(_number(row["time_updated"]), _number(row["last_message"]), _number(row["last_part"]))
        yield StoredSession(
            id=str(row["id"]),
            n_items=1 + _number(row["n_messages"]) + _number(row["n_parts"]),
            changed_ns=changed_ms * 1_000_000,
            version=repr(tuple(row)[2:]),
        )


def _number(value: Json) -> int:
    return int(value) if isinstance(value, int | float) else 0


def _items(connection: Connection, id: str, settled_ms: float) -> Iterator[Json]:
    found = connection.execute("select * from session where id = ?", (id,)).fetchone()
    about = dict(found) if found else {"id": id}
    session = {key: about[key] for key in ("id", "parent_id", "directory") if about.get(key) is not None}
    yield from items_of(session, _messages(connection, id), settled_ms=settled_ms)


def _messages(connection: Connection, id: str) -> Iterator[tuple[Json, list[Json]]]:
    query = "select * from message where session_id = ? order by time_created, id"
    for message in connection.execute(query, (id,)):
        parts = connection.execute("select * from part where message_id = ? order by id", (message["id"],))
        yield _data(message), [_data(part) for part in parts]


def _data(row: Row) -> Json:
    """What a row holds: its data with its id, which the data leaves out."""
    value = value_of(row["data"])
    return {"id": row["id"], **value} if isinstance(value, dict) else value


DATABASE: Final = Kind(
    name="opencode",
    tables={
        "session": frozenset({"id", "time_updated"}),
        "message": frozenset({"id", "session_id", "time_created", "time_updated", "data"}),
        "part": frozenset({"id", "message_id", "session_id", "time_updated", "data"}),
    },
    sessions=_sessions,
    items=_items,
)
