"""One database with `read()` and `write()` transactions, on SQLite and on PostgreSQL."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Table, event, func, make_url
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlmodel import create_engine

from components.errors import BadSetting, DiskFailed, StoreBusy

logger = logging.getLogger(__name__)
T = TypeVar("T")

busy_timeout_ms = 30_000
stall_limit_s = 60.0  # PostgreSQL ends a write transaction whose client was silent for so long: it may be stopped
in_clause = 900  # SQLite allows 999 parameters a statement in older builds


def _sqlite_engine(url: str, begin: str) -> Engine:
    engine = create_engine(url, connect_args={"check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver must not begin transactions of its own
        for pragma in (
            f"busy_timeout={busy_timeout_ms}",
            "synchronous=FULL",  # costs nothing at our batch sizes, and survives power loss
            "foreign_keys=ON",
            "cache_size=-16000",
        ):
            connection.execute(f"pragma {pragma}")
        _log_ahead(connection)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _close_to_others(database: Path) -> None:
    """Make the file, if it is new, for this user alone, and remove the rights of others; SQLite's further files get the same.

    A file that is there is never opened: closing it would drop all locks that this process has on it, and another process
    would remove the write-ahead log while it is in use.
    """
    with suppress(OSError):  # opening it by SQLite reports what is wrong
        os.close(os.open(database, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    with suppress(OSError):
        for suffix in ("", "-wal", "-shm"):
            file = database.with_name(database.name + suffix)
            if file.exists() and file.stat().st_mode & 0o077 and file.stat().st_uid == os.getuid():
                file.chmod(file.stat().st_mode & 0o700)


def _log_ahead(connection: Any) -> None:
    """Turn the write-ahead log on. Unlike other statements, this one does not wait for a lock."""
    until = time.monotonic() + busy_timeout_ms / 1_000
    while True:
        try:
            connection.execute("pragma journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return


def _engines(url: str, *, private: bool) -> tuple[Engine, Engine]:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise BadSetting(
            "RUNATLAS_DATABASE_URL is no database URL: write sqlite:////PATH or postgresql://USER:PASSWORD@HOST:PORT/NAME."
        ) from None  # any part of it may be a password
    if parsed.get_backend_name() == "sqlite":
        if parsed.database and parsed.database != ":memory:":
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
            if private:
                _close_to_others(Path(parsed.database))
        # a read that later writes fails with "database is locked" whatever the timeout, so writers begin as writers
        return _sqlite_engine(url, "BEGIN IMMEDIATE"), _sqlite_engine(url, "BEGIN")
    if parsed.get_backend_name() == "postgresql":
        if parsed.get_driver_name() in {"psycopg2", ""} or "+" not in parsed.drivername:
            parsed = parsed.set(drivername="postgresql+psycopg")
        try:
            engine = create_engine(parsed, pool_pre_ping=True, pool_size=5, max_overflow=5)
        except ModuleNotFoundError as error:
            raise BadSetting("A PostgreSQL database needs the extra: pip install 'runatlas[postgres]'.") from error
        return engine, engine
    raise BadSetting(f"Database {parsed.render_as_string()!r} can't be used: give a sqlite:// or postgresql:// URL.")


_of_the_disk = ("disk is full", "disk i/o error", "readonly database", "unable to open database file")
_refusals = ("authentication failed", "does not exist", "no pg_hba.conf entry", "no password supplied")


def _is_passing(error: DBAPIError) -> bool:
    """Can the same transaction succeed later: a lock, a deadlock, a server that restarts?"""
    sqlstate = str(getattr(error.orig, "sqlstate", None) or "")
    text = str(error.orig).lower()
    if not isinstance(error, OperationalError | InterfaceError | InternalError):
        return error.connection_invalidated or sqlstate[:2] in {"08", "40", "53", "57"}
    return (
        error.connection_invalidated
        or sqlstate[:2] in {"08", "40", "53", "57"}
        or "database is locked" in text
        or ("connection" in text and not any(words in text for words in _refusals))
    )


def _is_of_the_disk(error: DBAPIError) -> bool:
    is_full = getattr(error.orig, "sqlstate", None) == "53100"
    return is_full or any(words in str(error.orig).lower() for words in _of_the_disk)


class Database:
    """The engines of one database URL, opened at the first use."""

    def __init__(self, url: str, *, private: bool = True, stall_limit_s: float = stall_limit_s) -> None:
        self._stall_limit_ms = int(stall_limit_s * 1_000)
        try:
            self.writer, self.reader = _engines(url, private=private)
        except OSError as error:
            raise BadSetting(
                f"The database folder {error.filename!r} can't be made: {error.strerror}. "
                "Point RUNATLAS_HOME or RUNATLAS_DATABASE_URL at a place that can be written."
            ) from error

    @property
    def dialect(self) -> str:
        return self.writer.dialect.name

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write; commits at the end. Raises `StoreBusy` where a retry may help."""
        with _translated(), self.writer.begin() as connection:
            if self.dialect == "postgresql":  # a process that was stopped within it must not lock out the others
                limit = f"set local idle_in_transaction_session_timeout = {self._stall_limit_ms}"
                connection.exec_driver_sql(limit)
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A short transaction that only reads, on one consistent state."""
        with _translated(), self.reader.connect() as connection:
            yield connection

    def now(self, connection: Connection) -> float:
        """Seconds since 1970 by the database's own clock, the only one that all machines share."""
        sql = (
            "select (julianday('now') - 2440587.5) * 86400.0"
            if self.dialect == "sqlite"
            else "select extract(epoch from clock_timestamp())"
        )
        return float(connection.exec_driver_sql(sql).scalar_one())

    def insert(self, table: Table) -> Any:
        """An INSERT of this dialect, which knows ON CONFLICT."""
        if self.dialect == "sqlite":
            return sqlite.insert(table)
        from sqlalchemy.dialects import postgresql  # its import takes as long as a small transaction

        return postgresql.insert(table)

    def insert_new(self, connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> int:
        """Insert those rows that break no unique constraint; returns how many."""
        if not rows:
            return 0
        insert = self.insert(table).on_conflict_do_nothing()
        done = connection.execute(insert, rows, execution_options={"preserve_rowcount": True})
        return int(done.rowcount)

    def lies_in(self, folder: Path) -> bool:
        """Is it a file in this folder, so that it moves with the folder?"""
        file = self.writer.url.database
        return self.dialect == "sqlite" and bool(file) and Path(str(file)).resolve().is_relative_to(folder.resolve())

    def size_bytes(self) -> int:
        """Size of the database on disk; 0 where it is unknown."""
        with self.read() as connection:
            if self.dialect == "sqlite":
                pages = connection.exec_driver_sql("pragma page_count").scalar_one()
                return int(pages) * int(connection.exec_driver_sql("pragma page_size").scalar_one())
            return int(connection.execute(func.pg_database_size(func.current_database()).select()).scalar_one())

    def close(self) -> None:
        self.writer.dispose()
        self.reader.dispose()


@contextmanager
def _translated() -> Iterator[None]:
    """Errors of the driver become errors of runatlas here and nowhere else."""
    try:
        yield
    except (DBAPIError, PoolTimeout) as error:
        said = " ".join(str(getattr(error, "orig", None) or error).split()).rstrip(".")
        if isinstance(error, PoolTimeout) or (_is_passing(error) and not _is_of_the_disk(error)):
            raise StoreBusy(
                f"The database is busy, restarting or unreachable: {said}. Try again in a moment."
            ) from error
        if _is_of_the_disk(error):
            raise DiskFailed(
                f"The database can't be written: {said}. Is there space on its disk, and is its folder writable? "
                "Mend that and run it again: nothing that was committed is lost."
            ) from error
        if "not a database" in said or "malformed" in said:
            raise BadSetting(
                f"The database can't be used: {said}. Restore it, move it away to start with a new one, or point RUNATLAS_HOME or "
                "RUNATLAS_DATABASE_URL elsewhere."
            ) from error
        if isinstance(error, OperationalError):
            raise BadSetting(f"The database can't be used: {said}. Check RUNATLAS_DATABASE_URL.") from error
        raise
