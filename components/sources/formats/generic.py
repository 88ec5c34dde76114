"""Generic records: JSON lines, CSV, Parquet and table rows whose columns are named like the record's fields.

Columns are found by name (`text`, `timestamp`, `iteration`, `idx_in_iteration` or `idx`, `type`, `run`), or as the
dataset's `columns` setting says; all others go to `extra`. Rows without an iteration are numbered by the rule that all
formats share: what the model wrote after something else begins a new one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from components.contracts import Defect, Event, Json, Skipped
from components.sources.formats.content import text_of
from components.sources.formats.contract import Format, Head, Options, Read, Verdict, accept, decline
from components.sources.formats.defects import EXCERPT_CHARS, guard_read
from components.sources.formats.pieces import GENERATED
from components.sources.formats.times import timestamp

FIELDS: Final = ("text", "timestamp", "iteration", "idx_in_iteration", "type", "run")
OTHER_NAMES: Final[Mapping[str, Sequence[str]]] = {
    "text": ("content", "message", "body"),
    "timestamp": ("time", "ts", "@timestamp", "created_at", "datetime"),
    "idx_in_iteration": ("idx",),
    "type": ("role", "kind", "level"),
    "run": ("filename",),
}
_WHOLE = re.compile(r"[+-]?\d{1,18}(\.0*)?")
MAX_LAYOUTS: Final = 1_000
MAX_RUNS: Final = 10_000  # runs whose numbering is remembered; the one that had no row for longest is forgotten first


def recognises(head: Head) -> Verdict:
    """Have its rows a text, and a position or a time?"""
    rows = [row for row in head.lines if isinstance(row, dict)]
    fitting = sum(_is_record(row) for row in rows)
    if fitting and fitting >= 0.6 * len(head.lines):
        return accept(f"{fitting} of the first {len(head.lines)} rows have a text and a place or time of their own")
    return decline(
        "its rows have no `text` beside an iteration, or a type and a time; name its columns in the settings"
    )


def _is_record(row: Mapping[str, Json]) -> bool:
    if "iteration" in row or "idx_in_iteration" in row:
        return row.get("text") is not None
    return isinstance(row.get("text"), str) and "type" in row and "timestamp" in row


class Reader:
    """Remembers, for each run, its numbering and whether the model was writing."""

    def __init__(self, state: Json, options: Options) -> None:
        self.columns = options.columns
        self.layouts: dict[tuple[str, ...], Mapping[str, str]] = {}
        self.runs: dict[str, list[int]] = dict((state or {}).get("runs", {}))

    @guard_read
    def read(self, item: Json) -> Iterable[Read]:
        """What one row becomes."""
        if not isinstance(item, dict):
            return (Defect(offset=0, reason="the row is no object"),)
        found = self._columns(item)
        text_column = found.get("text")
        if text_column is None:
            wanted = self.columns.get("text", "text")
            return (Defect(offset=0, reason=f"there is no column {wanted!r} to take the text from"),)
        if not (text := text_of(item[text_column])).strip():
            return (Skipped(rule="empty text"),)
        values = {field: item[column] for field, column in found.items()}
        taken = found.values()
        return (self._event(text, values, {name: value for name, value in item.items() if name not in taken}),)

    def _columns(self, item: Mapping[str, Json]) -> Mapping[str, str]:
        """Field -> column, worked out once for all rows with the same keys."""
        keys = tuple(item)
        if (found := self.layouts.get(keys)) is None:
            looked_up = ((field, self._column(field, item)) for field in FIELDS)
            found = {field: column for field, column in looked_up if column is not None}
            if len(self.layouts) < MAX_LAYOUTS:
                self.layouts[keys] = found
        return found

    def _column(self, field: str, item: Mapping[str, Json]) -> str | None:
        if (mapped := self.columns.get(field)) is not None:
            return mapped if mapped in item else None
        return next((name for name in (field, *OTHER_NAMES.get(field, ())) if name in item), None)

    def _event(self, text: str, values: Mapping[str, Json], extra: dict[str, Json]) -> Event | Defect:
        type = str(values.get("type") or "text")
        run = str(values.get("run") or "")
        when = timestamp(values.get("timestamp"))
        if when is None and values.get("timestamp") not in (None, ""):
            extra["timestamp"] = str(values["timestamp"])
        try:
            numbers = [_whole_number(values.get(name), name) for name in ("iteration", "idx_in_iteration")]
        except ValueError as error:
            return Defect(offset=0, reason=str(error), excerpt=text[:EXCERPT_CHARS])
        iteration, idx = self._position(run, type, *numbers)
        return Event(
            iteration=iteration, idx_in_iteration=idx, type=type, text=text, timestamp=when, run=run, extra=extra
        )

    def _position(self, run: str, type: str, iteration: int | None, idx: int | None) -> tuple[int, int]:
        """The row's own numbers; missing ones go on from the row before it in its run."""
        last, next_idx, writing = self.runs.pop(run, (0, 0, 0))
        generated = type in GENERATED
        if iteration is None:
            iteration = last + 1 if generated and not writing else last
        if iteration != last:
            next_idx = 0
        if idx is None:
            idx = next_idx
        self.runs[run] = [iteration, idx + 1, int(generated)]
        if len(self.runs) > MAX_RUNS:
            del self.runs[next(iter(self.runs))]
        return iteration, idx

    def state(self) -> Json:
        """The numbering of every run."""
        return {"runs": self.runs}


def _whole_number(value: Json, name: str) -> int | None:
    """The number, also when it is written as text or as a float. Raises `ValueError` naming the column."""
    if value is None or value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = str(value).strip()
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{name} {text[:40]!r} is no whole number")
    return int(text.partition(".")[0])


ROWS = (Format(name="generic", shape="lines", recognises=recognises, reader=Reader),)
