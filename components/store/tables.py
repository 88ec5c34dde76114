"""The tables of the state, the same on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    text,
)
from sqlmodel import Field, SQLModel

SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

RECEIVER = "receiver"  # kind of a source that records are sent to; no load looks for it

big_int = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER is a row id in SQLite


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC datetimes on every dialect; SQLite does not store the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class RecordState(IntEnum):
    """The state of a record on its way to the map."""

    WAITING = 0
    INDEXED = 1
    FAILED = 2
    SUPERSEDED = 3


has_key = text("key is not null")  # only these are in the index of keys


def _big(**options: Any) -> Any:
    return Column(big_int, **options)


class Dataset(SQLModel, table=True):
    """A named set of records that makes one map. `sources` (JSON) are those that were given to loads."""

    __tablename__ = "dataset"
    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    sources: str = Field(default="[]", sa_column=Column(Text, nullable=False))
    settings: str = Field(default="{}", sa_column=Column(Text, nullable=False, server_default="{}"))  # JSON
    home_id: str = Field(default="", sa_column_kwargs={"server_default": ""})  # of the home that owns its output
    home_place: str = Field(default="", sa_column_kwargs={"server_default": ""})  # host:/path, for messages
    created_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))


class Source(SQLModel, table=True):
    """The ledger: one row per source, with the cursor (JSON) behind what was read of it."""

    __tablename__ = "source"
    __table_args__ = (UniqueConstraint("dataset_id", "location"), UniqueConstraint("dataset_id", "key"))
    id: int | None = Field(default=None, primary_key=True)
    dataset_id: int = Field(foreign_key="dataset.id")
    key: str
    location: str
    kind: str
    format: str = ""
    status: str  # reading, loaded, not_ready, failed, gone, copy
    reason: str = ""
    options: str = ""  # the settings it was last read with
    version: int = 0  # grows with every write
    generation: int = 0  # grows each time the source is read again from its start
    size_bytes: int = Field(sa_column=_big(nullable=False))
    mtime_ns: int = Field(sa_column=_big(nullable=False))
    inode: int = Field(sa_column=_big(nullable=False))
    ctime_ns: int = Field(default=0, sa_column=_big(nullable=False, server_default="0"))
    cursor: str | None = Field(default=None, sa_column=Column(Text))
    loaded_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))


class RecordRow(SQLModel, table=True):
    """A record and its state. `seq` is the order of arrival, `batch` the publication that first contained it.

    Of the records with one `key` the one with the highest `version` is current, the others are superseded.
    """

    __tablename__ = "record"
    __table_args__ = (
        UniqueConstraint("dataset_id", "id"),
        Index(None, "dataset_id", "state", "batch", "seq"),
        Index(None, "source_id", "generation"),
        Index(
            None, "filename", info={"postgresql_using": "hash"}
        ),  # a name may be too long for the other kind; see env.py
        Index(None, "dataset_id", "key", "version", unique=True, sqlite_where=has_key),  # see env.py
    )
    seq: int | None = Field(default=None, sa_column=_big(primary_key=True, autoincrement=True))
    dataset_id: int = Field(foreign_key="dataset.id")
    id: str
    source_id: int = Field(foreign_key="source.id")
    generation: int
    timestamp: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))
    filename: str
    text: str = Field(sa_column=Column(Text, nullable=False))
    iteration: int
    idx_in_iteration: int
    type: str
    extra: str = Field(default="{}", sa_column=Column(Text, nullable=False))
    state: int = RecordState.WAITING
    batch: int | None = None
    key: str | None = None  # its own name, unique in the dataset
    version: int = Field(default=1, sa_column_kwargs={"server_default": "1"})


class DefectRow(SQLModel, table=True):
    """A line or item that could not become a record, with its offset."""

    __tablename__ = "defect"
    __table_args__ = (UniqueConstraint("source_id", "generation", "offset", "reason"),)
    id: int | None = Field(default=None, sa_column=_big(primary_key=True, autoincrement=True))
    dataset_id: int = Field(foreign_key="dataset.id", index=True)
    source_id: int = Field(foreign_key="source.id")
    generation: int
    offset: int = Field(sa_column=_big(nullable=False))
    reason: str
    excerpt: str = ""


class SessionRow(SQLModel, table=True):
    """A session in a source: its own, or (`is_copy`) one whose history it repeats.

    `checked` is the sum of the versions of all sources of the session when the copies were last compared.
    """

    __tablename__ = "session"
    __table_args__ = (Index(None, "dataset_id", "is_copy"),)
    dataset_id: int = Field(foreign_key="dataset.id", primary_key=True)
    session: str = Field(primary_key=True)
    source_id: int = Field(foreign_key="source.id", primary_key=True, index=True)
    is_copy: bool = Field(primary_key=True)
    checked: int = Field(default=-1, sa_column=_big(nullable=False))


class Model(SQLModel, table=True):
    """An embedding model by its identity: all that decides a vector."""

    __tablename__ = "model"
    id: int | None = Field(default=None, primary_key=True)
    identity: str = Field(unique=True)
    dim: int


class Vector(SQLModel, table=True):
    """The vector of one prepared text by one model: float16, little endian, unit length."""

    __tablename__ = "vector"
    __table_args__ = (UniqueConstraint("model_id", "digest"),)
    id: int | None = Field(default=None, sa_column=_big(primary_key=True, autoincrement=True))
    model_id: int = Field(foreign_key="model.id")
    digest: bytes = Field(sa_column=Column(LargeBinary, nullable=False))  # of the prepared text
    data: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class LayoutRow(SQLModel, table=True):
    """A fitted map: `arrays` is an npz without pickles (places, parameters, ids of the fitted vectors)."""

    __tablename__ = "layout"
    __table_args__ = (UniqueConstraint("dataset_id", "version"),)
    id: int | None = Field(default=None, primary_key=True)
    dataset_id: int = Field(foreign_key="dataset.id")
    version: int
    model_id: int = Field(foreign_key="model.id")
    text_hash: str  # of the dataset's text settings
    status: str  # building, current, retired
    n_fitted: int
    n_placed: int = 0  # records placed since the fit
    n_off_map: int = 0  # of these, off the map
    displacement: float | None = None  # mean move of records by the refit, in map radii
    n_topics: int | None = None  # active ones; None: no topics were looked for yet
    arrays: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    created_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))


class Position(SQLModel, table=True):
    """The position of a record in a layout, the vector that it comes from, and its topic: -1 for noise."""

    __tablename__ = "position"
    __table_args__ = (Index(None, "layout_id", "vector_id"), {"sqlite_with_rowid": False})
    layout_id: int = Field(foreign_key="layout.id", primary_key=True)
    seq: int = Field(sa_column=_big(primary_key=True, autoincrement=False))
    vector_id: int = Field(sa_column=_big(nullable=False))
    x: float
    y: float
    topic: int | None = None  # None: not looked for yet


class TopicRow(SQLModel, table=True):
    """A topic in a layout, or a group of topics. `lineage`, `examples` and `members` are JSON.

    A snapshot number of 0 stands for the first snapshot of the layout, which was not known when the row was written.
    """

    __tablename__ = "topic"
    layout_id: int = Field(foreign_key="layout.id", primary_key=True)
    id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    parent: int
    level: int
    name: str
    description: str
    name_source: str
    named_rows: int  # fitted rows when it was named
    state: str  # active, ended, merged
    born: int
    lineage: str = Field(sa_column=Column(Text, nullable=False))
    examples: str = Field(sa_column=Column(Text, nullable=False))  # ids of records
    members: str = Field(sa_column=Column(Text, nullable=False))  # ids of its most typical vectors
    x: float
    y: float
    centroid: bytes = Field(sa_column=Column(LargeBinary, nullable=False))  # float16, little endian


class TopicEdit(SQLModel, table=True):
    """A name given, or a merge made, by a person: it holds in every layout; the newest of a topic counts."""

    __tablename__ = "topic_edit"
    id: int | None = Field(default=None, sa_column=_big(primary_key=True, autoincrement=True))
    dataset_id: int = Field(foreign_key="dataset.id", index=True)
    topic: int
    name: str | None = None
    merged_into: int | None = None
    created_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))


class BatchRow(SQLModel, table=True):
    """One publication of new records."""

    __tablename__ = "batch"
    dataset_id: int = Field(foreign_key="dataset.id", primary_key=True)
    no: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    rows: int
    created_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))


class PartRow(SQLModel, table=True):
    """An immutable output file with all records of batches `first_batch` to `last_batch`."""

    __tablename__ = "part"
    __table_args__ = (UniqueConstraint("dataset_id", "kind", "name"),)
    id: int | None = Field(default=None, primary_key=True)
    dataset_id: int = Field(foreign_key="dataset.id")
    kind: str  # logs, embeddings
    name: str
    first_batch: int
    last_batch: int
    rows: int
    size_bytes: int = Field(sa_column=_big(nullable=False))
    sha256: str


class SnapshotRow(SQLModel, table=True):
    """One published pair of outputs; `manifest` (JSON) is the file of that name, and lists the parts."""

    __tablename__ = "snapshot"
    dataset_id: int = Field(foreign_key="dataset.id", primary_key=True)
    no: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    layout_id: int = Field(foreign_key="layout.id")
    rows: int
    manifest: str = Field(sa_column=Column(Text, nullable=False))
    created_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))


class Failure(SQLModel, table=True):
    """A record whose text could not be embedded; it is skipped until a retry is requested."""

    __tablename__ = "failure"
    seq: int = Field(sa_column=_big(primary_key=True, autoincrement=False))
    dataset_id: int = Field(foreign_key="dataset.id", index=True)
    digest: bytes = Field(sa_column=Column(LargeBinary, nullable=False))  # of its prepared text
    error: str
    attempts: int
    failed_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))


class Tally(SQLModel, table=True):
    """What the embedding of a dataset took in total; updated with each batch, in the transaction that stores its vectors."""

    __tablename__ = "tally"
    dataset_id: int = Field(foreign_key="dataset.id", primary_key=True)
    texts: int = Field(default=0, sa_column=_big(nullable=False, server_default="0"))
    tokens: int = Field(default=0, sa_column=_big(nullable=False))
    batches: int = Field(default=0, sa_column=_big(nullable=False))
    seconds: float = 0.0


class BatchSeconds(SQLModel, table=True):
    """How many embedded batches of a dataset took at most so many seconds, and longer than the bound before."""

    __tablename__ = "batch_seconds"
    dataset_id: int = Field(foreign_key="dataset.id", primary_key=True)
    up_to: float = Field(primary_key=True)
    batches: int = Field(default=0, sa_column=_big(nullable=False))


class IndexRequestRow(SQLModel, table=True):
    """An index that was refused, since another one ran: that one, or else the next one, does what was requested."""

    __tablename__ = "index_request"
    __table_args__ = (Index(None, "dataset", "done_at"),)
    id: str = Field(primary_key=True)
    dataset: str  # by name: a request may be older than its dataset
    recompute: bool
    retry_failed: bool
    renew_topics: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    asked_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    done_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))


class Lease(SQLModel, table=True):
    """Who may index a dataset now; `token` grows with each holder, times are the database's clock in seconds."""

    __tablename__ = "lease"
    name: str = Field(primary_key=True)
    owner: str = ""
    token: int = Field(default=0, sa_column=_big(nullable=False))
    acquired_at: float = Field(default=0.0, sa_column_kwargs={"server_default": "0"})
    expires_at: float = 0.0
    heartbeat_at: float = 0.0
    progress: str = ""  # JSON: step, done, total


class ComparisonRow(SQLModel, table=True):
    """The result (JSON) of a comparison; `id` is a digest of the question and of the snapshot that answered it."""

    __tablename__ = "comparison"
    dataset_id: int = Field(foreign_key="dataset.id", primary_key=True)
    id: str = Field(primary_key=True)
    snapshot: int
    result: str = Field(sa_column=Column(Text, nullable=False))
    created_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))


class Run(SQLModel, table=True):
    """One load or index, however it was started; `report` (JSON) is its result."""

    __tablename__ = "run"
    __table_args__ = (Index(None, "dataset", "kind", "started_at"),)
    id: str = Field(primary_key=True)
    dataset: str
    kind: str  # load, index
    state: str  # running, done, failed, cancelled
    step: str = ""
    done: int = Field(default=0, sa_column=_big(nullable=False))
    total: int = Field(default=0, sa_column=_big(nullable=False))
    report: str | None = Field(default=None, sa_column=Column(Text))
    error: str | None = None
    started_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    heartbeat_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    finished_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))


# the tables that several modules use
dataset_t = Dataset.__table__  # type: ignore[attr-defined]
source_t = Source.__table__  # type: ignore[attr-defined]
record_t = RecordRow.__table__  # type: ignore[attr-defined]
defect_t = DefectRow.__table__  # type: ignore[attr-defined]
session_t = SessionRow.__table__  # type: ignore[attr-defined]
