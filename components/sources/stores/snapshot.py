"""Consistent copies of SQLite databases that other programs may be writing to.

The original is only ever read, as a file: SQLite never opens it, so it takes no lock, leaves no file and changes no byte,
and whatever the other program does meanwhile shows in what is compared before and after. A copy that was made during a
commit is thrown away. SQLite then recovers the copy as it would the original after a power cut: of the write-ahead log it
takes whole transactions, and a rollback journal undoes the open one.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from components.errors import NotReady, ReadFailed, Unreadable

MAGIC: Final = b"SQLite format 3\x00"
HEADER_BYTES: Final = 100
WAL_HEADER_BYTES: Final = 32
BLOCK_BYTES: Final = 4 << 20
DAMAGE: Final = (sqlite3.Error, ValueError, TypeError, OverflowError, RecursionError)  # what odd content leads to
TRIES, PAUSE_S = 5, 0.1
LOG, JOURNAL = "-wal", "-journal"
IN_PLACE_BYTES: Final = 256 << 20  # a larger database that nobody writes to is read where it is
AT_REST_S: Final = 60.0
DESCRIPTORS: Final = Path("/dev/fd")


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What shows whether a database was written to: its file, the counter of its commits, and its two kinds of logs."""

    file: tuple[int, int]
    size_bytes: int
    times_ns: tuple[int, int]
    changes: bytes
    log: bytes  # header of the write-ahead log; it changes when the log starts anew
    journal: tuple[int, int]

    def is_same_content(self, later: State) -> bool:
        """Is a copy that was made between the two consistent?

        A commit goes into the write-ahead log, and a checkpoint copies it from there into the file: as long as the log was
        not started anew, the log that was copied last holds all that a checkpoint may have changed meanwhile.
        """
        if self.file != later.file or self.log != later.log:
            return False
        if self.log:
            return True
        same_file = (self.size_bytes, self.times_ns, self.changes) == (later.size_bytes, later.times_ns, later.changes)
        return same_file and self.journal == later.journal


def state_of(path: str) -> State:
    """The state of the database now. Raises `ReadFailed`, and `Unreadable` where the file is no database."""
    try:
        with _reading(path) as file:
            info, header = os.fstat(file), os.pread(file, HEADER_BYTES, 0)
    except OSError as error:
        raise ReadFailed(f"The database can't be opened: {error.strerror or error}.") from error
    if not header.startswith(MAGIC):
        raise Unreadable("It is no SQLite database; it may be encrypted or only half written.")
    return State(
        file=(info.st_dev, info.st_ino),
        size_bytes=info.st_size,
        times_ns=(info.st_mtime_ns, info.st_ctime_ns),
        changes=header[24:28] + header[92:96],
        log=_start_of(path + LOG, WAL_HEADER_BYTES),
        journal=_size_and_time(path + JOURNAL),
    )


@contextmanager
def _reading(path: str) -> Iterator[int]:
    """A descriptor to read the file by. One that this process has is used: closing another would drop SQLite's locks."""
    if (own := own_descriptor(path)) is not None:
        yield own
        return
    file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        yield file
    finally:
        os.close(file)


def own_descriptor(path: str) -> int | None:
    """A descriptor by which this process has the file open already, as a database of its own; None if it has not."""
    try:
        own = os.stat(path)  # noqa: PTH116
        descriptors = os.listdir(DESCRIPTORS)  # noqa: PTH208
    except OSError:
        return None
    for name in descriptors:
        with suppress(OSError, ValueError):
            info = os.fstat(int(name))
            if (info.st_dev, info.st_ino) == (own.st_dev, own.st_ino):
                return int(name)
    return None


def _start_of(path: str, size_bytes: int) -> bytes:
    with suppress(OSError), open(path, "rb", buffering=0) as file:  # noqa: PTH123
        return file.read(size_bytes)
    return b""


def _size_and_time(path: str) -> tuple[int, int]:
    with suppress(OSError):
        info = os.stat(path)  # noqa: PTH116
        return (info.st_size, info.st_mtime_ns) if info.st_size else (0, 0)
    return (0, 0)


def is_database(path: str) -> bool:
    """Does the file begin as SQLite databases do?"""
    with suppress(OSError), _reading(path) as file:
        return os.pread(file, len(MAGIC), 0) == MAGIC
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A connection to what a database held at one moment: to a copy, or `in_place` until its program writes again."""

    connection: sqlite3.Connection
    state: State
    in_place: bool

    def expect_unchanged(self, path: str) -> None:
        """Raises `NotReady` where the database was read in place and written to meanwhile."""
        if self.in_place and state_of(path) != self.state:
            raise NotReady("Its program wrote to the database while it was read; a later load reads it again.")


def connect(path: str) -> Snapshot:
    """The database as it is now. Raises `NotReady`, `ReadFailed` and `Unreadable`."""
    state = state_of(path)
    is_at_rest = not state.log and not state.journal[0] and time.time() - state.times_ns[0] / 1e9 > AT_REST_S
    if state.size_bytes > IN_PLACE_BYTES and is_at_rest:
        return Snapshot(connection=_opened(f"file:{_quoted(path)}?immutable=1"), state=state, in_place=True)
    folder = Path(tempfile.mkdtemp(prefix="runatlas-"))
    try:
        return _copied(path, folder)
    except OSError as error:
        raise ReadFailed(f"The database can't be copied: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # the connection holds its files open: nothing stays behind


def _copied(path: str, folder: Path) -> Snapshot:
    for _ in range(TRIES):
        before = state_of(path)
        _expect_space(before.size_bytes, folder)
        copy = folder / "copy"
        _copy(path, copy)
        for ending in (LOG, JOURNAL):  # after the file: see `is_same_content`
            Path(f"{copy}{ending}").unlink(missing_ok=True)
            with suppress(FileNotFoundError):
                shutil.copyfile(path + ending, f"{copy}{ending}")
        if before.is_same_content(state_of(path)):
            return Snapshot(connection=_opened(f"file:{_quoted(str(copy))}?mode=rw"), state=before, in_place=False)
        time.sleep(PAUSE_S)
    raise NotReady("Its program writes to the database without a pause; a later load reads it.")


def _copy(path: str, copy: Path) -> None:
    with _reading(path) as file, copy.open("wb") as to:
        at = 0
        while block := os.pread(file, BLOCK_BYTES, at):
            to.write(block)
            at += len(block)


def _expect_space(size_bytes: int, folder: Path) -> None:
    if shutil.disk_usage(folder).free < 2 * size_bytes:
        raise NotReady(
            f"Its program has the database open, and there is no space in {folder.parent} for a copy of its "
            f"{size_bytes:,} bytes; close the program, or make space."
        )


def _opened(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None)
    try:
        connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
        connection.row_factory = sqlite3.Row
        connection.execute("pragma locking_mode = exclusive")  # no shared memory beside the copy
        connection.execute("pragma trusted_schema = off")
        connection.execute("select count(*) from sqlite_master").fetchone()
        connection.execute("pragma query_only = on")
    except DAMAGE as error:
        connection.close()
        raise Unreadable(f"The database can't be read: {error}.") from error
    return connection


def _quoted(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def tables_of(connection: sqlite3.Connection) -> dict[str, frozenset[str]]:
    """The tables with the names of their columns."""
    names = [row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")]
    return {
        name: frozenset(row[0] for row in connection.execute("select name from pragma_table_info(?)", (name,)))
        for name in names
    }
