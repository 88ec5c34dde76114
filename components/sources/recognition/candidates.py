"""The ways in which a source can be read, likeliest first: as JSON lines, one document, a table, an archive, text.

Each comes with the head that formats are asked about.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from components.contracts import Json
from components.errors import NotReady, ReadFailed, SourceError, TooLarge, UnknownFormat, Unreadable
from components.sources import parquet, parsing, zips
from components.sources.documents import Document, prints_of, read_document
from components.sources.formats.contract import Head
from components.sources.formats.plain_text import is_stamped
from components.sources.lines import Piece, lines, rows, stacked
from components.sources.opener import Opened
from components.sources.recognition.lookahead import HEAD_BYTES, HEAD_LINES, look_ahead

Kind = Literal["json", "stacked", "array", "csv", "parquet", "document", "archive", "text"]

TEXT_BYTES: Final = 64 << 10
TABLES: Final = frozenset({"csv", "parquet"})
FIRST_ROW_BYTES: Final = 2 << 20  # a row beyond that is a quote that was never closed, as far as recognition goes
DELIMITERS: Final = ",\t;|"
TEXT_ENDINGS: Final = frozenset({"log", "logs", "txt", "text", "out", "err", "stdout", "stderr", "syslog"})
_QUOTED = re.compile(r'"[^"]*"')
_DOCUMENT_START = re.compile(rb'\{\s*(["}]|$)|\[\s*([\[\]{"ntf]|$|-?\d[\d.eE+-]*\s*[,\]])')
_CONTROL = re.compile(r"[\x01-\x08\x0e-\x1a\x1c-\x1f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """How the rows of a CSV file are read."""

    delimiter: str
    header: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way to read a source; `head` is what formats are asked about."""

    kind: Kind
    head: Head
    document: Document | None = None
    table: Table | None = None
    begin: int = 0  # of a list that is read element by element: the offset of the first one


def has_text_ending(name: str) -> bool:
    """Is the file's name one of a plain text log? Numbers and packings may follow the ending.

    >>> has_text_ending("app.log.1.gz"), has_text_ending("syslog"), has_text_ending("table.csv")
    (True, True, False)
    """
    first, *others = name.lower().split(".")
    return any(part in TEXT_ENDINGS for part in others or [first])


def has_lines_ending(name: str) -> bool:
    """Is the file's name one of JSON lines?"""
    return any(part in ("jsonl", "ndjson") for part in name.lower().split("."))


def candidates(opened: Opened, name: str, item_bytes: int, *, wants_text: bool) -> list[Candidate]:
    """The ways to read the source, at least one; `wants_text`: plain text too, though its name has no such ending.

    `item_bytes` limits a line or document. Raises `UnknownFormat` for an empty or binary file, `NotReady`, `TooLarge`.
    """
    if opened.packing == "zip":
        members = [member.name for member in zips.listing(opened).members]
        return [Candidate(kind="archive", head=Head(name=name, shape="archive", members=members))]
    start = opened.start(TEXT_BYTES)
    if not start.strip():
        raise UnknownFormat("The file is empty.")
    if start.startswith(parquet.MAGIC):
        head = Head(name=name, shape="lines", lines=parquet.first_rows(opened, HEAD_LINES))
        return [Candidate(kind="parquet", head=head)]
    first = _FirstLines()
    found = _as_json(opened, name, start, item_bytes, first)
    if found and not wants_text and (first.first_is_json or found[0].kind == "document"):
        return found
    if (text := _as_text(start)) is None:
        found = found or _recovered(opened, name, item_bytes)
        if not found:
            raise UnknownFormat("Unsupported binary file.")
        return found
    is_json = start.lstrip(parsing.PADDING).startswith(b"{")
    if not found and wants_text and is_json:
        found = _recovered(opened, name, item_bytes)
    if not (found or is_json) and (table := _as_table(opened, name, item_bytes)):
        found.append(table)
        if not (wants_text or has_text_ending(name)) or _is_under_header(table, text):
            return found
    return [*found, Candidate(kind="text", head=Head(name=name, shape="text", text=text))]


# --- JSON ------------------------------------------------------------------------------------------------------


def as_lines(name: str, values: Sequence[Json]) -> Candidate:
    """These values as the head of JSON lines."""
    return Candidate(kind="json", head=Head(name=name, shape="lines", lines=values))


def _recovered(opened: Opened, name: str, item_bytes: int) -> list[Candidate]:
    """The source as JSON lines, of which damaged ones are read for what is whole in them."""
    values = look_ahead(opened, item_bytes).first
    return [as_lines(name, values)] if values else []


@dataclass(slots=True)
class _FirstLines:
    values: list[Json] = field(default_factory=list)
    first_is_json: bool = False
    n_lines: int = 0
    n_values: int = 0
    at_end: bool = False
    may_go_on: bool = False  # the last value is an object with a line end, as logs that grow write them

    def add(self, piece: Piece) -> None:
        """Count the piece, and keep its JSON values while they are few."""
        try:
            values = parsing.json_values(piece.data)
        except ValueError:
            self.n_lines += 1
            return
        objects = [value for value in values if isinstance(value, dict | list)]
        if values:
            self.first_is_json = self.first_is_json or (self.n_lines == 0 and bool(objects))
            self.n_lines += 1
        self.n_values += len(objects)
        self.may_go_on = piece.data.endswith(b"\n") and bool(objects) and isinstance(objects[-1], dict)
        self.values.extend(objects[: HEAD_LINES - len(self.values)])

    @property
    def is_enough(self) -> bool:
        """Do more lines help no further to judge the source?"""
        return len(self.values) >= HEAD_LINES or (not self.n_values and self.n_lines >= 5 * HEAD_LINES)


def _first_lines(pieces: Iterator[Piece], opened: Opened, item_bytes: int, first: _FirstLines) -> _FirstLines:
    """The JSON values among the first lines or items, as far as it takes to judge the source."""
    for piece in pieces:
        if piece.kind in {"part", "last_part"}:
            first.n_lines += piece.kind == "last_part"
            if opened.packing == "plain" and piece.start > item_bytes:
                return first
            continue
        first.add(piece)
        if first.is_enough or (piece.start > HEAD_BYTES and first.n_lines > 1):
            return first
    first.at_end = True
    return first


def _as_json(opened: Opened, name: str, start: bytes, item_bytes: int, first: _FirstLines) -> list[Candidate]:
    """The source as JSON, in every way in which it can be read, the likelier first. Fills in `first`."""
    bare = start.lstrip(parsing.PADDING)
    spans_lines = _spans_lines(bare)
    document = _as_document(opened, name, item_bytes) if spans_lines else None
    if isinstance(document, Candidate):
        return [document]
    _first_lines(lines(opened.blocks(), 0, item_bytes), opened, item_bytes, first)
    found = _as_json_lines(opened, name, first)
    if isinstance(document, TooLarge) and 2 * first.n_values < first.n_lines:
        found = []  # lines of the document that happen to be JSON
    if not found and spans_lines:
        found = _as_stacked(opened, name, item_bytes)
    if not found and not spans_lines and _DOCUMENT_START.match(bare):
        document = _as_document(opened, name, item_bytes)
    if not found and isinstance(document, Candidate):
        return [document]
    if not found and isinstance(document, SourceError):
        raise document
    return found


def _spans_lines(bare: bytes) -> bool:
    """Does it begin like a JSON value that continues after its first line?"""
    line, end, _ = bare.partition(b"\n")
    return bool(end and _DOCUMENT_START.match(bare)) and not _is_json(line)


def _is_json(line: bytes) -> bool:
    try:
        return bool(parsing.json_values(line))
    except ValueError:
        return False


def _as_document(opened: Opened, name: str, item_bytes: int) -> Candidate | Exception:
    """The source as one JSON document, or why it is none."""
    try:
        return _document(name, read_document(opened, item_bytes))
    except ReadFailed:
        raise
    except (NotReady, Unreadable, ValueError) as error:
        return error


def _document(name: str, document: Document) -> Candidate:
    head = Head(name=name, shape="document", document=document.value)
    return Candidate(kind="document", head=head, document=document)


def _as_json_lines(opened: Opened, name: str, first: _FirstLines) -> list[Candidate]:
    """The source as JSON lines and, where it is one line, as a JSON document too."""
    if not first.values:
        return []
    found = [as_lines(name, first.values)]
    if first.at_end and first.n_lines == 1 and first.n_values == 1:
        document = _document(name, Document(value=first.values[0], prints=prints_of(opened)))
        found.insert(len(found) if has_lines_ending(name) or first.may_go_on else 0, document)
    return found


def _as_stacked(opened: Opened, name: str, item_bytes: int) -> list[Candidate]:
    """The source as objects of several lines each, one below the other, as programs print them."""
    items = stacked(lines(opened.blocks(), 0, item_bytes), min(item_bytes, HEAD_BYTES))
    values = _first_lines(items, opened, item_bytes, _FirstLines()).values
    return [Candidate(kind="stacked", head=Head(name=name, shape="lines", lines=values))] if values else []


# --- text and tables -------------------------------------------------------------------------------------------


def _as_text(start: bytes) -> str | None:
    """The start of a text, or None when it is none: NUL or many control characters."""
    cut = start[: start.rfind(b"\n") + 1] or start
    text = parsing.text_from(cut)
    wrong = text.count("\x00") + text.count("\ufffd") + len(_CONTROL.findall(text))
    return None if wrong > len(text) // 100 + 1 else text


def _as_table(opened: Opened, name: str, item_bytes: int) -> Candidate | None:
    """The text as a CSV table: a header of different names, and whole rows of at most as many fields."""
    pieces = _first_rows(opened, item_bytes)
    if not pieces:
        return None
    delimiter = max(DELIMITERS, key=_QUOTED.sub("", parsing.text_from(pieces[0])).count)
    try:
        head, *found = [row for raw in pieces for row in parsing.csv_rows(parsing.text_from(raw), delimiter)]
        header = parsing.column_names([column.strip() for column in head])
        if len(header) < 2 or not any(column.strip() for column in head) or not found:
            return None
        if len(set(header)) < len(header) or not all(len(column) <= 64 for column in header):
            return None
        items = [parsing.row_item(header, row) for row in found[:HEAD_LINES]]
    except ValueError:
        return None
    table = Table(delimiter=delimiter, header=header)
    return Candidate(kind="csv", head=Head(name=name, shape="lines", lines=items), table=table)


def _first_rows(opened: Opened, item_bytes: int) -> list[bytes]:
    """The header and the first rows, whole ones unless there is but one."""
    found: list[bytes] = []
    for piece in rows(lines(opened.blocks(), 0, item_bytes), min(item_bytes, FIRST_ROW_BYTES)):
        if piece.kind in {"part", "last_part"} or len(piece.data) > FIRST_ROW_BYTES:
            break
        if piece.data.strip():
            found.append(piece.data)
        if len(found) > HEAD_LINES or (piece.start > HEAD_BYTES and len(found) > 1):
            break
    return found


def _is_under_header(table: Candidate, text: str) -> bool:
    """Do rows that begin as log lines follow a header that does not? Then it is a table, whatever its name."""
    assert table.table is not None
    first, *others = [line for line in text.split("\n") if line.strip()][:20]
    is_full = all(len(row) >= 3 for row in table.head.lines) and len(table.table.header) >= 3
    return is_full and not is_stamped(first) and any(map(is_stamped, others))
