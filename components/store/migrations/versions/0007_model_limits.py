"""the limit on a text's length is no part of a model's identity"""

import re

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

model = sa.table("model", sa.column("id", sa.Integer), sa.column("identity", sa.String))


def upgrade() -> None:
    """The newest of those that only their limit told apart takes the new identity; older ones keep theirs, unused."""
    connection = op.get_bind()
    newest: dict[str, int] = {}
    for id, identity in connection.execute(sa.select(model.c.id, model.c.identity).order_by(model.c.id)):
        without_limit = re.sub(r" max_chars=\d+", "", identity)
        if without_limit != identity:
            newest[without_limit] = id
    for identity, id in newest.items():
        connection.execute(sa.update(model).where(model.c.id == id).values(identity=identity))


def downgrade() -> None:
    pass  # which limit it was is not known any more
