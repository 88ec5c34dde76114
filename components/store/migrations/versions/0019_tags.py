"""tags on records, and an index that finds the records of a run"""

import sqlalchemy as sa
from alembic import op

from components.store.tables import UtcDateTime

revision = "0019"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tagging",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("tag", sa.String(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name=op.f("fk_tagging_dataset_id_dataset")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tagging")),
    )
    op.create_index(op.f("ix_tagging_dataset_id"), "tagging", ["dataset_id"])
    op.create_table(
        "tagged",
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("tag", sa.String(), nullable=False),
        sa.Column("record_id", sa.String(), nullable=False),
        sa.Column("tagging_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name=op.f("fk_tagged_dataset_id_dataset")),
        sa.ForeignKeyConstraint(["tagging_id"], ["tagging.id"], name=op.f("fk_tagged_tagging_id_tagging")),
        sa.PrimaryKeyConstraint("dataset_id", "tag", "record_id", name=op.f("pk_tagged")),
    )
    op.create_index(op.f("ix_tagged_record_id"), "tagged", ["record_id"])
    op.create_index(op.f("ix_tagged_tagging_id"), "tagged", ["tagging_id"])
    op.create_index(op.f("ix_record_filename"), "record", ["filename"], postgresql_using="hash")


def downgrade() -> None:
    op.drop_index(op.f("ix_record_filename"), "record")
    op.drop_table("tagged")
    op.drop_table("tagging")
