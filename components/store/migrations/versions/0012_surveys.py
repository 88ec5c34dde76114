"""surveys of uploaded tables, the uploads of each address, and vectors of dropped datasets"""

import sqlalchemy as sa
from alembic import op

from components.store.tables import UtcDateTime, big_int

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "survey",
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("file_name", sa.String(), nullable=False),
        sa.Column("size_bytes", big_int, nullable=False),
        sa.Column("uploaded", sa.Text(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("terrain", sa.Text(), nullable=True),
        sa.Column("hill_of_row", sa.LargeBinary(), nullable=True),
        sa.Column("weights", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("accessed_at", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name=op.f("fk_survey_dataset_id_dataset")),
        sa.PrimaryKeyConstraint("dataset_id", name=op.f("pk_survey")),
    )
    op.create_table(
        "upload_attempt",
        sa.Column("id", big_int, nullable=False, autoincrement=True),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_upload_attempt")),
    )
    op.create_index(op.f("ix_upload_attempt_address_at"), "upload_attempt", ["address", "at"], unique=False)
    op.create_table(
        "survey_tally",
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("n", big_int, nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", name=op.f("pk_survey_tally")),
    )
    op.create_table(
        "dropped_vector",
        sa.Column("id", big_int, nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dropped_vector")),
    )


def downgrade() -> None:
    for table in ("dropped_vector", "survey_tally", "upload_attempt", "survey"):
        op.drop_table(table)
