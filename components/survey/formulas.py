"""Cells that a spreadsheet would run as formulas, and the guard that keeps it from doing so."""

from __future__ import annotations

import re
from typing import Final

GUARD: Final = "'"
STARTS_FORMULA: Final = frozenset("=+-@\t\r")
_number = re.compile(r"[+-]?(?:\d+(?:[.,]\d+)*|[.,]\d+)(?:[eE][+-]?\d+)?%?")
_calls_something = re.compile(r"[(|!]")


def is_formula(cell: str) -> bool:
    """Would a spreadsheet run the cell? Numbers with a sign are none.

    >>> is_formula("=1+1"), is_formula("+49 30 555"), is_formula("-12.50"), is_formula("-"), is_formula("1e-3")
    (True, True, False, True, False)
    """
    return bool(cell) and cell[0] in STARTS_FORMULA and not _number.fullmatch(cell)


def guarded(cell: str) -> str:
    """The cell, behind a quotation mark if a spreadsheet would run it; taking that off gives the cell again."""
    return GUARD + cell if is_formula(cell) else cell


def guarded_header(name: str) -> str:
    """A column's name as it was uploaded, unless it is a formula that calls something."""
    return guarded(name) if _calls_something.search(name) else name
