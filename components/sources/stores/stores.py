"""The sessions in databases and storage folders of other programs, each as a source of its own."""

from __future__ import annotations

import os
import tempfile
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import orjson

from components.contracts import Discovered, Json, Locator, Problem
from components.errors import SourceError, Unreadable
from components.sources.opener import MAX_INODE, Opened
from components.sources.stores import cursor, folders, goose, opencode
from components.sources.stores.companions import TOLD_TWICE, companion_rule
from components.sources.stores.contract import SETTLED_S, Kind, StillWritten, StoredSession, missing_columns
from components.sources.stores.snapshot import (
    DAMAGE,
    Snapshot,
    connect,
    is_database,
    own_descriptor,
    state_of,
    tables_of,
)

KINDS: Final = (opencode.DATABASE, cursor.DATABASE, goose.DATABASE)
ENDINGS: Final = (".db", ".vscdb", ".sqlite", ".sqlite3")
NO_SESSION: Final = "database without a session"
OPEN_HERE: Final = "database that this process has open"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    """A database of a known kind: what it held at one moment, and the lock that its readers take."""

    kind: Kind
    snapshot: Snapshot
    lock: threading.Lock = field(default_factory=threading.Lock)


class Stores:
    """Finds and reads the sessions of stores. `now` is the clock (epoch s). Databases stay open until looked at again."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.now = now
        self.open: dict[str, _Open] = {}

    def expanded(self, found: Discovered) -> Discovered:
        """What was discovered, with the sessions of a store in its place, and without files that belong to others."""
        paths = {locator.location for locator in found.locators if locator.kind == "file"}
        locators: list[Locator] = []
        problems = list(found.problems)
        left_out: Counter[str] = Counter()
        for locator in found.locators:
            rule = companion_rule(locator.location, paths) if locator.kind == "file" else ""
            if rule:
                left_out[rule] += 1
                continue
            try:
                locators += self._sessions_of(locator, left_out)
            except SourceError as error:
                problems.append(Problem(source=locator.key, reason=str(error)))
        locators = _each_once(locators, left_out)
        ordered = sorted(locators, key=lambda one: (one.key, one.location))
        return Discovered(locators=ordered, problems=problems, left_out=dict(+left_out))

    def _sessions_of(self, locator: Locator, left_out: Counter[str]) -> list[Locator]:
        """The sessions that the file stands for, or the file itself."""
        path = locator.location
        if locator.kind != "file":
            return [locator]
        if (storage := folders.storage_of(path)) is not None:
            return [_session(locator, folders.session_at(path, storage), name="")]
        if not path.lower().endswith(ENDINGS):
            return [locator]
        if not is_database(path):
            return [locator]
        if (opened := self._opened(path, fresh=True)) is None:
            if own_descriptor(path) is None:
                return [locator]
            left_out[OPEN_HERE] += 1  # reading it as a file would drop the locks that this process has on it
            return []
        with opened.lock, _database_errors():
            sessions = [one for one in opened.kind.sessions(opened.snapshot.connection) if one.id]
        left_out[NO_SESSION] += not sessions
        return [_session(locator, session, name=session.id) for session in sessions]

    def _opened(self, path: str, *, fresh: bool) -> _Open | None:
        """The database as it is now (`fresh`) or was when its sessions were listed; None where no kind knows it."""
        held = self.open.get(path)
        if held and (not fresh or held.snapshot.state == state_of(path)):
            return held
        self.open.pop(path, None)
        snapshot = connect(path)
        connection = snapshot.connection
        weakref.finalize(self, connection.close)
        with _database_errors():
            tables = tables_of(connection)
        lacking: list[str] = []
        for kind in KINDS:
            missing = missing_columns(kind, tables)
            if missing == []:
                self.open[path] = _Open(kind=kind, snapshot=snapshot)
                return self.open[path]
            lacking += [f"{kind.name}: {', '.join(missing)}"] if missing else []
        connection.close()
        if lacking:
            raise Unreadable(
                f"The database is of a version that is not known: it lacks columns of {'; '.join(lacking)}. Export its "
                "sessions by its own program, or update runatlas."
            )
        return None

    def open_session(self, locator: Locator) -> Opened:
        """The session as a file of JSON lines. Raises `NotReady`, `ReadFailed` and `Unreadable`."""
        file: Any = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - the caller closes what comes back
        try:
            with _database_errors():
                _write(file, self._items(locator, (self.now() - SETTLED_S) * 1_000))
            size_bytes = file.tell()
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return Opened(
            path=locator.location,
            file=file,
            packing="plain",
            encoding="utf-8",
            size_bytes=size_bytes,
            mtime_ns=locator.mtime_ns,
            inode=locator.inode,
        )

    def _items(self, locator: Locator, settled_ms: float) -> Iterator[Json]:
        if (storage := folders.storage_of(locator.location)) is not None:
            yield from folders.items_at(locator.location, storage, settled_ms)
            return
        path, _, name = locator.location.rpartition(os.sep)
        opened = self._opened(path, fresh=False)
        if opened is None:
            raise Unreadable("The database that held this session is of another kind now.")
        with opened.lock:
            try:
                yield from opened.kind.items(opened.snapshot.connection, _unquoted(name), settled_ms)
            finally:  # what was torn while it was read may look like damage
                opened.snapshot.expect_unchanged(path)


class _database_errors:  # noqa: N801 - a context manager, as in the standard library
    """Turns SQLite's errors, and those that values of an unexpected type lead to, into ours."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, DAMAGE):
            raise Unreadable(f"The database can't be read: {error}.") from error


def _write(file: Any, items: Iterator[Json]) -> None:
    """The items as lines; where one is still being written, a line that is not complete either."""
    try:
        for item in items:
            file.write(orjson.dumps(item, option=orjson.OPT_NON_STR_KEYS) + b"\n")
    except StillWritten:
        file.write(b'{"still being written":')


def _session(locator: Locator, session: StoredSession, *, name: str) -> Locator:
    """The source of one session; `name` parts it from the others of its file."""
    digest = int.from_bytes(blake2b(session.version.encode(), digest_size=8).digest(), "big") & MAX_INODE
    return replace(
        locator,
        kind="session",
        location=f"{locator.location}{os.sep}{_quoted(name)}" if name else locator.location,
        key=f"{locator.key}/{name}" if name else locator.key,
        size_bytes=session.n_items,
        mtime_ns=session.changed_ns,
        ctime_ns=0,
        inode=digest,
    )


def _quoted(name: str) -> str:
    return name.replace("%", "%25").replace(os.sep, "%2f")


def _unquoted(name: str) -> str:
    return name.replace("%2f", os.sep).replace("%25", "%")


def _each_once(locators: list[Locator], left_out: Counter[str]) -> list[Locator]:
    """The sources without sessions of a storage folder that the database beside it holds as well."""
    in_databases = {
        (str(Path(one.location).parent.parent), _unquoted(Path(one.location).name))
        for one in locators
        if one.kind == "session" and not one.location.endswith(".json")
    }
    kept: list[Locator] = []
    for one in locators:
        place = Path(one.location)
        storage = folders.storage_of(one.location) if one.kind == "session" and place.suffix == ".json" else None
        if storage is not None and (str(storage.parent), place.stem) in in_databases:
            left_out[TOLD_TWICE] += 1
        else:
            kept.append(one)
    return kept
