"""wishes, tallies of embedding, and since when a lease is held"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

big_int = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "tally",
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("tokens", big_int, nullable=False),
        sa.Column("batches", big_int, nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name=op.f("fk_tally_dataset_id_dataset")),
        sa.PrimaryKeyConstraint("dataset_id", name=op.f("pk_tally")),
    )
    op.create_table(
        "wish",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("dataset", sa.String(), nullable=False),
        sa.Column("recompute", sa.Boolean(), nullable=False),
        sa.Column("retry_failed", sa.Boolean(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wish")),
    )
    op.create_index(op.f("ix_wish_dataset_done_at"), "wish", ["dataset", "done_at"], unique=False)
    op.add_column("lease", sa.Column("acquired_at", sa.Float(), server_default="0", nullable=False))
