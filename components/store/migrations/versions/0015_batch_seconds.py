"""how long embedded batches took, as a histogram"""

import sqlalchemy as sa
from alembic import op

from components.store.tables import big_int

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "batch_seconds",
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("up_to", sa.Float(), nullable=False),
        sa.Column("batches", big_int, nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name=op.f("fk_batch_seconds_dataset_id_dataset")),
        sa.PrimaryKeyConstraint("dataset_id", "up_to", name=op.f("pk_batch_seconds")),
    )


def downgrade() -> None:
    op.drop_table("batch_seconds")
