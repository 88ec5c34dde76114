"""how many texts were embedded, beside tokens and batches"""

import sqlalchemy as sa
from alembic import op

from components.store.tables import big_int

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tally", sa.Column("texts", big_int, nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("tally", "texts")
