"""Which years are wanted, and which files of a folder hold a year: `{YYYY}.json`, `.jsonl`, packed or not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final, Self

from components.contracts import Locator

_YEAR_FILE: Final = re.compile(r"(\d{4})\.(json|jsonl|ndjson|parquet|csv)(\.(gz|zst))?", re.IGNORECASE)
_DOCUMENTS: Final = re.compile(r".+\.(json|jsonl|ndjson|parquet|csv)(\.(gz|zst))?", re.IGNORECASE)
_RANGE: Final = re.compile(r"\s*(\d{4})\s*(?::\s*(\d{4})\s*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Years:
    """Ranges of years, both ends included, in the order in which they were given."""

    ranges: tuple[tuple[int, int], ...]

    @classmethod
    def parsed(cls, given: Any) -> Self:
        """From `2015:2020`, `2021,2023`, a number or a list of these. Raises `ValueError` with what is wrong.

        >>> Years.parsed("2015:2017,2020").ranges, Years.parsed([2021]).ranges
        (((2015, 2017), (2020, 2020)), ((2021, 2021),))
        """
        parts = given if isinstance(given, list | tuple) else str(given).split(",")
        ranges = tuple(_range(str(part)) for part in parts)
        if not ranges:
            raise ValueError("no year is given: write 2015:2020, or 2021,2023")
        return cls(ranges=ranges)

    def __contains__(self, year: int) -> bool:
        return any(first <= year <= last for first, last in self.ranges)

    def __str__(self) -> str:
        return ",".join(f"{first}:{last}" if last > first else f"{first}" for first, last in self.ranges)

    def missing(self, found: set[int]) -> list[int]:
        """The years that are wanted and not among those found."""
        wanted = {year for first, last in self.ranges for year in range(first, last + 1)}
        return sorted(wanted - found)


def _range(part: str) -> tuple[int, int]:
    found = _RANGE.fullmatch(part)
    if not found:
        raise ValueError(f"{part.strip()!r} is no year and no range: write 2015:2020, or 2021,2023")
    first, last = int(found[1]), int(found[2] or found[1])
    if last < first:
        raise ValueError(f"the range {part.strip()} ends before it begins: write {last}:{first}")
    return first, last


def year_of(filename: str) -> int | None:
    """The year that a file is named after.

    >>> year_of("corpus/2015.json.gz"), year_of("20150.jsonl"), year_of("2015-errata.txt")
    (2015, None, None)
    """
    found = _YEAR_FILE.fullmatch(PurePath(filename).name)
    return int(found[1]) if found else None


def label_of(filename: str) -> str:
    """What the output files of a corpus file are named after: its year, or its name without endings."""
    year = year_of(filename)
    name = PurePath(filename).name
    stem = name[: -len("".join(PurePath(name).suffixes))] if PurePath(name).suffixes else name
    return f"{year:04}" if year is not None else re.sub(r"[^\w.-]+", "-", stem or name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The files of an ingest, those that were left out although they lie there, and years without a file."""

    files: Sequence[Locator]
    left_out: Sequence[str]
    missing_years: Sequence[int]


def choose(found: Sequence[Locator], given: Sequence[str], years: Years | None) -> Chosen:
    """Of the files that were found, those to ingest: of the wanted years, or all that may hold documents.

    Files that were `given` by their own path are taken in any case, unless they are of another year.
    """
    files, left_out = [], []
    has_years = any(year_of(one.key) is not None for one in found)
    for one in found:
        year, is_given = year_of(one.key), one.location in given
        if year is not None and years is not None and year not in years:
            continue
        if (
            is_given
            or year is not None
            or (years is None and not has_years and _DOCUMENTS.fullmatch(PurePath(one.key).name))
        ):
            files.append(one)
        else:
            left_out.append(one.key)
    there = {year for one in files if (year := year_of(one.key)) is not None}
    return Chosen(files=files, left_out=left_out, missing_years=years.missing(there) if years else [])
