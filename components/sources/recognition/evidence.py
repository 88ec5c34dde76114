"""Does a format that accepts a source understand what is in it? Its reader is tried on the first items.

A stranger's dialect may have the marks by which a format is recognised, and then say everything under other names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from components.contracts import Event, Json, Skipped
from components.sources.formats.contract import Format, Options, Read

MIN_ITEMS: Final = 3  # not understood; fewer are noise in any log
EMPTY_RULES: Final = frozenset({"empty message", "empty text"})


@dataclass(slots=True)
class Evidence:
    """How many of the first items became records, were left out by a rule, or were not understood."""

    n_read: int = 0
    n_left_out: int = 0
    n_empty: int = 0
    n_unknown: int = 0

    def count(self, found: Sequence[Read]) -> None:
        """Count one item by what the reader made of it."""
        if any(isinstance(read, Event) for read in found):
            self.n_read += 1
        elif found and all(isinstance(read, Skipped) and read.rule in EMPTY_RULES for read in found):
            self.n_empty += 1
        elif found and all(isinstance(read, Skipped) and not read.is_unknown for read in found):
            self.n_left_out += 1
        else:
            self.n_unknown += 1

    @property
    def objection(self) -> str:
        """Why the format should not read the source, in words; "" where nothing speaks against it."""
        n_lost = self.n_empty + self.n_unknown
        if n_lost < MIN_ITEMS or n_lost <= 2 * self.n_read:
            return ""
        n = n_lost + self.n_read + self.n_left_out
        return f"its marks are there, but of the first {n} items it finds something to read in {self.n_read} only"


def evidence(row: Format, lines: Sequence[Json], options: Options) -> Evidence:
    """What the reader of a format of lines makes of these."""
    assert row.reader is not None
    found, reader = Evidence(), row.reader(None, options)
    for line in lines:
        try:
            found.count(list(reader.read(line)))
        except Exception:  # noqa: BLE001 - an item that no reader should raise on is none that it understands
            found.n_unknown += 1
    return found
