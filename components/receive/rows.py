"""Received rows as items with keys, their columns found as those of generic logs are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from components.contracts import Defect, Event, Json, Skipped
from components.errors import BadBody
from components.receive.bodies import json_body
from components.sources.formats.content import json_text
from components.sources.formats.contract import Options
from components.sources.formats.deduplication import short_digest
from components.sources.formats.defects import excerpt
from components.sources.formats.generic import Reader
from components.sources.parsing import json_values

KEY: Final = "key"


class RowItem(NamedTuple):
    """What the row at this place became: an item, or the reason why it is none."""

    at: int
    found: Event | Defect | Skipped


def row_items(body: bytes, *, is_lines: bool, columns: Mapping[str, str]) -> Iterator[RowItem]:
    """The rows of a body: a JSON list, an object with `records`, or JSON lines. Raises `BadBody` for anything else.

    A row without a key has its content for one. `columns` is the dataset's setting of that name.
    """
    reader = Reader(None, Options(columns=columns))
    for at, row in enumerate(_lines(body) if is_lines else _listed(json_body(body))):
        yield RowItem(at, row if isinstance(row, Defect) else _item(reader, row, columns.get(KEY, KEY)))


def _lines(body: bytes) -> Iterator[Json | Defect]:
    for line in body.splitlines():
        try:
            yield from json_values(line)
        except ValueError as error:
            yield Defect(offset=0, reason=str(error), excerpt=line[:1_000].decode("utf-8", "replace"))


def _listed(found: Json) -> Sequence[Json]:
    if isinstance(found, dict) and isinstance(found.get("records"), list):
        found = found["records"]
    if not isinstance(found, list):
        raise BadBody("The body is no list of rows: send [{…}, …], an object with `records`, or JSON lines.")
    return found


def _item(reader: Reader, row: Json, key_column: str) -> Event | Defect | Skipped:
    key = row.get(key_column) if isinstance(row, dict) else None
    if isinstance(key, int) and not isinstance(key, bool):
        key = str(key)
    if key is not None and not (isinstance(key, str) and key.strip()):
        return Defect(offset=0, reason=f"{key_column} {str(key)[:40]!r} is no text", excerpt=excerpt(row))
    (read,) = reader.read(row)
    reader.runs.clear()  # a row is numbered by itself, so that it is the same in whatever request it comes
    if not isinstance(read, Event):
        return read
    return read._replace(key=key or short_digest(json_text(row), 16))
