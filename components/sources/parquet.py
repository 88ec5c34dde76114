"""Rows of a Parquet file as plain objects, in batches."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Final

from components.contracts import Json
from components.errors import NotReady, ReadFailed, Unreadable
from components.sources.opener import Opened
from components.sources.parsing import column_names

MAGIC: Final = b"PAR1"
ROWS: Final = 1_024


def rows(opened: Opened, skip: int = 0) -> Iterator[Json]:
    """The rows from the `skip`-th on. Raises `NotReady` while the file's footer is missing, `Unreadable`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    opened.file.seek(max(0, opened.size_bytes - 4))
    if opened.packing != "plain" or opened.file.read(4) != MAGIC:
        raise NotReady("The Parquet file has no footer; it is being written or was cut short.")
    try:
        with pq.ParquetFile(opened.path) as table:
            for batch in table.iter_batches(batch_size=ROWS):
                if skip >= batch.num_rows:
                    skip -= batch.num_rows
                    continue
                named = batch.slice(skip).rename_columns(column_names(batch.schema.names))
                yield from (plain(row) for row in named.to_pylist())
                skip = 0
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:  # of the system; what Arrow itself finds damaged has no number
            raise ReadFailed(f"Reading failed: {error.strerror or error}.") from error
        raise Unreadable(f"The Parquet file is damaged: {error}") from error


def first_rows(opened: Opened, n: int) -> list[Json]:
    """The first `n` rows. Raises as `rows` does."""
    return [row for row, _ in zip(rows(opened), range(n), strict=False)]


def plain(row: Json) -> Json:
    """A row as JSON; times stay `datetime` on the first level, where a column may be the record's time."""
    return {str(name): value if isinstance(value, datetime) else plain_value(value) for name, value in row.items()}


def plain_value(value: Json) -> Json:
    """Any value of a table as JSON."""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        return float(value) if value.is_finite() else None
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(bytes(value))} bytes]"
    if isinstance(value, dict):
        return {str(key): plain_value(one) for key, one in value.items()}
    if isinstance(value, list) and value and set(map(type, value)) == {float}:  # a vector
        return value
    if isinstance(value, list | tuple | set):
        return [plain_value(one) for one in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)
