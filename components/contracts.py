"""Every value and every Protocol of the product on one page.

Values travel one way: a *source* yields batches of records, the *store* keeps them, an *embedder* turns prepared
texts into vectors, a *projector* gives vectors a place, the *publisher* writes snapshots. Nothing here opens
anything or knows how the others work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
import orjson
from numpy.typing import NDArray

type_names = ("system", "user", "assistant", "reasoning", "tool_call", "tool_result", "error", "summary", "span")
"""The usual values of `Record.type`; a log's own word is kept where none of these fits."""

Vectors = NDArray[np.float32]  # (n, dim), every row of unit length
UNIT_TOLERANCE = 1e-3  # by which an embedder's vector may be longer or shorter
Positions = NDArray[np.float32]  # (n, 2)
T = TypeVar("T")
Json = Any  # what orjson.loads gives: dict, list, str, int, float, bool, None
COPIED_FROM: Final = "copied_from"  # key of `extra`: the session whose history an item repeats
NO_EXTRA: Final[Mapping[str, Json]] = {}  # shared by all that have none; a plain dict, so that orjson spells it


# --- records ---------------------------------------------------------------------------------------------------


class Event(NamedTuple):
    """One readable item of a log, as a format sees it: a record that does not know its source yet.

    `run` parts the runs of one file ("" where a file holds one run). `timestamp` may be naive; the source gives it
    the dataset's zone. `text` is never empty. `key` names the item in its dataset, "" where it has no name of its own.
    A tuple, as `Record` is: millions are made, at half a dataclass's cost.
    `former_type` and `former_text`: what an earlier version read here, where that differs: the record replaces the one stored then.
    """

    iteration: int
    idx_in_iteration: int
    type: str
    text: str
    timestamp: datetime | None = None
    run: str = ""
    extra: Mapping[str, Json] = NO_EXTRA
    former_type: str = ""
    former_text: str = ""
    key: str = ""


class Record(NamedTuple):
    """The unit of everything: one item of one run. `id` is 32 hex digits, `timestamp` aware UTC or None.

    `former_id`: the id under which an earlier version stored the record, where that read another text or type; known while
    a source is read, not stored.

    `key`: the record's own name, unique in its dataset ("" if it has none). A record with the key of another one and
    other content is a new version of it, and takes its place.
    """

    id: str
    timestamp: datetime | None
    filename: str
    text: str
    iteration: int
    idx_in_iteration: int
    type: str
    extra: Mapping[str, Json] = NO_EXTRA
    former_id: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """A line or item that could not become a record. `offset` is in bytes (lines) or an item's index (documents)."""

    offset: int
    reason: str
    excerpt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """An item that a format leaves out, with the name of the rule that says so.

    `is_unknown`: the format does not know this kind of item, so it may hold something that a person would miss.
    """

    rule: str
    is_unknown: bool = False


def record_id(
    *, filename: str, iteration: int, idx_in_iteration: int, type: str, text: str, occurrence: int = 0
) -> str:
    """32 hex digits that depend on the record's content alone.

    SHA-256, cut to 16 bytes, over length-prefixed fields, so that no two different records spell the same bytes.
    `occurrence` counts records of one source that are equal in everything else.

    >>> record_id(filename="a.jsonl", iteration=0, idx_in_iteration=0, type="user", text="hi")
    '2e14d9bc210d7347b9a7eda0d9a093d0'
    """
    file, kind = filename.encode("utf-8", "surrogatepass"), type.encode("utf-8", "surrogatepass")
    said = text.encode("utf-8", "surrogatepass")
    place, idx, nth = b"%d" % iteration, b"%d" % idx_in_iteration, b"%d" % occurrence
    fields = len(file), file, len(place), place, len(idx), idx, len(kind), kind, len(said), said, len(nth), nth
    return hashlib.sha256(b"2:v1%d:%b%d:%b%d:%b%d:%b%d:%b%d:%b" % fields).hexdigest()[:32]


def keyed_record_id(record: Record) -> str:
    """The id of a record that has a key: 32 hex digits that depend on key and content, wherever it was read.

    SHA-256, cut to 16 bytes, as `record_id`; the file's name is no part of it, so that a record that stands in two files
    is one record. Two versions of a record differ in it.

    >>> keyed_record_id(Record("", None, "2021.jsonl", "On dust.", 0, 0, "document", key="2021A&A...1..1X"))
    '5dd8c93bf9b6fa731f8219e733a1ddf8'
    """
    when = record.timestamp.isoformat() if record.timestamp else ""
    place = f"{record.iteration} {record.idx_in_iteration}"
    content = orjson.dumps(record.extra, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS, default=str)
    digest = hashlib.sha256(b"2:k1")
    for part in (record.key, record.type, record.text, when, place):
        spelled = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:%b" % (len(spelled), spelled))
    digest.update(content)
    return digest.hexdigest()[:32]


def with_occurrence(record: Record, occurrence: int) -> Record:
    """The same record as its source's `occurrence`-th equal one (0 is the first); one that has a key has no equal."""
    if record.key:
        return record._replace(id=keyed_record_id(record))
    return record._replace(
        id=record_id(
            filename=record.filename,
            iteration=record.iteration,
            idx_in_iteration=record.idx_in_iteration,
            type=record.type,
            text=record.text,
            occurrence=occurrence,
        ),
    )


class Said(NamedTuple):
    """A record of a run by its place and by what it says, without its text."""

    iteration: int
    idx_in_iteration: int
    digest: int


def said_digest(type: str, text: str) -> int:
    """64 bits that identify what a record says, wherever it occurs."""
    spelled = f"{type}\0{text}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(spelled, digest_size=8).digest(), "big")


# --- reading ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Locator:
    """The location of one source. `location` is an absolute path or URL; `key` names it in records, relative to its root.

    `spec` is what named it: the file, folder, glob or URL that was given or configured. `url` is a table's URL with its
    password where `location` is without: it opens the table and is never stored.

    For files `size_bytes`, `mtime_ns`, `ctime_ns` and `inode` are what the directory said at discovery (no content is
    read). A `session` is one of many in another program's database or folder: its `location` is below that of its file,
    `size_bytes` counts its items, and `inode` changes with any of its content.
    """

    location: str
    key: str
    root: str = ""
    kind: Literal["file", "table", "session"] = "file"
    size_bytes: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    inode: int = 0
    spec: str = field(default="", repr=False)
    url: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """How far one source was read, and what it looked like then; the ledger keeps it as JSON.

    `offset` is the first byte not yet read (lines), `state` the format's own memory (open iteration, seen messages,
    finished archive members). The digests are hex SHA-256: `head` of the first `head_bytes` bytes, `tail` of the last
    bytes before `offset`, `content` of everything before `offset`. `ctime_ns` and `birth_ns` are 0 where not known.
    """

    format: str
    size_bytes: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    birth_ns: int = 0
    inode: int = 0
    offset: int = 0
    head: str = ""
    head_bytes: int = 0
    tail: str = ""
    content: str = ""
    state: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One row of the ledger: what is known of a source. `status` is how the last load left it.

    A `copy` repeats a source beside it that is read (a log on its way through a rotation), so it is not read itself.

    `version` grows with every write, so that two loads of one source can't both take the same range. `options` tells
    the settings that the source was last read with.
    """

    source_id: int
    key: str
    location: str
    status: Literal["reading", "loaded", "not_ready", "failed", "gone", "removed", "copy"]
    generation: int
    version: int
    size_bytes: int
    mtime_ns: int
    inode: int
    ctime_ns: int = 0
    format: str = ""
    reason: str = ""
    options: str = ""
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do about a source: `skip`, `resume` at the cursor, or `read` from the start as a new generation.

    `cursor` is where to resume if that is not the ledger's: in a log whose oldest lines were cut off.
    """

    action: Literal["skip", "resume", "read"]
    reason: str
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A bounded stretch of one source: its records and defects, and the cursor after them."""

    records: Sequence[Record]
    defects: Sequence[Defect]
    cursor: Cursor
    size_bytes: int  # bytes of the source that this batch covers
    skipped: Mapping[str, int] = field(default_factory=dict)  # rule -> items left out by it
    n_unknown: int = 0  # of the items left out, those of a kind that the format does not know
    unknown_bytes: int = 0  # what those take up, where an item's bytes are known
    sessions: frozenset[str] = frozenset()  # that its records name as theirs, in formats that copy sessions
    redacted: Mapping[str, int] = field(default_factory=dict)  # kind -> secrets that were replaced by a mark


def no_records(records: Iterable[Record]) -> bool:
    """Are these all stored? Yes, if there are none."""
    return not any(True for _ in records)


class DataSource(Protocol):
    """Where records come from. Hides discovery, completeness and formats."""

    def discover(self, specs: Sequence[str]) -> Discovered:
        """Everything that `specs` name, sorted, no duplicates; reads no content."""
        ...

    def decide(
        self,
        locator: Locator,
        entry: LedgerEntry | None,
        *,
        verify: bool = False,
        is_stored: Callable[[Iterable[Record]], bool] = no_records,
    ) -> Decision:
        """What the ledger's entry says about this source; `verify` compares whole content instead of its ends.

        Asked with the entry of a source that lay elsewhere, `skip` and `resume` mean: the same source under a new
        name. `is_stored` tells whether records of the source, by type and text, are all stored: a log of which only
        the newest lines are left is resumed after them. Raises `ReadFailed` where another try may help.
        """
        ...

    def is_copy(self, locator: Locator, original: Locator, entry: LedgerEntry | None) -> bool:
        """Does this source hold nothing but what the one beside it begins with, as in the middle of a rotation?"""
        ...

    def read(self, locator: Locator, cursor: Cursor | None) -> Iterator[Batch]:
        """Batches from `cursor` on (None: from the start), in bounded memory.

        Raises `NotReady` when the source is still being written, `UnknownFormat` when nothing recognises it,
        `Unreadable` when it can't be opened; all before the first batch or between two whole batches.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovered:
    """`locators` in order of their keys, and what was named but is not there.

    `left_out`: how many files belong to a source beside them and are none of their own, by rule.
    """

    locators: Sequence[Locator]
    problems: Sequence[Problem]
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something a person should know about one source: unreadable, unknown, waiting.

    `known`: an earlier load reported the same, and nothing has changed since.
    """

    source: str
    reason: str
    known: bool = False


# --- vectors and positions ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """Vectors in the order of the texts, (n, dim) float32 of unit length, and what it took."""

    vectors: Vectors
    n_tokens: int = 0
    n_shortened: int = 0  # texts longer than the model's window


class Embedder(Protocol):
    """Texts to vectors. `identity` spells out all that decides a vector: it is part of the vector's key."""

    @property
    def identity(self) -> str: ...

    @property
    def dim(self) -> int: ...

    def embed(self, texts: Sequence[str]) -> Embedded:
        """N texts in, n vectors out, order kept. Raises `TransientError` where another try may help."""
        ...


class Layout(Protocol):
    """A fitted map. Only `fit` and `refit` make one, so nothing can be placed before something was fitted."""

    @property
    def n_fitted(self) -> int: ...

    def transform(self, vectors: Vectors) -> Placed:
        """Positions for new vectors; each depends on its own vector alone, never on the others in the call."""
        ...

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything but the fitted vectors, as plain arrays (npz without pickles); `positions` (n_fitted, 2) among them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Positions in the order of the vectors, (n, 2), and which of them lie off the map: far from all it was fitted on.

    With them the nearest fitted rows of each vector, nearest first, and their cosine distances: some (n, k).
    """

    positions: Positions
    off_map: NDArray[np.bool_]  # (n,)
    near_rows: NDArray[np.int64]
    near_distances: NDArray[np.float64]


class Projector(Protocol):
    """Fits maps. All vectors given are distinct and of unit length."""

    def prepare_fit(self) -> None:
        """A fit comes later: get ready for it in the background, and return at once."""
        ...

    def fit(self, vectors: Vectors) -> Layout:
        """A new map; any n >= 0 gives a valid, finite one."""
        ...

    def refit(self, vectors: Vectors, positions: Positions) -> Layout:
        """A map that is aligned with the old one: `positions` (n, 2) are the old positions, NaN where a vector had none."""
        ...

    def open(self, arrays: Mapping[str, NDArray[Any]], fitted: Vectors) -> Layout:
        """The layout whose `arrays()` these are; `fitted` are the vectors it was fitted on, in their order."""
        ...


# --- topics -------------------------------------------------------------------------------------------------------

TOPIC_LEVEL = 3  # of topics themselves; the groups of levels 0 to 2 are coarser, 0 the coarsest
NO_TOPIC = -1  # the topic of a record that fits none
NO_TOPIC_LABEL = "no topic"

TopicState = Literal["active", "ended", "merged"]
NameSource = Literal["person", "model", "keywords", "fallback"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicEvent:
    """What happened to a topic, in which snapshot; 0 stands for the first snapshot of its layout."""

    event: Literal["new", "split from", "merged into", "ended", "returned"]
    snapshot: int = 0
    other: int = NO_TOPIC


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic, or a group of them: its name, where it is on the map, and its history.

    `parent` is the group that it belongs to, -1 if none. `examples` are ids of records, `members` ids of its most typical
    vectors; `centroid` (dim,) is their mean direction. `named_rows`: how many fitted rows it had when it was named. `size` (records),
    `texts` (distinct ones among them) and `last_seen` belong to a snapshot.
    """

    id: int
    parent: int = NO_TOPIC
    level: int = TOPIC_LEVEL
    name: str = ""
    description: str = ""
    name_source: NameSource = "fallback"
    named_rows: int = 0
    state: TopicState = "active"
    born: int = 0
    lineage: Sequence[TopicEvent] = ()
    examples: Sequence[str] = ()
    members: Sequence[int] = ()
    x: float = 0.0
    y: float = 0.0
    centroid: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32), compare=False)
    size: int = 0
    texts: int = 0
    last_seen: int = 0


@dataclass(frozen=True, slots=True)
class TopicSize:
    """Records of a topic, and distinct texts among them."""

    records: int = 0
    texts: int = 0

    def __add__(self, other: TopicSize) -> TopicSize:
        return TopicSize(self.records + other.records, self.texts + other.texts)


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicCounts:
    """Records of a snapshot that have a topic, that have none, and for which none was looked for yet."""

    assigned: int = 0
    noise: int = 0
    waiting: int = 0


# --- reports, as `--json` prints them ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceCounts:
    discovered: int = 0
    loaded: int = 0
    resumed: int = 0
    skipped: int = 0
    not_ready: int = 0
    failed: int = 0
    gone: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordCounts:
    new: int = 0
    existing: int = 0
    superseded: int = 0
    unindexed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """A home by its id, and where it lay when it was seen last: `host:/path`."""

    id: str
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What a load found and took."""

    dataset: str
    sources: SourceCounts
    records: RecordCounts
    defects: int
    bytes: int
    seconds: float
    problems: Sequence[Problem] = ()
    skipped_by_rule: Mapping[str, int] = field(default_factory=dict)  # rule -> items left out by it
    redacted: Mapping[str, int] = field(default_factory=dict)  # kind -> secrets that were replaced by a mark
    redacted_by_source: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # source -> kind -> as above


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSeconds:
    fetch: float = 0.0
    embed: float = 0.0
    project: float = 0.0
    publish: float = 0.0
    total: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicReport:
    """Topics after an index: how many are active, the names (by id) of those that are new, split off or returned, counts of records.

    The first topics of a map are not listed as new.     `renewal_advised`: the map has grown so much that topics made from scratch would be finer.
    """

    active: int
    new: Mapping[str, str] = field(default_factory=dict)
    split: Mapping[str, str] = field(default_factory=dict)
    returned: Mapping[str, str] = field(default_factory=dict)
    counts: TopicCounts = TopicCounts()
    renewal_advised: bool = False


Step = Literal["fit", "transform", "refit", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexReport:
    """What an index did. `records` were waiting, `embedded` texts were new to the model, `reused` had a vector."""

    dataset: str
    records: int
    embedded: int
    reused: int
    failed: int
    step: Step
    layout: int | None
    drift: float | None
    snapshot: int | None
    rows: int
    seconds: IndexSeconds
    shortened: int = 0
    refit_displacement: float | None = None
    topics: TopicReport | None = None  # None before the first snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One invariant, whether it holds, and if not, what was found instead."""

    name: str
    ok: bool
    detail: str = ""


class Progress(Protocol):
    """Receives the progress of a step; `done` and `total` in records. Must be cheap and must not raise."""

    def __call__(self, step: str, done: int, total: int, /) -> None: ...


@runtime_checkable
class TokenProgress(Progress, Protocol):
    """A `Progress` that wants to know tokens too: texts differ a lot in length, and short ones are embedded first."""

    def tokens(self, done: int, total: int, /) -> None:
        """Called before each step of the embedding: tokens as the model counts them; `total` is an estimate."""
        ...


class StepRunner(Protocol):
    """Runs one step of a load or an index: directly, or as a task of an orchestrator."""

    def __call__(
        self, name: str, attempt: Callable[[bool], T], *, label: str = "", retries: int = 0, backoff_s: float = 1.0
    ) -> T:
        """The result of `attempt(is_last_try)`, which is repeated up to `retries` times after a `TransientError`.

        `label` names the run of the step in user interfaces, for instance "embed batch 3, 200 texts".
        """
        ...


def in_batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last one shorter."""
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
