"""Downloads of a survey: all rows with the weight of their hill, or as many rows of each hill as the weights ask for.

Rows are copied from the uploaded file one after the other, so a download takes no more memory for a larger file.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from components.contracts import in_batches
from components.errors import BadQuery
from components.survey.formulas import guarded, guarded_header, is_formula
from components.survey.table import NO_DELIMITER, Table, data_rows, safe_names
from components.survey.terrain import Hill, effective_sizes

Format = Literal["weighted", "resampled"]

ROWS: Final = 1_000  # written at once
PARQUET_ROWS: Final = 10_000
MAX_ROWS: Final = 10_000_000  # of a resampled download


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """What is to be written, under which name: how often each row of the file occurs (n,), and the value of the added column for it.

    `column` is the added column's name; `values` (n,) are weights, None for the numbers of the rows.
    """

    name: str
    file: Path
    table: Table
    column: str
    copies: NDArray[np.int64]
    values: NDArray[np.float64] | None


def weighted(
    name: str, file: Path, table: Table, hill_of_row: NDArray[np.int64], weights: Mapping[int, float]
) -> Download:
    """Every row once, with its hill's weight; rows of no hill have weight 1."""
    values = np.ones(len(hill_of_row))
    for hill, weight in weights.items():
        values[hill_of_row == hill] = weight
    copies = np.ones(len(hill_of_row), np.int64)
    return Download(
        name=name, file=file, table=table, column=free_name("weight", table.columns), copies=copies, values=values
    )


def resampled(
    name: str,
    file: Path,
    table: Table,
    hills: Sequence[Hill],
    hill_of_row: NDArray[np.int64],
    weights: Mapping[int, float],
    *,
    n_rows: int | None,
    seed: int,
) -> Download:
    """`n_rows` rows (as many as the file has, without): of each hill its share of the effective sizes, to within a row.

    Rows of no hill are a group of weight 1. No row is taken again before all of its group are. Raises `BadQuery` if
    there is nothing to take.
    """
    groups = [np.flatnonzero(hill_of_row == hill.id) for hill in hills] + [np.flatnonzero(hill_of_row < 0)]
    sizes = [*effective_sizes(hills, weights), float(len(groups[-1]))]
    if sum(sizes) <= 0:
        raise BadQuery("All weights are 0, so there are no rows to take: raise a hill first.")
    copies = np.zeros(len(hill_of_row), np.int64)
    rng = np.random.default_rng(seed)
    for rows, quota in zip(groups, largest_remainder(sizes, n_rows or len(hill_of_row)), strict=True):
        if quota:
            copies[rows] += quota // len(rows)
            copies[rng.choice(rows, quota % len(rows), replace=False)] += 1
    return Download(
        name=name, file=file, table=table, column=free_name("source_row", table.columns), copies=copies, values=None
    )


def largest_remainder(sizes: Sequence[float], n: int) -> list[int]:
    """Whole numbers that add up to `n`, each within one of its share of the sizes (Hamilton's method).

    >>> largest_remainder([1.0, 1.0, 1.0], 10), largest_remainder([0.0, 3.0], 4)
    ([4, 3, 3], [0, 4])
    """
    exact = np.asarray(sizes, np.float64) / sum(sizes) * n
    found = np.floor(exact).astype(np.int64)
    first = np.lexsort((np.arange(len(exact)), found - exact))
    first = first[exact[first] > 0][: n - int(found.sum())]
    found[first] += 1
    return [int(one) for one in found]


def free_name(wanted: str, columns: Sequence[str]) -> str:
    """The name, or one with a number if the table has it.

    >>> free_name("weight", ["text"]), free_name("weight", ["Weight", "weight_2"])
    ('weight', 'weight_3')
    """
    taken, name, n = {column.strip().casefold() for column in columns}, wanted, 1
    while name in taken:
        n += 1
        name = f"{wanted}_{n}"
    return name


# --- files


def count_guarded(download: Download) -> int:
    """How many cells of the download come behind a guard; reads the file if only some rows are taken."""
    if not download.table.formulas or download.values is not None:
        return download.table.formulas
    n = sum(guarded_header(name) != name for name in download.table.columns)
    for number, row in enumerate(data_rows(download.file, download.table)):
        if times := int(download.copies[number]):
            n += times * sum(map(is_formula, row))
    return n


def csv_blocks(download: Download) -> Iterator[bytes]:
    """The download as CSV, in the encoding and with the delimiter of the upload."""
    encoding, dialect = download.table.encoding, download.table.dialect
    delimiter = "," if dialect.delimiter == NO_DELIMITER else dialect.delimiter
    header = [*map(guarded_header, download.table.columns), download.column]
    yield encoding.mark
    for rows in in_batches(_rows(download, header), ROWS):
        block = io.StringIO(newline="")
        csv.writer(block, delimiter=delimiter, lineterminator=dialect.line_end).writerows(rows)
        yield block.getvalue().encode(encoding.codec, encoding.errors)


def _rows(download: Download, header: list[str]) -> Iterator[list[str]]:
    yield header
    for number, row in enumerate(data_rows(download.file, download.table)):
        if times := int(download.copies[number]):
            cells = [*map(guarded, row), _spelled(download, number)]
            for _ in range(times):
                yield cells


def _spelled(download: Download, number: int) -> str:
    return str(number) if download.values is None else f"{download.values[number]:.6g}"


def write_parquet(download: Download, target: Path) -> None:
    """The download as Parquet: all cells as they were uploaded, without guards, and the added column as a number."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = download.table.columns if _differ(download.table.columns) else safe_names(download.table.columns)
    kind = pa.int64() if download.values is None else pa.float64()
    schema = pa.schema([*((name, pa.string()) for name in names), (download.column, kind)])
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for batch in in_batches(_numbered(download), PARQUET_ROWS):
            cells = list(zip(*(row for _, row in batch), strict=True))
            numbers = [number for number, _ in batch]
            added = numbers if download.values is None else [float(download.values[number]) for number in numbers]
            columns = [[cell.encode("utf-8", "replace").decode() for cell in column] for column in cells]
            writer.write_table(pa.table([*columns, pa.array(added, kind)], schema=schema))


def _differ(names: Sequence[str]) -> bool:
    return len(set(names)) == len(names) and all(names)


def _numbered(download: Download) -> Iterator[tuple[int, list[str]]]:
    for number, row in enumerate(data_rows(download.file, download.table)):
        for _ in range(int(download.copies[number])):
            yield number, row
