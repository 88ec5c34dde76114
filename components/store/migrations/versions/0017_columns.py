"""stored records gain the columns that all formats have in common, and the failures that they tell of

They are read from `extra`, type and text, as a load does; the logs are not needed.
"""

from collections.abc import Iterator
from typing import Any

import orjson
import sqlalchemy as sa
from alembic import op

from components.columns import COLUMNS, RESULTS, call_id_of, with_columns
from components.contracts import Json
from components.failures import failure_of

revision = "0017"
down_revision = "0015"
branch_labels = None
depends_on = None

BATCH = 2_000
record = sa.table(
    "record",
    *(sa.column(name) for name in ("seq", "dataset_id", "source_id", "filename", "type", "text", "extra")),
)


def upgrade() -> None:
    connection = op.get_bind()
    change = sa.update(record).where(record.c.seq == sa.bindparam("at")).values(extra=sa.bindparam("new"))
    for source_id in list(connection.execute(sa.select(record.c.source_id).distinct()).scalars()):
        tools = _tools(connection, source_id)
        for rows in _batches(connection, source_id):
            changed = []
            for row in rows:
                extra: dict[str, Json] = orjson.loads(row.extra)
                if more := _more(row, extra, tools):
                    changed.append({"at": row.seq, "new": orjson.dumps({**extra, **more}).decode()})
            if changed:
                connection.execute(change, changed)
    _publish_again(connection)


def _publish_again(connection: sa.Connection) -> None:
    """Where an output has one of the columns, its parts are written anew by the next index."""
    snapshot = sa.table("snapshot", *(sa.column(name) for name in ("dataset_id", "no", "manifest")))
    for row in list(connection.execute(sa.select(snapshot))):
        manifest = orjson.loads(row.manifest)
        published = manifest.get("extras", [])
        if any(column[0] in {*COLUMNS, "failed", "failure"} for column in published):
            changed = orjson.dumps({**manifest, "extras": [["", "", ""], *published]}).decode()
            here = (snapshot.c.dataset_id == row.dataset_id) & (snapshot.c.no == row.no)
            connection.execute(sa.update(snapshot).where(here).values(manifest=changed))


def _tools(connection: sa.Connection, source_id: int) -> dict[tuple[str, str], str]:
    """The tools of all calls of a source, by run and call id: its records are not stored in the order of the log."""
    calls = sa.select(record.c.filename, record.c.extra).where(record.c.source_id == source_id)
    tools = {}
    for row in connection.execute(calls.where(record.c.type == "tool_call")):
        extra = orjson.loads(row.extra)
        if (call_id := call_id_of(extra)) and isinstance(tool := extra.get("tool"), str):
            tools[row.filename, call_id] = tool
    return tools


def _batches(connection: sa.Connection, source_id: int) -> Iterator[list[Any]]:
    last = -1
    wanted = sa.select(record).where(record.c.source_id == source_id).order_by(record.c.seq).limit(BATCH)
    while rows := list(connection.execute(wanted.where(record.c.seq > last))):
        yield rows
        last = rows[-1].seq


def _more(row: Any, extra: dict[str, Json], tools: dict[tuple[str, str], str]) -> dict[str, Json]:
    more = with_columns(extra, row.filename.partition("#")[2])
    if row.type in RESULTS and "tool" not in extra and (tool := tools.get((row.filename, call_id_of(extra)))):
        more["tool"] = tool
    if "failed" not in extra and (failure := failure_of(row.type, row.text, extra)):
        more["failed"], more["failure"] = failure.failed, failure.kind
    return more


def downgrade() -> None:
    """The columns stay: nothing reads them, and `extra` may hold whatever a log says."""
