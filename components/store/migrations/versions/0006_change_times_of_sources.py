"""the time at which a source's file was last changed in any way, so that a replaced one is seen"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

big_int = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("source", sa.Column("ctime_ns", big_int, server_default="0", nullable=False))
