"""The contract of a format: one pure module that knows one family of logs, and its rows in the table of formats.

A format never opens anything. It consists of three functions:

1. `recognises(head) -> Verdict`: is this source one of mine, and why? It sees a `Head` only.
2. `read(document, options)` for logs that are one JSON document, or `reader(state, options)` for logs that grow line by
   line: gives an `Event` for each readable item, a `Defect` for an item that can't become a record and a `Skipped` for
   an item that is left out by a named rule. `Turns` numbers the events.
3. `end(document) -> End`: has the log come to its end? Only for documents whose format has an end mark.

A whole format:

>>> def recognises(head: Head) -> Verdict:
...     known = isinstance(head.document, dict) and "dialogue" in head.document
...     return accept("a dialogue") if known else decline("no dialogue")
>>> def read(document: Json, options: Options) -> Iterator[Read]:
...     turns = Turns()
...     for item in document["dialogue"]:
...         if item["who"] == "assistant":
...             turns.respond()
...         yield turns.event(item["who"], item["text"])
>>> def end(document: Json) -> End:
...     return End(mark="closed_at" in document, reason="closed_at is there, or not")
>>> ROWS = (Format(name="dialogue", shape="document", recognises=recognises, read=read, end=end),)

>>> list(ROWS[0].read({"dialogue": [{"who": "user", "text": "hi"}]}, Options()))[0].type
'user'

Modules to build on: `values` (JSON of unknown shape), `content` (texts), `times`, `messages` (chat messages of any dialect),
`pieces`, `deduplication` (logs that repeat themselves), `runs` (several runs in a log), `span_formats` (traces),
`defects`. `docs/formats.md` says what else a new format needs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, Protocol

from components.contracts import NO_EXTRA, Defect, Event, Json, Skipped
from components.settings import CorpusSettings

ASKED: Final = "asked"  # key of a cursor's state: the `corpus_digest` that the source was read with
Shape = Literal["lines", "document", "archive", "text"]
Read = Event | Defect | Skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The input of recognition. Only what applies is set.

    `lines`: the first <= 60 lines that parse as JSON (whole lines only). `document`: the whole file when it is one
    JSON value. `members`: names inside a zip. `text`: the first 64 KiB as text. `name` is the file's name, a hint only.
    """

    name: str
    shape: Shape
    lines: Sequence[Json] = ()
    document: Json = None
    members: Sequence[str] = ()
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Does the format take this source, and why (or why not), in words for a person."""

    accepted: bool
    reason: str


def accept(reason: str) -> Verdict:
    """The format takes the source; `reason` says what it was recognised by."""
    return Verdict(accepted=True, reason=reason)


def decline(reason: str) -> Verdict:
    """The format does not take the source; `reason` says what is missing."""
    return Verdict(accepted=False, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The settings of a dataset that concern formats."""

    history: Literal["new", "all"] = "new"
    columns: Mapping[str, str] = field(default_factory=dict)  # record field -> column of the source
    corpus: CorpusSettings | None = None

    @property
    def corpus_digest(self) -> str:
        """Changes when other fields of documents are asked for; "" where the source is no corpus."""
        if self.corpus is None:
            return ""
        decisive = self.corpus.spelled()
        return hashlib.sha256(decisive.encode()).hexdigest()[:16]


class LineReader(Protocol):
    """Reads a growing JSONL log item by item; its `state()` (plain JSON, small) lets another reader go on later."""

    def read(self, item: Json) -> Iterable[Read]:
        """What one item becomes."""
        ...

    def state(self) -> Json:
        """Plain JSON for the `reader` that resumes later."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """Has the log come to its end? `mark` says that the format's own end mark is there."""

    mark: bool
    reason: str


def _no_end(_: Json) -> End:
    return End(mark=False, reason="this format has no end mark")


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One row of the table of formats: a name, a shape, and the pure functions for that shape.

    A family that comes in several shapes has a row a shape under the same `name`.

    - `lines`: `reader(state, options)` gives a `LineReader`; `state` is None at the start of a file. Lines that
      `is_neutral` are the format's bookkeeping, which may fill any part of a log: recognition examines what follows them.
    - `document`: `read(document, options)` gives all items; `end(document)` says whether the end mark is there.
    - `text`: `reader` too, of items of several lines. `unit_of(text)` says what an item is, from the beginning of the text;
      `grouping(unit)` gives the function that is asked, line by line: does an item that ended in `last` end before `line`?
    - `archive`: `read_member(name, document, shared, options)` gives the items of one member; `takes(name)` picks the
      members that hold runs; `end(document)` is asked of the member named `end_member`.

    A family whose sessions may begin with a copy of another one says in `session_key` which key of `extra` names the
    session, and marks what is copied with `COPIED_FROM` in `extra`.
    """

    name: str
    shape: Shape
    recognises: Callable[[Head], Verdict]
    reader: Callable[[Json, Options], LineReader] | None = None
    is_neutral: Callable[[Json], bool] | None = None
    read: Callable[[Json, Options], Iterable[Read]] | None = None
    takes: Callable[[str], bool] | None = None
    read_member: Callable[[str, Json, Options], Iterable[Read]] | None = None
    end: Callable[[Json], End] = _no_end
    unit_of: Callable[[str], str] | None = None
    grouping: Callable[[str], Callable[[bytes, bytes], bool]] | None = None
    session_key: str = ""
    end_member: str | None = None


@dataclass(slots=True)
class Turns:
    """Numbers the items of one run: iteration 0 until the first model response, +1 at each response, idx from 0.

    >>> turns = Turns()
    >>> turns.event("user", "hello").idx_in_iteration
    0
    >>> turns.respond()
    >>> turns.event("assistant", "hi").iteration
    1
    """

    run: str = ""
    iteration: int = 0
    idx: int = 0

    def respond(self) -> None:
        """A new model response begins."""
        self.iteration += 1
        self.idx = 0

    def event(
        self, type: str, text: str, timestamp: datetime | None = None, extra: Mapping[str, Any] | None = None
    ) -> Event:
        """The next event of the run; `text` must not be empty."""
        idx = self.idx
        self.idx = idx + 1
        return Event(self.iteration, idx, type, text, timestamp, self.run, extra or NO_EXTRA)
