"""Alembic's entry: runs on the connection that it is handed."""

from typing import Any, Literal

from alembic import context
from sqlalchemy import String
from sqlmodel import SQLModel

from components.store.tables import UtcDateTime


def render_item(kind: str, item: Any, _: Any) -> str | Literal[False]:
    """Migrations spell the database's own types, so that an old one runs whatever our classes become."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and type(item).__name__ == "AutoString" and isinstance(item.impl, String):
        return "sa.String()"
    return False


def include_name(name: str | None, kind: str, _: Any) -> bool:
    """The index of words is none that SQLAlchemy knows: a virtual table with its own tables, or an expression."""
    return not (kind in {"table", "index"} and name is not None and name.startswith("record_words"))


for table in SQLModel.metadata.tables.values():
    for index in table.indexes:  # not where the tables are defined: each start on SQLite would load the other dialect
        if "sqlite_where" in index.dialect_kwargs:
            index.dialect_kwargs["postgresql_where"] = index.dialect_kwargs["sqlite_where"]
        if "postgresql_using" in index.info:
            index.dialect_kwargs["postgresql_using"] = index.info["postgresql_using"]

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_as_batch=True,
    compare_type=True,
    render_item=render_item,
    include_name=include_name,
)
with context.begin_transaction():
    context.run_migrations()
