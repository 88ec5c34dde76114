"""topics of the records, and what people say about them"""

import sqlalchemy as sa
from alembic import op

from components.store.tables import UtcDateTime, big_int

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("position", sa.Column("topic", sa.Integer(), nullable=True))
    op.add_column("layout", sa.Column("n_topics", sa.Integer(), nullable=True))
    op.add_column("index_request", sa.Column("renew_topics", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "topic",
        sa.Column("layout_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("parent", sa.Integer(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("name_source", sa.String(), nullable=False),
        sa.Column("named_rows", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("born", sa.Integer(), nullable=False),
        sa.Column("lineage", sa.Text(), nullable=False),
        sa.Column("examples", sa.Text(), nullable=False),
        sa.Column("members", sa.Text(), nullable=False),
        sa.Column("x", sa.Float(), nullable=False),
        sa.Column("y", sa.Float(), nullable=False),
        sa.Column("centroid", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["layout_id"], ["layout.id"], name=op.f("fk_topic_layout_id_layout")),
        sa.PrimaryKeyConstraint("layout_id", "id", name=op.f("pk_topic")),
    )
    op.create_table(
        "topic_edit",
        sa.Column("id", big_int, nullable=False, autoincrement=True),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("topic", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=True),
        sa.Column("merged_into", sa.Integer(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name=op.f("fk_topic_edit_dataset_id_dataset")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_topic_edit")),
    )
    op.create_index(op.f("ix_topic_edit_dataset_id"), "topic_edit", ["dataset_id"], unique=False)


def downgrade() -> None:
    op.drop_table("topic_edit")
    op.drop_table("topic")
    for table, column in (
        ("index_request", "renew_topics"),
        ("layout", "n_topics"),
        ("position", "topic"),
    ):
        op.drop_column(table, column)
