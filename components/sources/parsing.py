"""One item's bytes to a value: JSON as found in the wild, CSV rows, text."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import orjson

from components.contracts import Json

MAX_FIELD_CHARS: Final = 1 << 30
_SURROGATE = re.compile("[\ud800-\udfff]")
_CLOSED_BY: Final = dict(zip(b'{["', b'}]"', strict=True))
PADDING: Final = b"\x00\xef\xbb\xbf \t\r\n"  # NUL (holes left by a crash), byte order mark, blanks


def json_values(line: bytes) -> Sequence[Json]:
    """The JSON values on a line: none on a blank one, several where lone carriage returns separate them.

    What strict JSON refuses but programs write is repaired: NUL and BOM around the value, bytes that are no UTF-8, raw
    control characters in strings, lone surrogates, NaN and Infinity (null). Raises `ValueError` with the reason.
    """
    try:
        return (orjson.loads(line),)
    except orjson.JSONDecodeError as error:
        refused = error
    bare = line.strip(PADDING)
    if not bare:
        return ()
    if b"\r" in bare:
        return [value for part in bare.split(b"\r") for value in json_values(part)]
    if _CLOSED_BY.get(bare[0]) != bare[-1]:  # what is cut, or no JSON at all, can't be repaired
        raise ValueError(f"not JSON: {refused.msg} at character {refused.pos}")
    return (json_value(bare),)


def json_value(raw: bytes) -> Json:
    """The one JSON value that `raw` is, repaired as `json_values` does. Raises `ValueError` with the reason."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        pass
    try:
        return _without_surrogates(json.loads(text_from(raw), strict=False, parse_constant=_nothing))
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at character {error.pos}") from error
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from error


def _without_surrogates(value: Json) -> Json:
    spelled = json.dumps(value, ensure_ascii=False)
    return json.loads(_SURROGATE.sub("\ufffd", spelled)) if _SURROGATE.search(spelled) else value


def _nothing(_: str) -> None:
    return None


def text_from(raw: bytes) -> str:
    """The text of bytes that should be UTF-8: else Latin-1, or UTF-8 with marks where only a few bytes are wrong."""
    try:
        return raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError:
        replaced = raw.decode("utf-8", "replace")
    wrong = replaced.count("\ufffd")
    right = sum(1 for character in replaced if ord(character) > 127) - wrong
    return replaced if right > wrong else raw.decode("latin-1")


def csv_rows(text: str, delimiter: str, n: int | None = None) -> list[list[str]]:
    """The first `n` rows that are not blank, or all. Raises `ValueError` with the reason."""
    csv.field_size_limit(MAX_FIELD_CHARS)
    reader = csv.reader(io.StringIO(text.replace("\x00", ""), newline=""), delimiter=delimiter)
    try:
        return list(itertools.islice((row for row in reader if row), n))
    except csv.Error as error:
        raise ValueError(f"not a CSV row: {error}") from error


def row_item(header: Sequence[str], fields: Sequence[str]) -> Mapping[str, Any]:
    """A row as an object: empty fields are left out. Raises `ValueError` when it is longer than the header."""
    if len(fields) > len(header):
        raise ValueError(f"the row has {len(fields)} fields, the header {len(header)}")
    return {name: field for name, field in zip(header, fields, strict=False) if field != ""}


def column_names(names: Sequence[str]) -> list[str]:
    """The names of a table's columns; those without one are numbered.

    >>> column_names(["", "text", " "])
    ['column_1', 'text', 'column_3']
    """
    return [name if name.strip() else f"column_{n}" for n, name in enumerate(names, start=1)]


def unfolded(row: Json) -> Json:
    """A row of a table as the object that it would be on a line of JSON.

    Cells that hold an object or a list as JSON text become these; what is null is left out, since a table has every
    column in every row.

    >>> unfolded({"id": "a", "messages": '[{"role": "user"}]', "score": None})
    {'id': 'a', 'messages': [{'role': 'user'}]}
    """
    if not isinstance(row, dict):
        return row
    return {name: _without_nulls(_cell(value)) for name, value in row.items() if value is not None}


def _cell(value: Json) -> Json:
    if isinstance(value, datetime):
        return value.isoformat()
    if not isinstance(value, str) or _CLOSED_BY.get(ord(value[:1] or " ")) != ord(value[-1:] or "!"):
        return value
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError:
        return value
    return found if isinstance(found, dict | list) else value


def _without_nulls(value: Json) -> Json:
    if isinstance(value, dict):
        return {name: _without_nulls(one) for name, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value
