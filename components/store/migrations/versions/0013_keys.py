"""keys of records, and versions of what has one key"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("record", sa.Column("key", sa.String(), nullable=True))
    op.add_column("record", sa.Column("version", sa.Integer(), nullable=False, server_default="1"))
    op.create_index(
        op.f("ix_record_dataset_id_key_version"),
        "record",
        ["dataset_id", "key", "version"],
        unique=True,
        sqlite_where=sa.text("key is not null"),
        postgresql_where=sa.text("key is not null"),
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_record_dataset_id_key_version"), table_name="record")
    op.drop_column("record", "version")
    op.drop_column("record", "key")
