"""Uploaded tables: how a file is read (encoding, delimiter, quoting), its columns, and the column that holds the text.

Rows are read one after the other, whatever the size of the file; cells keep what the file says.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, Self

from components.errors import BadUpload
from components.survey.encoding import WESTERN, Encoding, detect_encoding
from components.survey.formulas import guarded_header, is_formula

MIN_ROWS: Final = 50
MANY_ROWS: Final = 10_000  # above, an upload takes minutes
MAX_CELL_CHARS: Final = 1 << 20
MAX_COLUMNS: Final = 1_000
HEAD_CHARS: Final = 1 << 17
HEAD_ROWS: Final = 300
SAMPLE_ROWS: Final = 2_000  # that decide which column holds the text
DELIMITERS: Final = (",", ";", "\t", "|")
NO_DELIMITER: Final = "\x1f"  # of a file with one column, whose cells may hold any delimiter
SAME_WIDTH: Final = 0.5  # of the first rows have as many cells as the header, or it is no table of this delimiter
MANY_LINES: Final = 20  # of a cell whose quotation mark is never closed: it was meant as a character
END: Final = "\x1c\x1e\x1c"  # a line behind the last one, which such a cell takes with it
NOT_TEXT: Final = {  # first bytes -> what the file is
    b"PK\x03\x04": "a zip archive, as spreadsheets save by default",
    b"%PDF": "a PDF",
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "compressed by gzip",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"\x89PNG": "an image",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet",
    b"SQLite": "an SQLite database",
}
MARKUP: Final = re.compile(r"\s*(?:<!doctype|<html|<\?xml|[{\[]\s*[\"{\[])", re.IGNORECASE)
_separator_line = re.compile(r"\s*\"?sep=(.)\"?\s*\r?\n?", re.IGNORECASE)
_invisible = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_for_pages = str.maketrans({"<": "\u2039", ">": "\u203a"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How a file is cut into cells. `skips_line`: its first line names the delimiter (`sep=;`)."""

    delimiter: str
    is_quoted: bool = True
    skips_line: bool = False
    line_end: str = "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What is known of an uploaded file. `columns` are as uploaded, "" for cells that no name stands above."""

    encoding: Encoding
    dialect: Dialect
    columns: tuple[str, ...]
    text_index: int
    rows: int
    empty_texts: int = 0
    n_wider: int = 0  # rows with more cells than the header
    n_narrower: int = 0
    header_cells: int = 0
    formulas: int = 0  # cells that exports guard

    @property
    def names(self) -> tuple[str, ...]:
        """The columns under names that pages can show, and that differ."""
        return safe_names(self.columns)

    def to_json(self) -> dict[str, Any]:
        """As JSON, for `from_json`."""
        raw = asdict(self)
        raw["encoding"]["mark"] = self.encoding.mark.hex()
        return raw

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """The table of which `to_json` made this."""
        encoding = Encoding(**{**raw["encoding"], "mark": bytes.fromhex(raw["encoding"]["mark"])})
        columns = tuple(raw["columns"])
        return cls(**{**raw, "encoding": encoding, "dialect": Dialect(**raw["dialect"]), "columns": columns})


def read_table(file: Path, text_column: str | None = None) -> Table:
    """What is known of the file after reading all of it.

    Raises `BadUpload` if it is no table or too small, `BadUpload` with `is_about_column` for a text column that it lacks.
    """
    encoding = _expect_text(file)
    dialect = detect_dialect(file, encoding)
    with suppress(csv.Error):
        return _scanned(file, encoding, dialect, text_column)
    try:
        return _scanned(file, encoding, replace(dialect, is_quoted=False), text_column)
    except csv.Error as error:
        raise BadUpload(f"The file is no CSV: a cell is longer than {MAX_CELL_CHARS:,} characters.") from error


def rows_of(file: Path, encoding: Encoding, dialect: Dialect) -> Iterator[list[str]]:
    """The rows as they are in the file, the header first, without blank lines. Raises `csv.Error` for a cell that takes the rest of the file."""
    csv.field_size_limit(MAX_CELL_CHARS)
    with file.open("rb") as raw:
        raw.seek(len(encoding.mark))
        with io.TextIOWrapper(raw, encoding.codec, encoding.errors, newline="") as lines:
            if dialect.skips_line:
                lines.readline()
            quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if dialect.is_quoted else csv.QUOTE_NONE
            with_end = itertools.chain(lines, [END])
            for row in csv.reader(with_end, delimiter=dialect.delimiter, quoting=quoting):
                if row == [END]:
                    return
                if row and row[-1].endswith(END):  # within a cell whose quotation mark is never closed
                    row[-1] = row[-1].removesuffix(END)
                    if row[-1].count("\n") > MANY_LINES:
                        raise csv.Error
                if not _is_blank(row):
                    yield row


def data_rows(file: Path, table: Table) -> Iterator[list[str]]:
    """The rows below the header, all with as many cells as the table has columns."""
    width = len(table.columns)
    for row in itertools.islice(rows_of(file, table.encoding, table.dialect), 1, None):
        yield row if len(row) == width else row + [""] * (width - len(row))


def _is_blank(row: Sequence[str]) -> bool:
    return not row or (len(row) == 1 and row[0].isspace())


def _expect_text(file: Path) -> Encoding:
    """The file's encoding. Raises `BadUpload` for a file that is something else than text."""
    with file.open("rb") as opened:
        head = opened.read(4_096)
    if not head.strip(b"\0 \t\r\n\xef\xbb\xbf\xff\xfe"):
        raise BadUpload("The file is empty: upload a CSV with a header and at least 50 rows.")
    for magic, kind in NOT_TEXT.items():
        if head.startswith(magic):
            raise BadUpload(f"The file is no CSV: it is {kind}. Save or export the table as CSV.")
    encoding = detect_encoding(file)
    text = head[len(encoding.mark) :].decode(encoding.codec, encoding.errors)
    n_control = sum(c < " " and c not in "\t\r\n\v\f\x1b\x1c\x1d\x1e\x1f\x85" for c in text)
    if n_control > 0.01 * len(text):
        raise BadUpload("The file is no CSV: it holds binary data. Save or export the table as CSV.")
    if MARKUP.match(text):
        raise BadUpload("The file is no CSV: it looks like JSON, HTML or XML. Save or export the table as CSV.")
    return encoding


# --- delimiter and quoting


def detect_dialect(file: Path, encoding: Encoding) -> Dialect:
    """The delimiter by which most of the first rows have as many cells as the header; line ends as in the first line."""
    with file.open("rb") as raw:
        raw.seek(len(encoding.mark))
        with io.TextIOWrapper(raw, encoding.codec, encoding.errors, newline="") as lines:
            head = lines.read(HEAD_CHARS)
    first = _separator_line.match(head)
    body = head[first.end() :] if first else head
    line_end = (
        "\r\n" if "\r\n" in head[: head.find("\n") + 1] else "\n" if "\n" in head else "\r" if "\r" in head else "\n"
    )
    named = first.group(1) if first else None
    delimiter = named or _delimiter(body, is_whole=len(head) < HEAD_CHARS)
    return Dialect(delimiter=delimiter, skips_line=first is not None, line_end=line_end)


def _delimiter(head: str, *, is_whole: bool) -> str:
    found: list[tuple[bool, float, str]] = []
    for delimiter in DELIMITERS:
        widths = [len(row) for row in _head_rows(head, delimiter, is_whole=is_whole)]
        if widths and widths[0] > 1:
            share = sum(width == widths[0] for width in widths) / len(widths)
            found.append((share > 0.9, widths[0] * share if share >= SAME_WIDTH else 0.0, delimiter))
    best = max(found, key=lambda one: one[:2], default=(False, 0.0, ""))
    if best[1]:
        return best[2]
    is_plain = all(len(row) == 1 for row in _head_rows(head, ",", is_whole=is_whole))
    return "," if is_plain else NO_DELIMITER


def _head_rows(head: str, delimiter: str, *, is_whole: bool) -> list[list[str]]:
    csv.field_size_limit(MAX_CELL_CHARS)
    reader = csv.reader(io.StringIO(head, newline=""), delimiter=delimiter)
    rows = [row for row in itertools.islice(reader, HEAD_ROWS + 1) if row and (len(row) > 1 or row[0].strip())]
    return rows if is_whole and len(rows) <= HEAD_ROWS else rows[:-1] or rows


# --- all rows


def _scanned(file: Path, encoding: Encoding, dialect: Dialect, text_column: str | None) -> Table:
    rows = rows_of(file, encoding, dialect)
    header = next(rows, [])
    sample = list(itertools.islice(rows, SAMPLE_ROWS))
    width = max([len(header), *map(len, sample)])
    columns = (*header, *[""] * (width - len(header)))
    if not any(name.strip() for name in header) and not sample:
        raise BadUpload("The file is empty: upload a CSV with a header and at least 50 rows.")
    text_index = _text_index(columns, text_column, sample)
    n = n_empty = n_wider = n_narrower = 0
    formulas = sum(guarded_header(name) != name for name in header)
    for row in itertools.chain(sample, rows):
        n += 1
        n_wider += len(row) > len(header)
        n_narrower += len(row) < len(header)
        n_empty += not (text_index < len(row) and row[text_index].strip())
        formulas += sum(map(is_formula, row))
        width = max(width, len(row))
    if width > MAX_COLUMNS:
        raise BadUpload(f"The file has rows of {width:,} cells; a table may have {MAX_COLUMNS:,} columns.")
    if n < MIN_ROWS:
        unit = "row" if n == 1 else "rows"
        raise BadUpload(f"The file has {n} {unit} below its header; a survey needs at least {MIN_ROWS}.")
    columns = (*header, *[""] * (width - len(header)))
    if n_empty == n:
        raise BadUpload(f"The column {safe_names(columns)[text_index]!r} has no text in any row: name another one.")
    return Table(
        encoding=encoding,
        dialect=dialect,
        columns=columns,
        text_index=text_index,
        rows=n,
        empty_texts=n_empty,
        n_wider=n_wider,
        n_narrower=n_narrower,
        header_cells=len(header),
        formulas=formulas,
    )


def _text_index(columns: Sequence[str], wanted: str | None, sample: Sequence[Sequence[str]]) -> int:
    if wanted:
        for names in (columns, safe_names(columns)):
            if wanted in names:
                return list(names).index(wanted)
        listed = ", ".join(map(repr, safe_names(columns)[:20]))
        raise BadUpload(f"The file has no column {wanted[:100]!r}; it has: {listed}.", is_about_column=True)
    scores = [text_score([row[at] for row in sample if at < len(row)]) for at in range(len(columns))]
    return max(range(len(columns)), key=lambda at: (scores[at], -at))


def text_score(cells: Sequence[str]) -> float:
    """How much a column looks like text that people wrote: long cells of several words, few of them alike.

    >>> text_score(["my card is late", "no answer yet"]) > text_score(["card_arrival", "card_arrival"])
    True
    """
    filled = [cell.strip() for cell in cells if cell.strip()]
    if not filled:
        return 0.0
    length = sum(min(len(cell), 500) for cell in filled) / len(filled)
    variety = len(set(filled)) / len(filled)
    words = sum(" " in cell or not cell.isascii() for cell in filled) / len(filled)
    letters = sum(sum(map(str.isalpha, cell[:200])) for cell in filled) / sum(min(len(cell), 200) for cell in filled)
    return length * (0.05 + variety) * (0.05 + words) * (0.02 + letters) * (len(filled) / len(cells))


def safe_names(columns: Sequence[str]) -> tuple[str, ...]:
    """Names that a page can show and that differ: nothing invisible, no markup, a number where there is none.

    >>> safe_names(["text", "", "text"]), "<" in safe_names(["<b>x"])[0]
    (('text', 'column 2', 'text (2)'), False)
    """
    found: list[str] = []
    for number, column in enumerate(columns, 1):
        name = _invisible.sub("", column.translate(_for_pages)).strip()[:200] or f"column {number}"
        chosen, n = name, 1
        while chosen in found:
            n += 1
            chosen = f"{name} ({n})"
        found.append(chosen)
    return tuple(found)


def warnings_of(table: Table) -> list[str]:
    """What a person should know about the table."""
    found = []
    if table.rows > MANY_ROWS:
        found.append(f"{table.rows:,} rows are more than the recommended {MANY_ROWS:,}: this takes longer.")
    if table.empty_texts:
        found.append(f"{table.empty_texts:,} rows have no text; they belong to no hill and keep weight 1.")
    if table.n_wider:
        found.append(
            f"{table.n_wider:,} rows have more cells than the header; they are kept in columns without a name."
        )
    if table.n_narrower:
        found.append(f"{table.n_narrower:,} rows have fewer cells than the header; exports fill them up.")
    if not table.dialect.is_quoted:
        found.append("A quotation mark is never closed; quotation marks are read as plain characters.")
    if table.formulas:
        found.append(f"{table.formulas:,} cells look like formulas; CSV exports put a ' in front of them.")
    if not table.encoding.codec.startswith(("utf", WESTERN)):
        found.append(f"The encoding looks like {table.encoding.codec}; if texts are wrong, upload the table as UTF-8.")
    if table.encoding.is_damaged:
        found.append("Some bytes are not valid UTF-8; exports keep them.")
    if len(set(table.columns)) < len(table.columns) or "" in table.columns:
        found.append("Some columns have no name or the same one; `columns` numbers them.")
    return found
