"""A snapshot as two plain Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.atomic import atomic_write
from components.snapshot.parts import Kind, embeddings_schema, logs_schema, read_row_groups, writer_options
from components.snapshot.read import Snapshot


def export(snapshot: Snapshot, to: Path) -> list[Path]:
    """The files `logs.parquet` and `embeddings.parquet` in folder `to`; each appears whole or not at all."""
    return [
        _export(snapshot.logs_files, "logs", logs_schema(), to / "logs.parquet"),
        _export(snapshot.embeddings_files, "embeddings", embeddings_schema(), to / "embeddings.parquet"),
    ]


def _export(files: Sequence[Path], kind: Kind, empty: pa.Schema, target: Path) -> Path:
    schema = pq.read_schema(files[0]) if files else empty
    with atomic_write(target) as aside, pq.ParquetWriter(aside, schema, **writer_options(kind, schema)) as writer:
        for file in files:
            for table in read_row_groups(file):
                writer.write_table(table)
    return target
