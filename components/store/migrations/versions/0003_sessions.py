"""which session each source holds, and of which other sessions it holds copies"""

import re

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

big_int = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_id_in_name = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:\.[A-Za-z0-9]+)*$")


def upgrade() -> None:
    session = op.create_table(
        "session",
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("session", sa.String(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("is_copy", sa.Boolean(), nullable=False),
        sa.Column("checked", big_int, nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name=op.f("fk_session_dataset_id_dataset")),
        sa.ForeignKeyConstraint(["source_id"], ["source.id"], name=op.f("fk_session_source_id_source")),
        sa.PrimaryKeyConstraint("dataset_id", "session", "source_id", "is_copy", name=op.f("pk_session")),
    )
    op.create_index(op.f("ix_session_dataset_id_is_copy"), "session", ["dataset_id", "is_copy"], unique=False)
    op.create_index(op.f("ix_session_source_id"), "session", ["source_id"], unique=False)
    _fill(session)


def _fill(session: sa.Table) -> None:
    """The sessions of sources that were read before: these formats name their files after them."""
    query = sa.text("select id, dataset_id, key from source where format in ('codex', 'claude_code', 'pi')")
    rows = [
        {"dataset_id": dataset_id, "session": found[1], "source_id": id, "is_copy": False, "checked": -1}
        for id, dataset_id, key in op.get_bind().execute(query)
        if (found := _id_in_name.search(key))
    ]
    if rows:
        op.bulk_insert(session, rows)
