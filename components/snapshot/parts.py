"""Parts: the immutable Parquet files that snapshots consist of, their columns, and how they are read.

A part of kind `logs` holds records with their positions, one of kind `embeddings` their vectors. Everything streams:
memory stays at a few row groups whatever the size of a part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

Kind = Literal["logs", "embeddings"]
Extras = Sequence[tuple[str, pa.DataType]]

KINDS: tuple[Kind, ...] = ("logs", "embeddings")
TIMESTAMP = pa.timestamp("us", tz="UTC")
LOGS_COLUMNS: Extras = (
    ("id", pa.string()),
    ("timestamp", TIMESTAMP),
    ("filename", pa.string()),
    ("text", pa.string()),
    ("iteration", pa.int32()),
    ("idx_in_iteration", pa.int32()),
    ("type", pa.string()),
    ("projection_x", pa.float32()),
    ("projection_y", pa.float32()),
)
TOPIC_COLUMNS: Extras = (("topic", pa.int32()), ("topic_label", pa.string()))  # after the declared columns
REQUIRED = tuple(name for name, _ in LOGS_COLUMNS if name != "timestamp")  # never null; extras may be


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One immutable file of a dataset; `sha256` in hex, over the file's bytes."""

    kind: Kind
    name: str
    rows: int
    sha256: str
    size_bytes: int

    @property
    def file_name(self) -> str:
        """Its name in the dataset's folder of parts."""
        return part_file_name(self.kind, self.name)

    def is_intact(self, path: Path, *, thorough: bool = False) -> bool:
        """Is the file at `path` this part, by its size, or if `thorough` by its content?"""
        try:
            return path.stat().st_size == self.size_bytes and (not thorough or file_sha256(path) == self.sha256)
        except OSError:
            return False


def part_file_name(kind: Kind, name: str) -> str:
    """The file of a part, below `parts/`."""
    return f"{kind}-{name}.parquet"


def logs_schema(extras: Extras = ()) -> pa.Schema:
    """Columns of the records, in order; the declared extras follow."""
    return pa.schema([*LOGS_COLUMNS, *extras])


def embeddings_schema() -> pa.Schema:
    """`id` and `vector`, a list of float32."""
    return pa.schema([("id", pa.string()), ("vector", pa.list_(pa.field("element", pa.float32())))])


def writer_options(kind: Kind, schema: pa.Schema) -> dict[str, Any]:
    """How Parquet packs a kind of part: 691 bytes a 384-d vector, 234 a typical record, readable by every reader.

    float16-rounded values leave whole byte streams of zeros after BYTE_STREAM_SPLIT; Parquet's own float16 would
    save another 3 % but DuckDB can't read it so encoded.
    """
    if kind == "embeddings":
        return {
            "compression": "zstd",
            "compression_level": 1,
            "use_dictionary": False,
            "column_encoding": {"vector.list.element": "BYTE_STREAM_SPLIT"},
            "write_statistics": ["id"],
        }
    specified = dict(LOGS_COLUMNS)
    extra_texts = {field.name for field in schema if field.name not in specified and pa.types.is_string(field.type)}
    return {
        "compression": "zstd",
        "compression_level": 3,
        "use_dictionary": [name for name in schema.names if name in {"filename", "type"} | extra_texts],
        "column_encoding": {
            "projection_x": "BYTE_STREAM_SPLIT",
            "projection_y": "BYTE_STREAM_SPLIT",
            "timestamp": "DELTA_BINARY_PACKED",
            "iteration": "DELTA_BINARY_PACKED",
            "idx_in_iteration": "DELTA_BINARY_PACKED",
        },
        "write_statistics": [name for name in schema.names if name != "text"],
    }


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_row_groups(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The row groups of a Parquet file, one at a time."""
    with pq.ParquetFile(path) as file:
        for index in range(file.num_row_groups):
            yield file.read_row_group(index, columns=columns)


def read_columns(files: Sequence[Path], columns: Sequence[str]) -> pa.Table:
    """These columns of all rows of several logs parts, in order."""
    tables = [pq.read_table(file, columns=list(columns)) for file in files]
    return pa.concat_tables(tables) if tables else logs_schema().empty_table().select(list(columns))


def vectors_of(table: pa.Table) -> NDArray[np.float32]:
    """The (n, dim) float32 matrix in a table's `vector` column; all lists are of one length."""
    if not table.num_rows:
        return np.zeros((0, 0), np.float32)
    flat = table["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat.reshape(table.num_rows, -1), np.float32)
