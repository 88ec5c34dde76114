"""What a source is: its content is shown to the table of formats, name by name, and the first that accepts reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Final, Literal

import orjson

from components.contracts import Json
from components.errors import BadSetting, NotReady, ReadFailed, SourceError, UnknownFormat, Unreadable
from components.sources import parquet, parsing, zips
from components.sources.fingerprints import Fingerprint, Prints
from components.sources.formats import FORMATS
from components.sources.formats.contract import Format, Head, Verdict, decline
from components.sources.lines import Piece, lines, stacked
from components.sources.opener import Opened

Kind = Literal["json", "stacked", "csv", "parquet", "document", "archive", "text"]

HEAD_LINES: Final = 60
HEAD_BYTES: Final = 8 << 20
TEXT_BYTES: Final = 64 << 10
GENERIC: Final = "generic"
DELIMITERS: Final = ",\t;|"
_DOCUMENT_START = re.compile(rb'\{\s*(["}]|$)|\[\s*([\[\]{"ntf]|$|-?\d[\d.eE+-]*\s*[,\]])')
_CONTROL = re.compile(r"[\x01-\x08\x0e-\x1a\x1c-\x1f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A whole-document source: its one value and the prints of its bytes."""

    value: Json
    prints: Prints


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """How the rows of a CSV file are read."""

    delimiter: str
    header: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One way to look at a source: as lines, as a document, …; `kind` says how it would be read."""

    kind: Kind
    head: Head
    document: Document | None = None
    table: Table | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognition:
    """What a source was taken for and why; `declined` tells why each other format that was asked did not."""

    format: Format
    shown: Shown
    reason: str
    declined: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        return self.shown.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    line_bytes: int
    document_bytes: int


def recognise(
    opened: Opened, name: str, *, limits: Limits, wanted: str | None = None, columns: Mapping[str, str] | None = None
) -> Recognition:
    """The format that reads the source. `wanted` names it outright; `columns` makes any table a generic log.

    Raises `NotReady` when only the end of the content could tell, `UnknownFormat` with every format's reason,
    `Unreadable` when it can't be looked at, `BadSetting` when there is no format called `wanted`.
    """
    shown = _shown(opened, name, limits, wants_text=bool(wanted))
    if wanted:
        return _as_wanted(shown, wanted)
    if columns and (table := _with_columns(shown, columns)):
        return Recognition(format=_rows_of(GENERIC)[0], shown=table, reason="it has the columns that the settings name")
    declined: dict[str, str] = {}
    for format_name in dict.fromkeys(row.name for row in FORMATS):
        for one in shown:
            for row in _asked(format_name, one):
                verdict = _verdict(row, one.head)
                if verdict.accepted:
                    return Recognition(format=row, shown=one, reason=verdict.reason, declined=declined)
                declined[format_name] = verdict.reason
    raise UnknownFormat("No format recognises it. " + _told(shown, declined))


def _verdict(row: Format, head: Head) -> Verdict:
    try:
        return row.recognises(head)
    except Exception as error:  # noqa: BLE001 - the formats' door: odd content must not keep others from being asked
        return decline(f"it could not look at it: {type(error).__name__}: {error}")


def _told(shown: Sequence[Shown], declined: Mapping[str, str]) -> str:
    """What a person needs on the first line; what each format missed on the lines below it."""
    told = f"It looks like {_kinds_told(shown)}{_columns_told(shown)}."
    if not declined:
        return told
    reasons = "\n".join(f"not {name}: {reason}" for name, reason in declined.items())
    return f"{told} Formats tried: {len(declined)}; `runatlas load --explain` tells what each misses.\n{reasons}"


def _kinds_told(shown: Sequence[Shown]) -> str:
    """What it looks like, in words; of what begins as JSON and is none, what is wrong with it."""
    if all(one.kind in {"csv", "text"} for one in shown) and (told := _damage_told(shown[-1].head)):
        return told
    return " or ".join(_KIND_WORDS[one.kind] for one in shown)


def _damage_told(head: Head) -> str:
    """Why a text that begins as JSON, or whose name says that it holds JSON lines, can't be read as such."""
    filled = [(n, line) for n, line in enumerate(head.text.split("\n"), start=1) if line.strip()]
    begins = [line.lstrip()[:1] == "{" for _, line in filled[:2]]
    if not filled or not (names_lines(head.name) or begins[0]):
        return ""
    if begins == [True, False] and not names_lines(head.name):
        return f"a JSON document that can't be parsed: {_first_error(head.text, 1)}"
    n, line = filled[0]
    return f"JSON lines of which none can be parsed: {_first_error(line, n)}"


def _first_error(text: str, first_line: int) -> str:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return f"{error.msg} at line {first_line + error.lineno - 1}, column {error.colno}"
    return "an error further down"


def _columns_told(shown: Sequence[Shown]) -> str:
    """The columns of what looks like a table of texts, and what to do about it."""
    rows = next((one.head.lines for one in shown if one.head.shape == "lines" and one.head.lines), ())
    if len(rows) < 2 or not all(isinstance(row, dict) for row in rows):
        return ""
    names = list(dict.fromkeys(str(name) for row in rows for name in row))
    spelled = ", ".join(name[:40] for name in names[:8]) + (", …" if len(names) > 8 else "")
    return f" with the columns {spelled}; if its rows are records, name their text column in the dataset's settings"


_KIND_WORDS: Final[Mapping[Kind, str]] = {
    "json": "JSON lines",
    "stacked": "JSON objects one below the other",
    "csv": "a CSV table",
    "parquet": "a Parquet table",
    "document": "one JSON document",
    "archive": "a zip archive",
    "text": "plain text",
}


def _rows_of(name: str) -> list[Format]:
    return [row for row in FORMATS if row.name == name]


def _asked(format_name: str, shown: Shown) -> Iterator[Format]:
    """The rows of a format that can read what is shown; tables are only ever generic."""
    if shown.kind in {"csv", "parquet"} and format_name != GENERIC:
        return
    yield from (row for row in _rows_of(format_name) if row.shape == shown.head.shape)


def expect_format(name: str) -> None:
    """Raises `BadSetting` with the nearest names where there is no format called `name`."""
    known = sorted({row.name for row in FORMATS})
    if name not in known:
        near = get_close_matches(name, known, 1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise BadSetting(f"There is no format called {name!r}{hint} There are: {', '.join(known)}.")


def _as_wanted(shown: Sequence[Shown], wanted: str) -> Recognition:
    expect_format(wanted)
    candidates = [(row, one) for one in shown for row in _asked(wanted, one)]
    if not candidates:
        shapes = " or ".join(sorted({row.shape for row in _rows_of(wanted)}))
        raise UnknownFormat(f"It can't be read as {wanted}, which comes as {shapes}. " + _told(shown, {}))
    accepted = next(((row, one) for row, one in candidates if _verdict(row, one.head).accepted), candidates[0])
    return Recognition(format=accepted[0], shown=accepted[1], reason=f"the format {wanted} was asked for")


def _with_columns(shown: Sequence[Shown], columns: Mapping[str, str]) -> Shown | None:
    """The view of the source as rows that have the text column which the settings name."""
    text = columns.get("text", "text")
    for one in shown:
        if one.head.shape == "lines" and any(isinstance(row, dict) and text in row for row in one.head.lines):
            return one
    return None


# --- ways to look ----------------------------------------------------------------------------------------------


def _shown(opened: Opened, name: str, limits: Limits, *, wants_text: bool) -> list[Shown]:
    if opened.packing == "zip":
        members = [member.name for member in zips.listing(opened).members]
        return [Shown(kind="archive", head=Head(name=name, shape="archive", members=members))]
    start = opened.start(TEXT_BYTES)
    if not start.strip():
        raise UnknownFormat("The file is empty.")
    if start.startswith(parquet.MAGIC):
        return [
            Shown(kind="parquet", head=Head(name=name, shape="lines", lines=parquet.first_rows(opened, HEAD_LINES)))
        ]
    first = _FirstLines()
    views = _json_views(opened, name, start, limits, first)
    if views and not wants_text and (first.first_is_json or views[0].kind == "document"):
        return views
    if (text := _as_text(start)) is None:
        if not views:
            raise UnknownFormat("It is a binary file of no kind that is read.")
        return views
    if not views and (table := _table(name, text)):
        views.append(table)
    return [*views, Shown(kind="text", head=Head(name=name, shape="text", text=text))]


@dataclass(slots=True)
class _FirstLines:
    values: list[Json] = field(default_factory=list)
    first_is_json: bool = False
    n_lines: int = 0
    n_values: int = 0
    at_end: bool = False
    may_go_on: bool = False  # the last value is an object with a line end, as logs that grow write them


def _spans_lines(bare: bytes) -> bool:
    """Does it begin as a JSON value does that goes on after its first line?"""
    line, end, _ = bare.partition(b"\n")
    return bool(end and _DOCUMENT_START.match(bare)) and not _is_json(line)


def _as_document(opened: Opened, name: str, limits: Limits) -> Shown | Exception:
    """The source as one JSON document, or why it is none."""
    try:
        return _document_view(name, read_document(opened, limits.document_bytes))
    except ReadFailed:
        raise
    except (NotReady, Unreadable, ValueError) as error:
        return error


def _is_json(line: bytes) -> bool:
    try:
        return bool(parsing.json_values(line))
    except ValueError:
        return False


def _document_view(name: str, document: Document) -> Shown:
    return Shown(kind="document", head=Head(name=name, shape="document", document=document.value), document=document)


def _first_lines(pieces: Iterator[Piece], opened: Opened, limits: Limits, first: _FirstLines) -> _FirstLines:
    """The JSON values among the first lines or items, as far as it takes to judge the source."""
    for piece in pieces:
        if piece.kind in {"part", "last_part"}:
            first.n_lines += piece.kind == "last_part"
            if opened.packing == "plain" and piece.start > limits.document_bytes:
                return first
            continue
        _look_at(first, piece)
        if len(first.values) >= HEAD_LINES or (not first.n_values and first.n_lines >= 5 * HEAD_LINES):
            return first
        if piece.start > HEAD_BYTES and first.n_lines > 1:
            return first
    first.at_end = True
    return first


def _look_at(first: _FirstLines, piece: Piece) -> None:
    try:
        values = parsing.json_values(piece.data)
    except ValueError:
        first.n_lines += 1
        return
    objects = [value for value in values if isinstance(value, dict | list)]
    if values:
        first.first_is_json = first.first_is_json or (first.n_lines == 0 and bool(objects))
        first.n_lines += 1
    first.n_values += len(objects)
    first.may_go_on = piece.data.endswith(b"\n") and bool(objects) and isinstance(objects[-1], dict)
    first.values.extend(objects[: HEAD_LINES - len(first.values)])


def _json_views(opened: Opened, name: str, start: bytes, limits: Limits, first: _FirstLines) -> list[Shown]:
    """The source as JSON, in every way in which it can be read: the likelier first. Fills in `first`."""
    bare = start.lstrip(parsing.PADDING)
    spans_lines = _spans_lines(bare)
    document = _as_document(opened, name, limits) if spans_lines else None
    if isinstance(document, Shown):
        return [document]
    _first_lines(lines(opened.blocks(), 0, limits.line_bytes), opened, limits, first)
    views = _line_views(opened, name, first)
    if not views and spans_lines:
        views = _stacked_views(opened, name, limits)
    if not views and not spans_lines and _DOCUMENT_START.match(bare):
        document = _as_document(opened, name, limits)
    if not views and isinstance(document, Shown):
        return [document]
    if not views and isinstance(document, SourceError):
        raise document
    return views


def _line_views(opened: Opened, name: str, first: _FirstLines) -> list[Shown]:
    """The source as JSON lines and, where it is one line, as a JSON document too."""
    if not first.values:
        return []
    views = [Shown(kind="json", head=Head(name=name, shape="lines", lines=first.values))]
    if first.at_end and first.n_lines == 1 and first.n_values == 1:
        view = _document_view(name, Document(value=first.values[0], prints=_prints(opened)))
        views.insert(len(views) if names_lines(name) or first.may_go_on else 0, view)
    return views


def _prints(opened: Opened) -> Prints:
    prints = Fingerprint()
    for block in opened.blocks():
        prints.feed(block)
    return prints.prints()


def _stacked_views(opened: Opened, name: str, limits: Limits) -> list[Shown]:
    """The source as objects of several lines each, one below the other, as programs print them."""
    items = stacked(lines(opened.blocks(), 0, limits.line_bytes), limits.line_bytes)
    values = _first_lines(items, opened, limits, _FirstLines()).values
    return [Shown(kind="stacked", head=Head(name=name, shape="lines", lines=values))] if values else []


def names_lines(name: str) -> bool:
    """Does the file's name say that it holds JSON lines?"""
    return any(part in ("jsonl", "ndjson") for part in name.lower().split("."))


def read_document(opened: Opened, limit_bytes: int) -> Document:
    """The one JSON value that the content is.

    Raises `NotReady` where the content stops before the value does, `ValueError` where it is no JSON, `Unreadable`.
    """
    raw = opened.whole(limit_bytes)
    if opened.damage:
        raise Unreadable(f"Unpacking stopped: {opened.damage}.")
    prints = Fingerprint()
    prints.feed(raw)
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        if opened.cut or _stops_early(error):
            raise NotReady("The JSON document stops before its end; it is being written or was cut short.") from error
        value = _only_value(raw)
    return Document(value=value, prints=prints.prints())


def _stops_early(error: orjson.JSONDecodeError) -> bool:
    """Is the content valid up to its very end?"""
    return "unexpected end of data" in error.msg or (error.pos >= len(error.doc.rstrip()) > 0)


def _only_value(raw: bytes) -> Json:
    values = parsing.json_values(raw.replace(b"\r", b" "))
    if len(values) != 1:
        raise ValueError("not one JSON value")
    return values[0]


def _as_text(start: bytes) -> str | None:
    """The start of a text, or None when it is none: NUL or many control characters."""
    cut = start[: start.rfind(b"\n") + 1] or start
    text = parsing.text_from(cut)
    wrong = text.count("\x00") + text.count("\ufffd") + len(_CONTROL.findall(text))
    return None if wrong > len(text) // 100 + 1 else text


def _table(name: str, text: str) -> Shown | None:
    """The text as a CSV table: a header of different names, and rows of as many fields."""
    delimiter = max(DELIMITERS, key=text.partition("\n")[0].count)
    try:
        rows = parsing.csv_rows(text, delimiter, HEAD_LINES + 2)
        header = [column.strip() for column in rows[0]] if len(rows) > 1 else []
        if len(header) < 2 or len(set(header)) < len(header) or not all(0 < len(column) <= 64 for column in header):
            return None
        sure = rows[1:-1] or rows[1:]  # the last one may be cut
        items = [parsing.row_item(header, row) for row in sure]
    except ValueError:
        return None
    table = Table(delimiter=delimiter, header=header)
    return Shown(kind="csv", head=Head(name=name, shape="lines", lines=items), table=table)


def document_row(recognition: Recognition) -> Format | None:
    """The row of the same format that reads the first line of a log as a document, as it was when it stood alone.

    None where it never was a document: the name says that it holds lines, or no row takes it.
    """
    shown = recognition.shown
    if not shown.head.lines or shown.kind not in {"json", "stacked"}:
        return None
    if shown.kind == "json" and names_lines(shown.head.name):
        return None
    head = Head(name=shown.head.name, shape="document", document=shown.head.lines[0])
    rows = (row for row in _rows_of(recognition.format.name) if row.shape == "document")
    return next((row for row in rows if _verdict(row, head).accepted), None)


def named(format_name: str, shape: str) -> Format:
    """The table's row. Raises `UnknownFormat` where a newer table has it no more."""
    for row in FORMATS:
        if row.name == format_name and row.shape == shape:
            return row
    raise UnknownFormat(f"The format {format_name!r} that read it before is not there any more.")


def without_document(recognition: Recognition) -> Recognition:
    """The same, without holding the document in memory."""
    shown = replace(recognition.shown, document=None, head=replace(recognition.shown.head, document=None, lines=()))
    return replace(recognition, shown=shown)
