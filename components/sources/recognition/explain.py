"""Why no format recognises a source, in words, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import orjson

from components.sources.formats.contract import Head
from components.sources.formats.generic import OTHER_NAMES
from components.sources.recognition.candidates import Candidate, Kind, has_lines_ending, has_text_ending

_KIND_WORDS: Final[Mapping[Kind, str]] = {
    "json": "JSON lines",
    "stacked": "JSON objects one below the other",
    "csv": "a CSV table",
    "parquet": "a Parquet table",
    "document": "one JSON document",
    "archive": "a zip archive",
    "text": "plain text",
}


def unsupported(found: Sequence[Candidate], declined: Mapping[str, str]) -> str:
    """On the first line what the source looks like and what to do; below it why each format declined it."""
    summary = f"It looks like {_kinds(found)}{_columns(found)}{_text_ending(found)}."
    if not declined:
        return summary
    reasons = "\n".join(f"not {name}: {reason}" for name, reason in declined.items())
    return f"{summary} Formats tried: {len(declined)}. Details: `runatlas load --explain`.\n{reasons}"


def _kinds(found: Sequence[Candidate]) -> str:
    """What it looks like; of what begins as JSON and can't be parsed, the error."""
    if all(one.kind in {"csv", "text"} for one in found) and (damage := _json_damage(found[-1].head)):
        return damage
    return " or ".join(_KIND_WORDS[one.kind] for one in found)


def _json_damage(head: Head) -> str:
    """Why a text that begins as JSON, or has the name of JSON lines, can't be parsed; "" for any other text."""
    filled = [(n, line) for n, line in enumerate(head.text.split("\n"), start=1) if line.strip()]
    begins = [line.lstrip()[:1] == "{" for _, line in filled[:2]]
    if not filled or not (has_lines_ending(head.name) or begins[0]):
        return ""
    if begins == [True, False] and not has_lines_ending(head.name):
        return f"a JSON document that can't be parsed: {_first_error(head.text, 1)}"
    n, line = filled[0]
    return f"JSON lines of which none can be parsed: {_first_error(line, n)}"


def _first_error(text: str, first_line: int) -> str:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return f"{error.msg} at line {first_line + error.lineno - 1}, column {error.colno}"
    return "an error further down"


def _columns(found: Sequence[Candidate]) -> str:
    """The columns of what looks like a table of texts, and the setting that makes it a log."""
    table = next((one.table for one in found if one.table), None)
    rows = next((one.head.lines for one in found if one.head.shape == "lines" and one.head.lines), ())
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


def _text_ending(found: Sequence[Candidate]) -> str:
    """How to load a text that has not the name of a log."""
    if _kinds(found) != _KIND_WORDS["text"] or has_text_ending(found[-1].head.name):
        return ""
    return "; its name has none of the endings of a text log (.log, .txt, …): --format plain_text reads it anyway"
