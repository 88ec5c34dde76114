"""What the records of a snapshot can be filtered by, a code a row, and its runs with their totals; both in one pass.

Memory is bounded: two bytes a row and field, and at most `MAX_FIELDS` fields whose values are few.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import orjson
from numpy.typing import NDArray

from components.contracts import Json

OTHERS, MISSING = 65_534, 65_535
MAX_VALUES: Final = OTHERS  # of a field of ours
MAX_DISTINCT: Final = 1_000  # of another field: one with more values is no choice for a person
MAX_FIELDS: Final = 40  # other fields
MAX_VALUE_CHARS: Final = 1_000  # what a filter can be given
RUN_NAME: Final = "run"  # key of `extra`; the facet of that name holds filenames, which is what the filter takes
LISTED: Final = ("tool", "model", "project", "outcome")
NUMBERS: Final = ("tokens", "cost", "score")
_UNUSED: Final = {"failed", *NUMBERS}

Codes = NDArray[np.uint16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facet:
    """A field of the records: its values as texts, the most frequent first, and the code of each row (rows,)."""

    name: str
    values: Sequence[str]
    counts: Sequence[int]
    codes: Codes

    @property
    def others(self) -> int:
        """How many rows have a value that is not listed."""
        return int((self.codes == OTHERS).sum())

    @property
    def missing(self) -> int:
        """How many rows have no value."""
        return int((self.codes == MISSING).sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTotals:
    """Of each run (runs,), by the code of its filename; NaN for what no record says.

    `most` has the code of the most frequent value of each field of `LISTED` and of the run's own name.
    """

    records: NDArray[np.int64]
    errors: NDArray[np.int64]
    start: NDArray[np.float64]  # seconds since 1970
    end: NDArray[np.float64]
    numbers: Mapping[str, NDArray[np.float64]]
    most: Mapping[str, Codes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facets:
    """The fields that records can be filtered by, those of `LISTED` first, and the runs; `names` are the runs' own names."""

    fields: Sequence[Facet]
    names: Sequence[str]
    runs: RunTotals


@dataclass(slots=True, kw_only=True)
class _Field:
    """A field while the records are read."""

    codes: Codes
    most: int
    known: dict[str, int] = field(default_factory=dict)

    def code(self, value: Json) -> int:
        """The code of a value; -1 if the field has too many."""
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
        code = self.known.get(text)
        if code is not None:
            return code
        if len(text) > MAX_VALUE_CHARS:
            return OTHERS
        if len(self.known) >= self.most:
            return OTHERS if self.most == MAX_VALUES else -1
        self.known[text] = len(self.known)
        return self.known[text]


class FacetReader:
    """Takes the `extra` of records in batches, then says what is in them."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._fields = {name: self._new(MAX_VALUES) for name in (*LISTED, RUN_NAME)}
        self._dropped: set[str] = set()
        self._failed = np.zeros(rows, np.bool_)
        self._numbers = {name: np.full(rows, np.nan, np.float32) for name in NUMBERS}

    def _new(self, most: int) -> _Field:
        return _Field(codes=np.full(self._rows, MISSING, np.uint16), most=most)

    def add(self, rows: Sequence[int], extras: Sequence[str]) -> None:
        """Take these records: their rows, and their `extra` as JSON."""
        for row, raw in zip(rows, extras, strict=True):
            if raw == "{}":
                continue
            for name, value in orjson.loads(raw).items():
                kind = type(value)
                if kind is dict or kind is list or value is None or name in self._dropped:
                    continue
                if name in _UNUSED:
                    self._take_number(name, row, value)
                    continue
                known = self._fields.get(name) or self._added(name)
                if known is not None:
                    self._take(name, known, row, value)

    def _take_number(self, name: str, row: int, value: Json) -> None:
        if name == "failed":
            self._failed[row] = value is True
        elif isinstance(value, int | float) and not isinstance(value, bool):
            self._numbers[name][row] = value

    def _take(self, name: str, known: _Field, row: int, value: Json) -> None:
        code = known.code(value)
        if code >= 0:
            known.codes[row] = code
        else:
            self._dropped.add(name)
            del self._fields[name]

    def _added(self, name: str) -> _Field | None:
        if len(self._fields) >= MAX_FIELDS + len(LISTED) + 1 or '"' in name or not name:
            return None
        self._fields[name] = self._new(MAX_DISTINCT)
        return self._fields[name]

    def result(self, filename: NDArray[np.int32], n_files: int, seconds: NDArray[np.float64]) -> Facets:
        """What was read; with the filename of each row as a code (rows,), and its time, NaN for none."""
        named = ranked(RUN_NAME, self._fields.pop(RUN_NAME))
        others = sorted(set(self._fields) - set(LISTED))
        fields = [ranked(name, self._fields[name]) for name in (*LISTED, *others)]
        most = {one.name: _most_frequent(one.codes, filename, n_files) for one in (*fields[: len(LISTED)], named)}
        runs = RunTotals(
            records=np.bincount(filename, minlength=n_files),
            errors=np.bincount(filename[self._failed], minlength=n_files),
            start=_edge(np.fmin, seconds, filename, n_files),
            end=_edge(np.fmax, seconds, filename, n_files),
            numbers={
                "tokens": _total(self._numbers["tokens"], filename, n_files),
                "cost": _total(self._numbers["cost"], filename, n_files),
                "score": _edge(np.fmax, self._numbers["score"].astype(np.float64), filename, n_files),
            },
            most=most,
        )
        return Facets(fields=fields, names=named.values, runs=runs)


def read_facets(
    batches: Iterable[tuple[Sequence[int], Sequence[str]]],
    filename: NDArray[np.int32],
    n_files: int,
    seconds: NDArray[np.float64],
) -> Facets:
    """The facets and runs of a snapshot, from rows with their `extra` as JSON, in batches."""
    reader = FacetReader(len(filename))
    for rows, extras in batches:
        reader.add(rows, extras)
    return reader.result(filename, n_files, seconds)


def ranked(name: str, read: _Field) -> Facet:
    """The field with its values by their number."""
    n = len(read.known)
    counts = np.bincount(read.codes[read.codes < OTHERS], minlength=n)
    values = list(read.known)
    order = sorted(range(n), key=lambda at: (-counts[at], values[at]))
    rank = np.full(MISSING + 1, MISSING, np.uint16)
    rank[OTHERS] = OTHERS
    rank[order] = np.arange(n)
    return Facet(
        name=name, values=[values[at] for at in order], counts=[int(counts[at]) for at in order], codes=rank[read.codes]
    )


def coded(name: str, codes: NDArray[np.int32], values: Sequence[str]) -> Facet:
    """A facet of codes into these values, the most frequent first; what is beyond `MAX_VALUES` is among the others."""
    counts = np.bincount(codes, minlength=len(values))[:MAX_VALUES].tolist()
    return Facet(
        name=name,
        values=list(values[:MAX_VALUES]),
        counts=counts,
        codes=np.minimum(codes, OTHERS).astype(np.uint16),
    )


def by_value(name: str, column: NDArray[np.int32]) -> Facet:
    """A facet of whole numbers, as texts."""
    found, inverse = np.unique(column, return_inverse=True)
    counts = Counter(dict(zip(found.tolist(), np.bincount(inverse, minlength=len(found)).tolist(), strict=True)))
    values = [value for value, _ in sorted(counts.items(), key=lambda one: (-one[1], one[0]))]
    rank = np.empty(len(found), np.int32)
    rank[np.searchsorted(found, values)] = np.arange(len(values), dtype=np.int32)
    return coded(name, rank[inverse] if len(found) else column, [str(value) for value in values])


# --- totals of runs


def _edge(of: np.ufunc, values: NDArray[np.float64], run: NDArray[np.int32], n: int) -> NDArray[np.float64]:
    """The least or greatest value of each run (n,)."""
    found = np.full(n, np.nan)
    of.at(found, run, values)
    return found


def _total(values: NDArray[np.float32], run: NDArray[np.int32], n: int) -> NDArray[np.float64]:
    """The sum of each run (n,). A value that every record repeats is the run's own, and counts once."""
    has = ~np.isnan(values)
    own, of_run = values[has].astype(np.float64), run[has]
    counts, records = np.bincount(of_run, minlength=n), np.bincount(run, minlength=n)
    low, high = (_edge(of, own, of_run, n) for of in (np.fmin, np.fmax))
    is_repeated = (counts == records) & (counts > 1) & (low == high)
    totals = np.where(is_repeated, low, np.bincount(of_run, own, minlength=n))
    return np.where(counts > 0, totals, np.nan)


def _most_frequent(codes: Codes, run: NDArray[np.int32], n: int) -> Codes:
    """The most frequent code of each run (n,), `MISSING` where it has none."""
    found = np.full(n, MISSING, np.uint16)
    has = codes < OTHERS
    pairs, counts = np.unique(run[has].astype(np.int64) << 16 | codes[has], return_counts=True)
    order = np.argsort(counts, kind="stable")  # the last one that is written to a place stays
    found[pairs[order] >> 16] = (pairs[order] & 0xFFFF).astype(np.uint16)
    return found
