"""One database, two ways in: `read()` and `write()` transactions, on SQLite and on PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, event, func, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlmodel import create_engine

from components.errors import BadSetting, StoreBusy

busy_timeout_ms = 30_000
in_clause = 900  # SQLite allows 999 parameters a statement in older builds


def _sqlite_engine(url: str, begin: str) -> Engine:
    engine = create_engine(url, connect_args={"check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver must not begin transactions of its own
        for pragma in (
            f"busy_timeout={busy_timeout_ms}",
            "journal_mode=WAL",
            "synchronous=FULL",  # costs nothing at our batch sizes, and survives power loss
            "foreign_keys=ON",
            "cache_size=-16000",
        ):
            connection.execute(f"pragma {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _engines(url: str) -> tuple[Engine, Engine]:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        if parsed.database and parsed.database != ":memory:":
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
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


def _is_passing(error: DBAPIError) -> bool:
    """May the same transaction succeed later: a lock, a deadlock, a server that restarts?"""
    sqlstate = str(getattr(error.orig, "sqlstate", None) or "")
    text = str(error.orig).lower()
    return (
        error.connection_invalidated
        or sqlstate[:2] in {"08", "40", "53", "57"}
        or "database is locked" in text
        or "connection" in text
    )


class Database:
    """The engines of one database URL, opened at the first use."""

    def __init__(self, url: str) -> None:
        try:
            self.writer, self.reader = _engines(url)
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
        """A transaction that may write; commits at the end. Raises `StoreBusy` where another try may help."""
        with _translated(), self.writer.begin() as connection:
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
        return sqlite.insert(table) if self.dialect == "sqlite" else postgresql.insert(table)

    def insert_new(self, connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> int:
        """Insert those rows that break no unique constraint; returns how many."""
        if not rows:
            return 0
        insert = self.insert(table).on_conflict_do_nothing()
        done = connection.execute(insert, rows, execution_options={"preserve_rowcount": True})
        return int(done.rowcount)

    def size_bytes(self) -> int:
        """What the database takes on disk, 0 where that can't be told."""
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
    """Foreign errors become ours here and nowhere else."""
    try:
        yield
    except OperationalError as error:
        if _is_passing(error):
            raise StoreBusy(f"The database is busy or restarting: {error.orig}. Try again in a moment.") from error
        raise BadSetting(
            f"The database can't be used: {error.orig}. Is its folder writable, is there room on the disk?"
        ) from error
    except DBAPIError as error:
        if _is_passing(error):
            raise StoreBusy(f"The database was interrupted: {error.orig}. Try again in a moment.") from error
        raise
    except SQLAlchemyError:
        raise


def patiently(attempt: Any, *, tries: int = 5, wait_s: float = 0.5) -> Any:
    """The result of `attempt()`, tried again with growing waits while the database is busy."""
    for n in range(tries):
        try:
            return attempt()
        except StoreBusy:
            if n == tries - 1:
                raise
            time.sleep(wait_s * 2**n)
    raise AssertionError
