"""The composers in the database of Cursor's editor (`state.vscdb`): their order, and the bubbles that it refers to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from sqlite3 import Connection
from typing import Final

from components.contracts import Json
from components.sources.stores.contract import Kind, StillWritten, StoredSession
from components.sources.stores.opencode import value_of

COMPOSER, BUBBLE = "composerData:", "bubbleId:"
STABLE: Final = ("composerId", "workspaceIdentifier")  # of a composer: what never changes
OPEN_STATES: Final = ("loading", "pending", "running", "generating")

_COMPOSERS: Final = """
select substr(key, length(:prefix) + 1) as id, key, length(value) as size from cursorDiskKV
where key >= :prefix and key < :end and value is not null order by key
"""
_BUBBLES: Final = """
select count(*) as n, coalesce(sum(length(value)), 0) as size from cursorDiskKV where key >= :prefix and key < :end
"""


def _within(prefix: str) -> dict[str, str]:
    """The range of the keys that begin so."""
    return {"prefix": prefix, "end": prefix[:-1] + chr(ord(prefix[-1]) + 1)}


def _value(connection: Connection, key: str) -> Json:
    row = connection.execute("select value from cursorDiskKV where key = ?", (key,)).fetchone()
    return value_of(row["value"]) if row and row["value"] is not None else None


def _sessions(connection: Connection) -> Iterator[StoredSession]:
    for row in connection.execute(_COMPOSERS, _within(COMPOSER)).fetchall():
        composer = _value(connection, row["key"])
        if not isinstance(composer, dict):
            continue
        bubbles = connection.execute(_BUBBLES, _within(f"{BUBBLE}{row['id']}:")).fetchone()
        changed_ms = _changed_ms(composer)
        if n := bubbles["n"] + len(_inline(composer)):
            version = repr((changed_ms, row["size"], bubbles["n"], bubbles["size"]))
            yield StoredSession(id=row["id"], n_items=n, changed_ns=changed_ms * 1_000_000, version=version)


def _inline(composer: Mapping[str, Json]) -> list[Json]:
    """The bubbles that older versions keep in the composer itself."""
    found = composer.get("conversation")
    return found if isinstance(found, list) else []


def _items(connection: Connection, id: str, settled_ms: float) -> Iterator[Json]:
    composer = _value(connection, COMPOSER + id)
    composer = composer if isinstance(composer, dict) else {}
    yield {"composer": {"composerId": id, **{key: composer[key] for key in STABLE if key in composer}}}
    bubbles = list(_bubbles(connection, id, composer))
    is_settled = _changed_ms(composer) < settled_ms
    for n, bubble in enumerate(bubbles, start=1):
        is_open = composer.get("status") in OPEN_STATES or _is_open(bubble)
        if n == len(bubbles) and is_open and not is_settled:
            raise StillWritten
        yield bubble


def _changed_ms(composer: Mapping[str, Json]) -> int:
    changed = composer.get("lastUpdatedAt") or composer.get("createdAt")
    return int(changed) if isinstance(changed, int | float) else 0


def _is_open(item: Json) -> bool:
    bubble = item.get("bubble")
    tool = bubble.get("toolFormerData") if isinstance(bubble, dict) else None
    return isinstance(tool, dict) and tool.get("status") in OPEN_STATES


def _bubbles(connection: Connection, id: str, composer: Mapping[str, Json]) -> Iterator[Json]:
    """The bubbles in the order of the composer; those that the database does not hold are named."""
    yield from ({"bubble": bubble} for bubble in _inline(composer))
    headers = composer.get("fullConversationHeadersOnly")
    prefix = f"{BUBBLE}{id}:"
    others: dict[str, str] | None = None
    for header in headers if isinstance(headers, list) else []:
        name = header.get("bubbleId") if isinstance(header, dict) else None
        if not isinstance(name, str):
            continue
        bubble = _value(connection, prefix + name)
        if bubble is None:
            others = _by_own_id(connection, prefix) if others is None else others
            bubble = _value(connection, others[name]) if name in others else None
        yield {"missing": name} if bubble is None else {"bubble": bubble}


def _by_own_id(connection: Connection, prefix: str) -> dict[str, str]:
    """Key of the row by the id that the bubble itself has, which may be another one than the row's."""
    query = "select key, value from cursorDiskKV where key >= :prefix and key < :end and value is not null"
    found: dict[str, str] = {}
    for row in connection.execute(query, _within(prefix)):
        value = value_of(row["value"])
        if isinstance(value, dict) and isinstance(name := value.get("bubbleId"), str):
            found.setdefault(name, row["key"])
    return found


DATABASE: Final = Kind(
    name="cursor_ide",
    tables={"cursorDiskKV": frozenset({"key", "value"})},
    sessions=_sessions,
    items=_items,
)
