"""What a source is: its content is shown to the table of formats, name by name, and the first that accepts reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Final, Literal

import orjson

from components.contracts import Json
from components.errors import BadSetting, NotReady, ReadFailed, SourceError, TooLarge, UnknownFormat, Unreadable
from components.sources import magic, parquet, parsing, recovery, zips
from components.sources.fingerprints import Fingerprint, Prints
from components.sources.formats import FORMATS
from components.sources.formats.contract import Format, Head, Verdict, decline
from components.sources.formats.generic import OTHER_NAMES
from components.sources.formats.plain_text import is_stamped
from components.sources.lines import Piece, lines, rows, stacked
from components.sources.opener import Opened

Kind = Literal["json", "stacked", "csv", "parquet", "document", "archive", "text"]

HEAD_LINES: Final = 60
HEAD_BYTES: Final = 8 << 20
TEXT_BYTES: Final = 64 << 10
GENERIC: Final = "generic"
TABLES: Final = frozenset({"csv", "parquet"})
FIRST_ROW_BYTES: Final = 2 << 20  # a row beyond that is a quote that was never closed, as far as recognition goes
DELIMITERS: Final = ",\t;|"
TEXT_ENDINGS: Final = frozenset({"log", "logs", "txt", "text", "out", "err", "stdout", "stderr", "syslog"})
_QUOTED = re.compile(r'"[^"]*"')
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
    """What a source was taken for and why; `declined` tells why each other format that was asked did not.

    `n_neutral`: so many lines, all there are, hold only the format's bookkeeping.
    """

    format: Format
    shown: Shown
    reason: str
    declined: Mapping[str, str] = field(default_factory=dict)
    n_neutral: int = 0

    @property
    def kind(self) -> Kind:
        return self.shown.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    item_bytes: int  # of a line or a document


def recognise(
    opened: Opened, name: str, *, limits: Limits, wanted: str | None = None, columns: Mapping[str, str] | None = None
) -> Recognition:
    """The format that reads the source. `wanted` names it outright; `columns` makes any table a generic log.

    Raises `NotReady` when only the end of the content could tell, `UnknownFormat` with every format's reason,
    `Unreadable` when it can't be looked at, `BadSetting` when there is no format called `wanted`.
    """
    shown = _shown(opened, name, limits, wants_text=bool(wanted))
    if wanted:
        return _as_wanted(shown, wanted, opened, name, limits)
    if columns and (table := _with_columns(shown, columns)):
        return Recognition(format=_rows_of(GENERIC)[0], shown=table, reason="it has the columns that the settings name")
    declined: dict[str, str] = {}
    for format_name in _in_order(shown):
        for one in shown:
            for row in _asked(format_name, one):
                verdict = _verdict(row, _head_for(row, one))
                if verdict.accepted:
                    return Recognition(format=row, shown=one, reason=verdict.reason, declined=declined)
                declined[format_name] = verdict.reason
    if all(one.kind in {"json", "csv", "text"} for one in shown) and (found := _further(opened, name, limits)):
        return replace(found, declined=declined)
    raise UnknownFormat("No format recognises it. " + _told(shown, declined))


def _in_order(shown: Sequence[Shown]) -> list[str]:
    """The names of the formats as they are asked: of rows of a table, the generic ones first."""
    names = list(dict.fromkeys(row.name for row in FORMATS))
    if any(one.kind in TABLES for one in shown):
        names.sort(key=lambda name: name != GENERIC)
    return names


def _head_for(row: Format, shown: Shown) -> Head:
    """What a format is shown: the cells of a table as the JSON that they hold, unless it reads tables as they are."""
    if shown.kind not in TABLES or row.name == GENERIC:
        return shown.head
    return replace(shown.head, lines=[parsing.unfolded(line) for line in shown.head.lines])


def _verdict(row: Format, head: Head) -> Verdict:
    try:
        return row.recognises(head)
    except Exception as error:  # noqa: BLE001 - the formats' door: odd content must not keep others from being asked
        return decline(f"it could not look at it: {type(error).__name__}: {error}")


def _told(shown: Sequence[Shown], declined: Mapping[str, str]) -> str:
    """What a person needs on the first line; what each format missed on the lines below it."""
    told = f"It looks like {_kinds_told(shown)}{_columns_told(shown)}{_text_told(shown)}."
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
    table = next((one.table for one in shown if one.table), None)
    rows = next((one.head.lines for one in shown if one.head.shape == "lines" and one.head.lines), ())
    if table is None and (len(rows) < 2 or not all(isinstance(row, dict) for row in rows)):
        return ""
    names = list(table.header) if table else list(dict.fromkeys(str(name) for row in rows for name in row))
    spelled = ", ".join(name[:40] for name in names[:8]) + (", …" if len(names) > 8 else "")
    return (
        f" with the columns {spelled}; if its rows are records, name their text column in the dataset's settings "
        f"(columns = {{text = {_likely_text(names)!r}}})"
    )


def _likely_text(names: Sequence[str]) -> str:
    """The column that most likely holds the texts: it has one of the usual names."""
    return next((name for name in ("text", *OTHER_NAMES["text"]) if name in names), "NAME")


def _text_told(shown: Sequence[Shown]) -> str:
    """What to do about a text that is taken only when asked for."""
    if _kinds_told(shown) != _KIND_WORDS["text"] or takes_text(shown[-1].head.name):
        return ""
    return "; its name has none of the endings of a text log (.log, .txt, …): --format plain_text reads it all the same"


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


def _asked(format_name: str, shown: Shown, *, by_name: bool = False) -> Iterator[Format]:
    """The rows of a format that can read what is shown; plain text is only what its ending or the user says."""
    if shown.kind == "text" and not (by_name or takes_text(shown.head.name)):
        return
    yield from (row for row in _rows_of(format_name) if row.shape == shown.head.shape)


def expect_format(name: str) -> None:
    """Raises `BadSetting` with the nearest names where there is no format called `name`."""
    known = sorted({row.name for row in FORMATS})
    if name not in known:
        near = get_close_matches(name, known, 1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise BadSetting(f"There is no format called {name!r}{hint} There are: {', '.join(known)}.")


def _as_wanted(shown: Sequence[Shown], wanted: str, opened: Opened, name: str, limits: Limits) -> Recognition:
    expect_format(wanted)
    reason = f"the format {wanted} was asked for"
    candidates = [(row, one) for one in shown for row in _asked(wanted, one, by_name=True)]
    if not candidates and (values := _look_further(opened, limits).first):
        lines_row = next((row for row in _rows_of(wanted) if row.shape == "lines"), None)
        if lines_row:
            return Recognition(format=lines_row, shown=_lines_view(name, values), reason=reason)
    if not candidates:
        shapes = " or ".join(sorted({row.shape for row in _rows_of(wanted)}))
        raise UnknownFormat(f"It can't be read as {wanted}, which comes as {shapes}. " + _told(shown, {}))
    accepted = next(
        ((row, one) for row, one in candidates if _verdict(row, _head_for(row, one)).accepted), candidates[0]
    )
    return Recognition(format=accepted[0], shown=accepted[1], reason=reason)


def _with_columns(shown: Sequence[Shown], columns: Mapping[str, str]) -> Shown | None:
    """The view of the source as rows that have the text column which the settings name."""
    text = columns.get("text", "text")
    for one in shown:
        if one.table and text in one.table.header:
            return one
        if one.head.shape == "lines" and any(isinstance(row, dict) and text in row for row in one.head.lines):
            return one
    return None


# --- behind the first lines ------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Behind:
    """What a format with neutral lines is shown: the first ones that tell something."""

    row: Format
    lines: list[Json] = field(default_factory=list)
    n_neutral: int = 0
    first_at: int = 0

    def take(self, value: Json, offset: int) -> None:
        assert self.row.is_neutral is not None
        if self.row.is_neutral(value):
            self.n_neutral += 1
        elif len(self.lines) < HEAD_LINES:
            self.first_at = self.first_at if self.lines else offset
            self.lines.append(value)

    def needs_more(self, offset: int) -> bool:
        """Is it not told yet what stands behind the neutral lines?"""
        return not self.lines or (len(self.lines) < HEAD_LINES and offset - self.first_at < HEAD_BYTES)


@dataclass(slots=True)
class _Look:
    """What a longer look at JSON lines found; damaged ones are taken for what is whole in them."""

    behind: list[_Behind]
    first: list[Json] = field(default_factory=list)
    n_values: int = 0
    n_damaged: int = 0
    at_end: bool = False


def _look_further(opened: Opened, limits: Limits) -> _Look:
    """The first values of JSON lines, damaged ones included, and for each format those behind its neutral lines."""
    look = _Look(behind=[_Behind(row=row) for row in FORMATS if row.is_neutral])
    for found in recovery.values(lines(opened.blocks(), 0, limits.item_bytes)):
        if found.reason:
            look.n_damaged += 1
        else:
            look.n_values += 1
            if len(look.first) < HEAD_LINES and found.offset < HEAD_BYTES:
                look.first.append(found.value)
            for one in look.behind:
                one.take(found.value, found.offset)
        if look.n_damaged > max(5 * HEAD_LINES, look.n_values):
            return look
        is_enough = len(look.first) >= HEAD_LINES or found.offset > HEAD_BYTES
        if is_enough and not any(one.needs_more(found.offset) for one in look.behind):
            return look
    look.at_end = True
    return look


def _further(opened: Opened, name: str, limits: Limits) -> Recognition | None:
    """The format of JSON lines whose first ones are damaged, or hold only a format's bookkeeping."""
    look = _look_further(opened, limits)
    if not look.n_values or look.n_damaged > look.n_values:
        return None
    shown = [(one.row, _lines_view(name, one.lines)) for one in look.behind if one.n_neutral and one.lines]
    shown += [(row, _lines_view(name, look.first)) for row in FORMATS if row.shape == "lines"]
    for row, one in shown:
        if (verdict := _verdict(row, one.head)).accepted:
            return Recognition(format=row, shown=one, reason=verdict.reason)
    for behind in look.behind if look.at_end else ():
        if behind.n_neutral and not behind.lines:
            reason = f"all its {behind.n_neutral:,} lines are bookkeeping of {behind.row.name}"
            view = _lines_view(name, look.first)
            return Recognition(format=behind.row, shown=view, reason=reason, n_neutral=behind.n_neutral)
    return None


def _lines_view(name: str, values: Sequence[Json]) -> Shown:
    return Shown(kind="json", head=Head(name=name, shape="lines", lines=values))


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
        if not views and (values := _look_further(opened, limits).first):
            return [_lines_view(name, values)]
        if not views:
            raise UnknownFormat("It is a binary file of no kind that is read.")
        return views
    is_json = start.lstrip(parsing.PADDING).startswith(b"{")
    if not views and wants_text and is_json:
        views = [_lines_view(name, values)] if (values := _look_further(opened, limits).first) else []
    if not (views or is_json) and (table := _table(opened, name, limits)):
        views.append(table)
        if not (wants_text or takes_text(name)) or _is_under_header(table, text):
            return views
    return [*views, Shown(kind="text", head=Head(name=name, shape="text", text=text))]


def refuse_other_files(opened: Opened) -> None:
    """Raises `UnknownFormat` where the first bytes say that the file is no log: a PDF document, an image, …."""
    if opened.packing == "zip":
        found = magic.kind_of_archive([member.name for member in zips.listing(opened).members])
    else:
        found = magic.kind_of(opened.start(1_024))
    if found:
        raise UnknownFormat(f"It is {found}." if "; " in found else f"It is {found}, not a log.")


def takes_text(name: str) -> bool:
    """Does the file's name say that it holds plain text? Numbers and packings may stand behind the ending.

    >>> takes_text("app.log.1.gz"), takes_text("syslog"), takes_text("table.csv")
    (True, True, False)
    """
    first, *others = name.lower().split(".")
    return any(part in TEXT_ENDINGS for part in others or [first])


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
        return _document_view(name, read_document(opened, limits.item_bytes))
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
            if opened.packing == "plain" and piece.start > limits.item_bytes:
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
    _first_lines(lines(opened.blocks(), 0, limits.item_bytes), opened, limits, first)
    views = _line_views(opened, name, first)
    if isinstance(document, TooLarge) and 2 * first.n_values < first.n_lines:
        views = []  # lines of the document that happen to be JSON
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
    items = stacked(lines(opened.blocks(), 0, limits.item_bytes), min(limits.item_bytes, HEAD_BYTES))
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
        value = _only_value(bytes(raw))
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


def _table(opened: Opened, name: str, limits: Limits) -> Shown | None:
    """The text as a CSV table: a header of different names, and whole rows of at most as many fields."""
    pieces = _first_rows(opened, limits)
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
    return Shown(kind="csv", head=Head(name=name, shape="lines", lines=items), table=table)


def _first_rows(opened: Opened, limits: Limits) -> list[bytes]:
    """The header and the first rows, whole ones unless there is but one."""
    found: list[bytes] = []
    for piece in rows(lines(opened.blocks(), 0, limits.item_bytes), min(limits.item_bytes, FIRST_ROW_BYTES)):
        if piece.kind in {"part", "last_part"} or len(piece.data) > FIRST_ROW_BYTES:
            break
        if piece.data.strip():
            found.append(piece.data)
        if len(found) > HEAD_LINES or (piece.start > HEAD_BYTES and len(found) > 1):
            break
    return found


def _is_under_header(table: Shown, text: str) -> bool:
    """Do rows that begin as log lines stand below a header that does not? Then it is a table, whatever its name."""
    assert table.table is not None
    first, *others = [line for line in text.split("\n") if line.strip()][:20]
    is_full = all(len(row) >= 3 for row in table.head.lines) and len(table.table.header) >= 3
    return is_full and not is_stamped(first) and any(map(is_stamped, others))


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
