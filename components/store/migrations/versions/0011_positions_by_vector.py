"""positions by vector: which texts are on a map already"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("ix_position_layout_id_vector_id"), "position", ["layout_id", "vector_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_position_layout_id_vector_id"), table_name="position")
