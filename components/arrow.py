"""Columns of Arrow tables, to and from values, without importing pandas.

pyarrow's own `array` and `to_numpy` import pandas, if it is installed, to check for its types: 0.2 s of a new process
that otherwise publishes in less. Arrays made from buffers need no such check.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_epoch = datetime(1970, 1, 1, tzinfo=UTC)
_microsecond = timedelta(microseconds=1)
_most_bytes = 2**31 - 1  # of the strings of one array


def strings(values: Sequence[str | None]) -> pa.Array:
    """A string array; None is null."""
    encoded = [b"" if value is None else value.encode() for value in values]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    if ends[-1] > _most_bytes:
        return pa.array(values, pa.string())
    is_there = [value is not None for value in values]
    buffers = [_bits(is_there), pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(encoded), buffers)


def times(values: Sequence[datetime | None], kind: pa.DataType) -> pa.Array:
    """An array of microseconds since 1970 from aware datetimes; None is null. `kind` is a timestamp("us")."""
    micros = np.array([0 if value is None else (value - _epoch) // _microsecond for value in values], np.int64)
    return pa.Array.from_buffers(kind, len(micros), [_bits([v is not None for v in values]), pa.py_buffer(micros)])


def numbers(values: NDArray[Any], kind: pa.DataType) -> pa.Array:
    """An array (n,) of the same bits; `kind` must be the type of `values`."""
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def lists(values: NDArray[Any], offsets: NDArray[np.int32], kind: pa.DataType) -> pa.Array:
    """An array of n lists, list i being `values[offsets[i]:offsets[i + 1]]`; `kind` is their type."""
    children = [numbers(values, kind.value_type)]
    return pa.Array.from_buffers(kind, len(offsets) - 1, [None, pa.py_buffer(offsets)], children=children)


def values_of(column: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    """The numbers (n,) of a column without nulls, to be read only."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    values: NDArray[Any] = np.from_dlpack(whole)
    return values


def _bits(is_there: Sequence[bool]) -> pa.Buffer | None:
    """Arrow's mask of what is not null, None where nothing is."""
    return None if all(is_there) else pa.py_buffer(np.packbits(np.array(is_there, np.bool_), bitorder="little"))
