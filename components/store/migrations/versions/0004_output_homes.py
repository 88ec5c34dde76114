"""which home keeps the output of a dataset"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("dataset", sa.Column("home_id", sa.String(), server_default="", nullable=False))
    op.add_column("dataset", sa.Column("home_place", sa.String(), server_default="", nullable=False))
