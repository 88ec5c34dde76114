"""results of comparisons"""

import sqlalchemy as sa
from alembic import op

from components.store.tables import UtcDateTime

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "comparison",
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("snapshot", sa.Integer(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name=op.f("fk_comparison_dataset_id_dataset")),
        sa.PrimaryKeyConstraint("dataset_id", "id", name=op.f("pk_comparison")),
    )


def downgrade() -> None:
    op.drop_table("comparison")
