"""Brings the schema of a database to this version, safely when several processes start together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection

from components.errors import SchemaTooNew
from components.store.engine import Database

migrations = Path(__file__).parent / "migrations"
_advisory_lock = 7_262_783


def upgrade(db: Database, keep_credentials: Callable[[list[str]], None] | None = None) -> None:
    """Run the migrations that are missing. Raises `SchemaTooNew` for a database of a newer runatlas.

    `keep_credentials` takes URLs of sources whose passwords a migration removes.
    """
    head = _newest_revision()
    with db.read() as connection:
        if _revision(connection) == head:
            return
    with db.write() as connection:  # SQLite: BEGIN IMMEDIATE keeps other starters out
        if db.dialect == "postgresql":
            connection.exec_driver_sql(f"select pg_advisory_xact_lock({_advisory_lock})")
        _upgrade_within(connection, head, keep_credentials)
    if db.dialect == "sqlite":
        with db.read() as connection:  # so that nothing that a migration removed stays in the write-ahead log
            connection.rollback()
            connection.exec_driver_sql("pragma wal_checkpoint(truncate)")


def _newest_revision() -> str:
    """The newest migration that ships with this version; their file names sort by age."""
    return max((migrations / "versions").glob("*.py")).stem.split("_")[0]


def _revision(connection: Connection) -> str | None:
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    return connection.exec_driver_sql("select version_num from alembic_version").scalar()


def _upgrade_within(connection: Connection, head: str, keep_credentials: Callable[[list[str]], None] | None) -> None:
    current = _revision(connection)
    if current == head:
        return
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util.exc import CommandError

    config = Config()
    config.set_main_option("script_location", str(migrations))
    config.attributes["connection"] = connection
    config.attributes["keep_credentials"] = keep_credentials
    try:
        if current is not None:
            ScriptDirectory.from_config(config).get_revision(current)
    except CommandError as error:
        raise SchemaTooNew(
            f"The database has schema {current}, this runatlas knows up to {head}: it was written by a newer version. "
            "Update runatlas, or point RUNATLAS_HOME or RUNATLAS_DATABASE_URL elsewhere."
        ) from error
    command.upgrade(config, "head")
