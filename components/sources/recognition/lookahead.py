"""More of JSON lines: past damaged ones, and past those that hold only a format's bookkeeping."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from components.contracts import Json
from components.sources import recovery
from components.sources.formats import FORMATS
from components.sources.formats.contract import Format
from components.sources.lines import lines
from components.sources.opener import Opened

HEAD_LINES: Final = 60
HEAD_BYTES: Final = 8 << 20


@dataclass(slots=True)
class BehindBookkeeping:
    """The first lines that follow those which `row`'s format calls neutral."""

    row: Format
    lines: list[Json] = field(default_factory=list)
    n_neutral: int = 0
    first_at: int = 0

    def take(self, value: Json, offset: int) -> None:
        """Count the line at `offset` as neutral, or keep it."""
        assert self.row.is_neutral is not None
        if self.row.is_neutral(value):
            self.n_neutral += 1
        elif len(self.lines) < HEAD_LINES:
            self.first_at = self.first_at if self.lines else offset
            self.lines.append(value)

    def needs_more(self, offset: int) -> bool:
        """Are more lines needed before the format can be asked?"""
        return not self.lines or (len(self.lines) < HEAD_LINES and offset - self.first_at < HEAD_BYTES)


@dataclass(slots=True)
class Lookahead:
    """What a longer look found: the first values, and for each format those behind its neutral lines."""

    behind: list[BehindBookkeeping]
    first: list[Json] = field(default_factory=list)
    n_values: int = 0
    n_damaged: int = 0
    at_end: bool = False

    @property
    def is_mostly_damaged(self) -> bool:
        """Is there more damage than values, or no value at all?"""
        return not self.n_values or self.n_damaged > self.n_values


def look_ahead(opened: Opened, item_bytes: int) -> Lookahead:
    """As many values as it takes to recognise the source; of damaged lines what is whole in them."""
    look = Lookahead(behind=[BehindBookkeeping(row=row) for row in FORMATS if row.is_neutral])
    for found in recovery.values(lines(opened.blocks(), 0, item_bytes)):
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
