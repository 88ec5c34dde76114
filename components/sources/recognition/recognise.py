"""Which format reads a source: each format is asked about each candidate, and the first that accepts reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Final

from components.errors import BadSetting, UnknownFormat
from components.sources import parsing
from components.sources.formats import FORMATS
from components.sources.formats.contract import Format, Head, Options, Verdict, decline
from components.sources.opener import Opened
from components.sources.recognition import explain
from components.sources.recognition.candidates import (
    TABLES,
    Candidate,
    as_lines,
    candidates,
    has_lines_ending,
    has_text_ending,
)
from components.sources.recognition.evidence import evidence
from components.sources.recognition.lookahead import look_ahead

GENERIC: Final = "generic"
PLAIN_TEXT: Final = "plain_text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognition:
    """The format that reads a source, how, and why; `declined`: why each format that was asked before did not.

    `n_neutral`: so many lines, all there are, hold only the format's bookkeeping.
    """

    format: Format
    candidate: Candidate
    reason: str
    declined: Mapping[str, str] = field(default_factory=dict)
    n_neutral: int = 0

    def without_content(self) -> Recognition:
        """The same, without holding the source's content in memory."""
        head = replace(self.candidate.head, document=None, lines=())
        return replace(self, candidate=replace(self.candidate, document=None, head=head))


def recognise(
    opened: Opened,
    name: str,
    *,
    item_bytes: int,
    wanted: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> Recognition:
    """The format that reads the source. `wanted` names it outright; `columns` makes any table a generic log.

    `item_bytes` limits a line or document. Raises `NotReady` when only the end of the content can decide,
    `UnknownFormat` with every format's reason, `Unreadable`, `BadSetting` when there is no format called `wanted`.
    """
    found = candidates(opened, name, item_bytes, wants_text=bool(wanted))
    if wanted:
        return _as_wanted(found, wanted, opened, name, item_bytes)
    if columns and (table := _with_columns(found, columns)):
        reason = "it has the columns that the settings name"
        return Recognition(format=_rows_of(GENERIC)[0], candidate=table, reason=reason)
    declined: dict[str, str] = {}
    for format_name in _in_order(found):
        for one in found:
            for row in _rows_for(format_name, one):
                verdict = _verdict(row, _head_for(row, one))
                if verdict.accepted and (objection := _objection(row, one)):
                    verdict = decline(objection)
                if verdict.accepted:
                    return Recognition(format=row, candidate=one, reason=verdict.reason, declined=declined)
                declined[format_name] = verdict.reason
    if all(one.kind in {"json", "csv", "text"} for one in found) and (further := _further(opened, name, item_bytes)):
        return replace(further, declined=declined)
    raise UnknownFormat("Unsupported format. " + explain.unsupported(found, declined))


def _in_order(found: Sequence[Candidate]) -> list[str]:
    """The names of the formats in the order of asking: of rows of a table, the generic ones first."""
    names = list(dict.fromkeys(row.name for row in FORMATS))
    if any(one.kind in TABLES for one in found):
        names.sort(key=lambda name: name != GENERIC)
    return names


def _rows_of(name: str) -> list[Format]:
    return [row for row in FORMATS if row.name == name]


def _rows_for(format_name: str, candidate: Candidate, *, by_name: bool = False) -> Iterator[Format]:
    """The rows of a format that read this candidate; plain text is only what its ending or the user says."""
    is_named = by_name or format_name != PLAIN_TEXT or has_text_ending(candidate.head.name)
    if candidate.kind == "text" and not is_named:
        return
    yield from (row for row in _rows_of(format_name) if row.shape == candidate.head.shape)


def _head_for(row: Format, candidate: Candidate) -> Head:
    """What a format is asked about: cells of a table as the JSON that they hold, unless it reads tables as they are."""
    if candidate.kind not in TABLES or row.name == GENERIC:
        return candidate.head
    return replace(candidate.head, lines=[parsing.unfolded(line) for line in candidate.head.lines])


def _verdict(row: Format, head: Head) -> Verdict:
    try:
        return row.recognises(head)
    except Exception as error:  # noqa: BLE001 - odd content must not keep other formats from being asked
        return decline(f"it failed: {type(error).__name__}: {error}")


def _objection(row: Format, candidate: Candidate) -> str:
    """Why the format does not understand lines that it accepts; "" where it does. Rows of tables have any columns."""
    if candidate.kind != "json" or row.reader is None or row.name == GENERIC:
        return ""
    return evidence(row, candidate.head.lines, Options()).objection


def expect_format(name: str) -> None:
    """Raises `BadSetting` with the nearest names where there is no format called `name`."""
    known = sorted({row.name for row in FORMATS})
    if name not in known:
        near = get_close_matches(name, known, 1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise BadSetting(f"There is no format called {name!r}{hint} There are: {', '.join(known)}.")


def _as_wanted(found: Sequence[Candidate], wanted: str, opened: Opened, name: str, item_bytes: int) -> Recognition:
    expect_format(wanted)
    reason = f"the format {wanted} was asked for"
    pairs = [(row, one) for one in found for row in _rows_for(wanted, one, by_name=True)]
    if not pairs and (values := look_ahead(opened, item_bytes).first):
        lines_row = next((row for row in _rows_of(wanted) if row.shape == "lines"), None)
        if lines_row:
            return Recognition(format=lines_row, candidate=as_lines(name, values), reason=reason)
    if not pairs:
        shapes = " or ".join(sorted({row.shape for row in _rows_of(wanted)}))
        raise UnknownFormat(f"It can't be read as {wanted}, which comes as {shapes}. {explain.unsupported(found, {})}")
    row, one = next(((row, one) for row, one in pairs if _verdict(row, _head_for(row, one)).accepted), pairs[0])
    return Recognition(format=row, candidate=one, reason=reason)


def _with_columns(found: Sequence[Candidate], columns: Mapping[str, str]) -> Candidate | None:
    """The source as rows that have the text column which the settings name."""
    text = columns.get("text", "text")
    for one in found:
        if one.table and text in one.table.header:
            return one
        if one.head.shape == "lines" and any(isinstance(row, dict) and text in row for row in one.head.lines):
            return one
    return None


def _further(opened: Opened, name: str, item_bytes: int) -> Recognition | None:
    """The format of JSON lines whose first ones are damaged, or hold only a format's bookkeeping."""
    look = look_ahead(opened, item_bytes)
    if look.is_mostly_damaged:
        return None
    pairs = [(one.row, as_lines(name, one.lines)) for one in look.behind if one.n_neutral and one.lines]
    pairs += [(row, as_lines(name, look.first)) for row in FORMATS if row.shape == "lines"]
    for row, one in pairs:
        if (verdict := _verdict(row, one.head)).accepted:
            return Recognition(format=row, candidate=one, reason=verdict.reason)
    for behind in look.behind if look.at_end else ():
        if behind.n_neutral and not behind.lines:
            reason = f"all its {behind.n_neutral:,} lines are bookkeeping of {behind.row.name}"
            one = as_lines(name, look.first)
            return Recognition(format=behind.row, candidate=one, reason=reason, n_neutral=behind.n_neutral)
    return None


# --- rows of the table -----------------------------------------------------------------------------------------


def document_row(recognition: Recognition) -> Format | None:
    """The row of the same format that reads a log's first line as a document, as it was before a second line came.

    None where it never was a document: the name says that it holds lines, or no row accepts it.
    """
    one = recognition.candidate
    if not one.head.lines or one.kind not in {"json", "stacked"}:
        return None
    if one.kind == "json" and has_lines_ending(one.head.name):
        return None
    head = Head(name=one.head.name, shape="document", document=one.head.lines[0])
    rows = (row for row in _rows_of(recognition.format.name) if row.shape == "document")
    return next((row for row in rows if _verdict(row, head).accepted), None)


def named(format_name: str, shape: str) -> Format:
    """The table's row. Raises `UnknownFormat` where a newer table has it no more."""
    for row in FORMATS:
        if row.name == format_name and row.shape == shape:
            return row
    raise UnknownFormat(f"This version has no format {format_name!r}, which read the source before.")
