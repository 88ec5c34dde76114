"""index requests under their own name, and settings of datasets"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

columns = ("id", "dataset", "recompute", "retry_failed", "asked_at", "done_at")


def upgrade() -> None:
    op.add_column("dataset", sa.Column("settings", sa.Text(), nullable=False, server_default="{}"))
    _move("wish", "index_request")


def downgrade() -> None:
    _move("index_request", "wish")
    op.drop_column("dataset", "settings")


def _move(old: str, new: str) -> None:
    """The same rows in a table of another name, whose key and index are named after it."""
    op.create_table(
        new,
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("dataset", sa.String(), nullable=False),
        sa.Column("recompute", sa.Boolean(), nullable=False),
        sa.Column("retry_failed", sa.Boolean(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{new}")),
    )
    names = ", ".join(columns)
    op.execute(f"insert into {new} ({names}) select {names} from {old}")
    op.create_index(op.f(f"ix_{new}_dataset_done_at"), new, ["dataset", "done_at"], unique=False)
    op.drop_table(old)
