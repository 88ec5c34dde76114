"""Passwords in URLs of sources leave the database.

Revision ID: 0005
Revises: 0004
"""

from collections.abc import Callable, Iterable
from typing import Any

import orjson
import sqlalchemy as sa
from alembic import context, op

from components.locations import without_password

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("pragma secure_delete=on")  # or free pages would keep them
    dataset = sa.table("dataset", sa.column("id", sa.Integer), sa.column("sources", sa.Text))
    found = {row.id: orjson.loads(row.sources) for row in connection.execute(sa.select(dataset))}
    source = sa.table(
        "source", *(sa.column(name) for name in ("id", "dataset_id", "location", "kind", "status", "version"))
    )
    tables = sa.select(source).where(source.c.kind == "table").order_by(source.c.id.desc())
    rows = list(connection.execute(tables))
    _keep([*(spec for specs in found.values() for spec in specs), *(row.location for row in reversed(rows))])
    for id, specs in found.items():
        bare = list(dict.fromkeys(map(without_password, specs)))
        if bare != specs:
            kept = orjson.dumps(bare).decode()
            connection.execute(sa.update(dataset).where(dataset.c.id == id).values(sources=kept))
    taken: set[Any] = set()  # a table that was read with two passwords is one source now: the newest entry goes on
    for row in rows:
        bare_url = without_password(row.location)
        is_twin = (row.dataset_id, bare_url) in taken
        taken.add((row.dataset_id, bare_url))
        if bare_url == row.location and not is_twin:
            continue
        values = {"location": f"{bare_url}#{row.id}", "status": "gone"} if is_twin else {"location": bare_url}
        changed = sa.update(source).where(source.c.id == row.id)
        connection.execute(changed.values(version=source.c.version + 1, **values))


def _keep(specs: Iterable[str]) -> None:
    """Hands the passwords to whoever keeps them from now on, the newest last, before they are gone from here."""
    keep: Callable[[list[str]], None] | None = context.config.attributes.get("keep_credentials")
    if keep is not None:
        keep(list(specs))


def downgrade() -> None:
    """Passwords don't come back."""
