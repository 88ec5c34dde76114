"""Received items as records that are ready to be stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from components.contracts import Defect, Event, Record
from components.receive.bodies import trace_request
from components.receive.rows import row_items
from components.receive.spans import span_items
from components.sources.formats.deduplication import short_digest
from components.sources.records import RecordMaker

OTLP: Final = "otlp"  # the sources of received records, by their keys
HTTP: Final = "http"
_OFFSET_BYTES: Final = 6  # so that every reader of JSON has the number exactly


class Rejected(NamedTuple):
    """An item that could not become a record: its place in the request, and why."""

    at: int
    defect: Defect


@dataclass(slots=True, kw_only=True)
class Received:
    """One request: its records, and what could not become one. `source` is the key of its entry in the ledger.

    Of the records whose keys are in `once` the first report counts, of all others the latest.
    """

    source: str
    records: list[Record] = field(default_factory=list)
    once: set[str] = field(default_factory=set)
    rejected: list[Rejected] = field(default_factory=list)
    n_items: int = 0
    n_skipped: int = 0  # without a text

    def add(self, maker: RecordMaker, event: Event, *, replaces: bool = True) -> None:
        """Add the record that an item makes."""
        made = maker.record(event)
        if isinstance(made, Record):
            self.records.append(made)
            if not replaces:
                self.once.add(made.key)
        elif isinstance(made, Defect):
            self.reject(maker, made)
        else:
            self.n_skipped += 1

    def reject(self, maker: RecordMaker, defect: Defect) -> None:
        """Add the reason why the current item is no record. What is sent again is the same defect, by its offset."""
        offset = int(short_digest(f"{defect.reason}\0{defect.excerpt}", _OFFSET_BYTES), 16)
        self.rejected.append(Rejected(self.n_items, maker.defect(defect, offset)))


def received_spans(body: bytes, maker: RecordMaker, *, is_json: bool) -> Received:
    """The spans of an unpacked OTLP request. Raises `BadBody` if it is none."""
    received = Received(source=OTLP)
    for found in span_items(trace_request(body, is_json=is_json)):
        for item in found.items:
            received.add(maker, item.event, replaces=item.replaces)
        if found.defect:
            received.reject(maker, found.defect)
        received.n_items += 1
    return received


def received_rows(body: bytes, maker: RecordMaker, *, is_lines: bool, columns: Mapping[str, str]) -> Received:
    """The rows of an unpacked body. Raises `BadBody` if it holds none."""
    received = Received(source=HTTP)
    for row in row_items(body, is_lines=is_lines, columns=columns):
        if isinstance(row.found, Event):
            received.add(maker, row.found)
        elif isinstance(row.found, Defect):
            received.reject(maker, row.found)
        else:
            received.n_skipped += 1
        received.n_items += 1
    return received
