"""Defects and skips that several formats report, and the guards that give a defect instead of an exception."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

from components.contracts import Defect, Json, Skipped
from components.sources.formats.contract import Read

EXCERPT_CHARS: Final = 4_000
TOO_DEEP: Final = Defect(offset=0, reason="nested too deeply to be read")
EMPTY: Final = Skipped(rule="empty message")
REPEATED: Final = Skipped(rule="repeated message")
ENCRYPTED: Final = Skipped(rule="reasoning is encrypted")
BOOKKEEPING: Final = Skipped(rule="bookkeeping of the session")
UNKNOWN_LINE: Final = Skipped(rule="line of another type", is_unknown=True)

R = TypeVar("R")


def guarded(index: int, reads: Iterable[Read]) -> Iterator[Read]:
    """The same reads, with a defect at item `index` in place of what is nested too deeply to be read."""
    try:
        yield from reads
    except RecursionError:
        yield too_deep(index)


def guard_read(read: Callable[[R, Json], Iterable[Read]]) -> Callable[[R, Json], Iterable[Read]]:
    """The same method `read(self, item)`, with a defect for an item that is nested too deeply to be read."""

    def guarded_read(reader: R, item: Json) -> Iterable[Read]:
        try:
            return read(reader, item)
        except RecursionError:
            return (TOO_DEEP,)

    return guarded_read


def too_deep(index: int) -> Defect:
    """The defect of item `index`, which is nested too deeply to be read."""
    return Defect(offset=index, reason=TOO_DEEP.reason)


def not_an_object(index: int, item: Json) -> Defect:
    """The defect of item `index`, which should have been an object."""
    return Defect(offset=index, reason=f"expected an object, found {type(item).__name__}", excerpt=excerpt(item))


def excerpt(item: Json) -> str:
    """The beginning of an item, for a person to recognise it by; it is cut when its secrets are redacted."""
    if isinstance(item, dict | list):
        return f"{type(item).__name__} of {len(item)}"
    return str(item)[:EXCERPT_CHARS]
