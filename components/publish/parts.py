"""Writing parts: tables to immutable Parquet files, checked, flushed, and named only when they are complete."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components import arrow
from components.atomic import atomic_write
from components.errors import TerminalError
from components.snapshot.parts import (
    REQUIRED,
    Extras,
    Kind,
    Part,
    embeddings_schema,
    file_sha256,
    logs_schema,
    part_file_name,
    read_row_groups,
    writer_options,
)
from components.store.publications import PartInfo

ROW_GROUP_ROWS = 16_384  # small enough to look one record up, large enough to compress
ROW_GROUP_BYTES = 64 << 20  # of uncompressed values: long texts close a row group early


class BadPart(TerminalError):
    """Rows that must not be published: another schema, a null or a value that is not finite."""


def unique_part_name(first_batch: int, last_batch: int) -> str:
    """A new name for these batches: two indexes never write the same file, even if one has lost its lease."""
    return f"{first_batch:06d}-{last_batch:06d}-{uuid.uuid4().hex[:8]}"


def part_info(part: Part, first_batch: int, last_batch: int) -> PartInfo:
    """The part as the database lists it, holding these batches."""
    return PartInfo(**asdict(part), first_batch=first_batch, last_batch=last_batch)


def part_of(info: PartInfo) -> Part:
    """The part as the manifest lists it."""
    return Part(**{name: getattr(info, name) for name in Part.__slots__})


def write_logs_part(folder: Path, name: str, tables: Iterable[pa.Table], extras: Extras = ()) -> Part:
    """The part with these tables' rows, in their order, synced to disk; no tables give a valid part of 0 rows.

    Raises `BadPart` on a missing column, a null outside of timestamp and extras, or a position that is not finite.
    """
    return _write(folder, "logs", name, tables, logs_schema(extras))


def write_embeddings_part(folder: Path, name: str, tables: Iterable[pa.Table]) -> Part:
    """The part with these tables of `id` and `vector`, synced to disk; values are kept to float16's precision."""
    return _write(folder, "embeddings", name, tables, embeddings_schema())


def merge_parts(kind: Kind, paths: Sequence[Path], folder: Path, name: str) -> Part:
    """One part with the rows of several, in their order. Raises `BadPart` where their columns differ."""
    schemas = [pq.read_schema(path).remove_metadata() for path in paths]
    if any(schema != schemas[0] for schema in schemas):
        raise BadPart(f"Parts of different columns can't be merged: {[schema.names for schema in schemas]}.")
    return _write(folder, kind, name, (table for path in paths for table in read_row_groups(path)), schemas[0])


def _write(folder: Path, kind: Kind, name: str, tables: Iterable[pa.Table], schema: pa.Schema) -> Part:
    rows = 0
    with atomic_write(folder / part_file_name(kind, name)) as aside:
        with pq.ParquetWriter(aside, schema, **writer_options(kind, schema)) as writer:
            for group in _row_groups(tables):
                writer.write_table(_checked(group, kind, schema), row_group_size=ROW_GROUP_ROWS)
                rows += group.num_rows
        digest, size_bytes = file_sha256(aside), aside.stat().st_size
    return Part(kind=kind, name=name, rows=rows, sha256=digest, size_bytes=size_bytes)


def _row_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of a row group's size, so that many small batches don't make many small groups."""
    pending: list[pa.Table] = []
    rows = size_bytes = 0
    for table in tables:
        for start in range(0, table.num_rows, ROW_GROUP_ROWS):
            piece = table.slice(start, ROW_GROUP_ROWS)
            pending.append(piece)
            rows, size_bytes = rows + piece.num_rows, size_bytes + piece.nbytes
            if rows >= ROW_GROUP_ROWS or size_bytes >= ROW_GROUP_BYTES:
                yield pa.concat_tables(pending)
                pending, rows, size_bytes = [], 0, 0
    if pending:
        yield pa.concat_tables(pending)


def _checked(table: pa.Table, kind: Kind, schema: pa.Schema) -> pa.Table:
    """The table in exactly the schema's columns, types and order."""
    missing = set(schema.names) - set(table.column_names)
    if missing:
        raise BadPart(f"A {kind} part needs the columns {', '.join(sorted(missing))}.")
    table = table.select(schema.names).cast(schema)
    for name in ("id", "vector") if kind == "embeddings" else REQUIRED:
        if table[name].null_count:
            raise BadPart(f"Column {name!r} of a {kind} part holds {table[name].null_count} nulls and may hold none.")
    for name in ("projection_x", "projection_y") if kind == "logs" else ():
        if not np.isfinite(arrow.values_of(table[name])).all():
            raise BadPart(f"Column {name!r} holds a position that is not finite; such a record can't be drawn.")
    return _rounded(table) if kind == "embeddings" else table


def _rounded(table: pa.Table) -> pa.Table:
    """Vectors to float16's precision: nothing changes for those that came from the store."""
    column = table["vector"].combine_chunks()
    values = arrow.values_of(column.flatten())
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float16).astype(np.float32)
    if not np.isfinite(rounded).all():
        raise BadPart("A vector holds a value that is not finite.")
    lengths = arrow.values_of(pc.list_value_length(column))
    offsets = np.concatenate([np.zeros(1, np.int32), np.cumsum(lengths, dtype=np.int32)])
    vector = arrow.lists(rounded, offsets, table.schema.field("vector").type)
    return table.set_column(1, table.schema.field("vector"), vector)
