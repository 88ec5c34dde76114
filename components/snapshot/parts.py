"""Parts: the immutable Parquet files that snapshots are made of.

A part of kind `logs` holds records with their places, one of kind `embeddings` their vectors. Everything streams:
memory stays at a few row groups whatever the size of a part.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components import arrow
from components.atomic import replaced
from components.contracts import Places
from components.errors import TerminalError

Kind = Literal["logs", "embeddings"]
Extras = Sequence[tuple[str, pa.DataType]]

ROW_GROUP_ROWS = 16_384  # small enough to look one record up, large enough to compress
ROW_GROUP_BYTES = 64 << 20  # of uncompressed values: long texts close a row group early

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
NULLABLE = {"timestamp"}  # of the columns above; extras may always be null


class BadPart(TerminalError):
    """Rows that must not be published: another schema, a null or a value that is not finite."""


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


def part_file_name(kind: Kind, name: str) -> str:
    """The file that a part lies in, below `parts/`."""
    return f"{kind}-{name}.parquet"


def logs_schema(extras: Extras = ()) -> pa.Schema:
    """Columns of the records, in order; the declared extras follow."""
    return pa.schema([*LOGS_COLUMNS, *extras])


def embeddings_schema() -> pa.Schema:
    """`id` and `vector`, a list of float32."""
    return pa.schema([("id", pa.string()), ("vector", pa.list_(pa.field("element", pa.float32())))])


def embeddings_table(ids: Sequence[str], vectors: NDArray[np.float16]) -> pa.Table:
    """A table of (n, dim) float16 vectors as lists of float32; the widening is the one copy."""
    n, dim = vectors.shape
    offsets = np.arange(n + 1, dtype=np.int32) * np.int32(dim)
    lists = arrow.lists(vectors.astype(np.float32).reshape(-1), offsets, embeddings_schema().field("vector").type)
    return pa.Table.from_arrays([arrow.strings(ids), lists], schema=embeddings_schema())


# --- writing -----------------------------------------------------------------------------------------------------


def write_logs_part(folder: Path, name: str, tables: Iterable[pa.Table], extras: Extras = ()) -> Part:
    """The durable part made of these tables' rows, in their order; no tables give a valid part of 0 rows.

    Raises `BadPart` on a missing column, a null outside of timestamp and extras, or a place that is not finite.
    """
    return _write(folder, "logs", name, tables, logs_schema(extras))


def write_embeddings_part(folder: Path, name: str, tables: Iterable[pa.Table]) -> Part:
    """The durable part made of these tables of `id` and `vector`; values are kept to float16's precision."""
    return _write(folder, "embeddings", name, tables, embeddings_schema())


def _write(folder: Path, kind: Kind, name: str, tables: Iterable[pa.Table], schema: pa.Schema) -> Part:
    path = folder / part_file_name(kind, name)
    rows = 0
    with replaced(path) as aside:
        with pq.ParquetWriter(aside, schema, **writer_options(kind, schema)) as writer:
            for group in _row_groups(tables):
                writer.write_table(_checked(group, kind, schema), row_group_size=ROW_GROUP_ROWS)
                rows += group.num_rows
        digest, size_bytes = file_sha256(aside), aside.stat().st_size
    return Part(kind=kind, name=name, rows=rows, sha256=digest, size_bytes=size_bytes)


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
    repeated = [f.name for f in schema if f.name in {"filename", "type"} or (f.name not in _names() and _is_text(f))]
    return {
        "compression": "zstd",
        "compression_level": 3,
        "use_dictionary": repeated,
        "column_encoding": {
            "projection_x": "BYTE_STREAM_SPLIT",
            "projection_y": "BYTE_STREAM_SPLIT",
            "timestamp": "DELTA_BINARY_PACKED",
            "iteration": "DELTA_BINARY_PACKED",
            "idx_in_iteration": "DELTA_BINARY_PACKED",
        },
        "write_statistics": [f.name for f in schema if f.name != "text"],
    }


def _names() -> set[str]:
    return {name for name, _ in LOGS_COLUMNS}


def _is_text(field: pa.Field) -> bool:
    return bool(pa.types.is_string(field.type))


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _row_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of a row group's size, so that many small batches don't make many small groups."""
    waiting: list[pa.Table] = []
    rows = size_bytes = 0
    for table in tables:
        for piece in _cut(table):
            waiting.append(piece)
            rows, size_bytes = rows + piece.num_rows, size_bytes + piece.nbytes
            if rows >= ROW_GROUP_ROWS or size_bytes >= ROW_GROUP_BYTES:
                yield pa.concat_tables(waiting)
                waiting, rows, size_bytes = [], 0, 0
    if waiting:
        yield pa.concat_tables(waiting)


def _cut(table: pa.Table) -> Iterator[pa.Table]:
    for start in range(0, table.num_rows, ROW_GROUP_ROWS):
        yield table.slice(start, ROW_GROUP_ROWS)


def _checked(table: pa.Table, kind: Kind, schema: pa.Schema) -> pa.Table:
    """The table in exactly the schema's columns, types and order."""
    missing = set(schema.names) - set(table.column_names)
    if missing:
        raise BadPart(f"A {kind} part needs the columns {', '.join(sorted(missing))}.")
    table = table.select(schema.names).cast(schema)
    required = {"id", "vector"} if kind == "embeddings" else _names() - NULLABLE
    for name in required:
        if table[name].null_count:
            raise BadPart(f"Column {name!r} of a {kind} part holds {table[name].null_count} nulls and may hold none.")
    for name in ("projection_x", "projection_y") if kind == "logs" else ():
        if not np.isfinite(arrow.values_of(table[name])).all():
            raise BadPart(f"Column {name!r} holds a place that is not finite; such a record can't be drawn.")
    return _rounded(table) if kind == "embeddings" else table


def _rounded(table: pa.Table) -> pa.Table:
    """Vectors to float16's precision: nothing changes for those that came from the store."""
    lists = table["vector"].combine_chunks()
    values = arrow.values_of(lists.flatten())
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float16).astype(np.float32)
    if not np.isfinite(rounded).all():
        raise BadPart("A vector holds a value that is not finite.")
    lengths = arrow.values_of(pc.list_value_length(lists))
    offsets = np.concatenate([np.zeros(1, np.int32), np.cumsum(lengths, dtype=np.int32)])
    vector = arrow.lists(rounded, offsets, table.schema.field("vector").type)
    return table.set_column(1, table.schema.field("vector"), vector)


# --- rewriting ---------------------------------------------------------------------------------------------------


def read_row_groups(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The row groups of a Parquet file, one at a time."""
    with pq.ParquetFile(path) as file:
        for index in range(file.num_row_groups):
            yield file.read_row_group(index, columns=columns)


def rewrite_positions(old_part: Path, folder: Path, name: str, lookup: Callable[[Sequence[str]], Places]) -> Part:
    """The same records at new places, as a new logs part. `lookup` gives (n, 2) places for n ids, in their order."""
    schema = pq.read_schema(old_part)
    at = schema.get_field_index("projection_x")

    def moved() -> Iterator[pa.Table]:
        for table in read_row_groups(old_part):
            places = np.asarray(lookup(table["id"].to_pylist()), np.float32)
            if places.shape != (table.num_rows, 2):
                raise BadPart(f"{table.num_rows} records were given places of shape {places.shape}.")
            x, y = (pa.array(np.ascontiguousarray(places[:, axis])) for axis in (0, 1))
            yield table.set_column(at, schema.field(at), x).set_column(at + 1, schema.field(at + 1), y)

    return _write(folder, "logs", name, moved(), schema.remove_metadata())


def merge_parts(kind: Kind, paths: Sequence[Path], folder: Path, name: str) -> Part:
    """One part with the rows of several, in their order. Raises `BadPart` where their columns differ."""
    schemas = [pq.read_schema(path).remove_metadata() for path in paths]
    if any(schema != schemas[0] for schema in schemas):
        raise BadPart(f"Parts of different columns can't be merged: {[schema.names for schema in schemas]}.")
    return _write(folder, kind, name, (table for path in paths for table in read_row_groups(path)), schemas[0])


def drop_rows(kind: Kind, old_part: Path, folder: Path, name: str, ids: Collection[str]) -> Part:
    """The part without the records of these ids, as a new one."""
    gone = pa.array(sorted(ids), pa.string())
    kept = (table.filter(pc.invert(pc.is_in(table["id"], gone))) for table in read_row_groups(old_part))
    return _write(folder, kind, name, kept, pq.read_schema(old_part).remove_metadata())


# --- tiers -------------------------------------------------------------------------------------------------------

SMALL_DATASET_ROWS = 5_000  # up to here a dataset is one file of each kind: rewriting it costs a tenth of a second
YOUNG_DATASET_ROWS = 25_000  # up to here it becomes one again whenever an eighth of it, or an eighth file, is new
FAN_IN = 8
MAX_PARTS, CALM_PARTS = 96, 72  # readers slow down beyond some 100 files


def tiers(parts: Sequence[tuple[str, int]], *, part_rows: int = 250_000) -> list[list[str]]:
    """Which parts to merge now: groups of two or more names, each a run of neighbours, to be merged in that order.

    `parts` are (name, rows) of one kind, oldest first. Eight neighbours of a tier (its rows a power of eight) become
    one of the next, as in a log-structured merge tree: each row is rewritten O(log n) times in the life of a
    dataset, and a publication costs what is new.

    >>> tiers([("a", 2_000), ("b", 3)])
    [['a', 'b']]
    >>> tiers([("a", 20_000), ("b", 3)])
    []
    >>> tiers([("a", 200_000), ("b", 1_000), ("c", 1_000)])
    []
    """
    if len(parts) < 2:
        return []
    total = sum(rows for _, rows in parts)
    if total <= min(YOUNG_DATASET_ROWS, part_rows):
        is_due = len(parts) >= FAN_IN or FAN_IN * (total - max(rows for _, rows in parts)) >= total
        return [[name for name, _ in parts]] if total <= SMALL_DATASET_ROWS or is_due else []
    singles = [_Group(names=(name,), rows=rows) for name, rows in parts]
    groups = _calmed(_affordable(_tiered(singles, part_rows), dict(parts), part_rows))
    return [list(group.names) for group in groups if len(group.names) > 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    names: tuple[str, ...]
    rows: int


def _joined(groups: Sequence[_Group]) -> _Group:
    return _Group(names=tuple(n for group in groups for n in group.names), rows=sum(group.rows for group in groups))


def _tiered(groups: list[_Group], part_rows: int) -> list[_Group]:
    """Merges until no tier holds eight neighbours that fit together."""
    while True:
        for start, end in _runs([_tier(group.rows, part_rows) for group in groups]):
            packed = _packed(groups[start:end], part_rows) if end - start >= FAN_IN else groups[start:end]
            if len(packed) < end - start:
                groups = [*groups[:start], *packed, *groups[end:]]
                break
        else:
            return groups


def _tier(rows: int, part_rows: int) -> int:
    """0 below 1,024 rows, then one more for each factor of eight; -1 for a part that is full."""
    if 2 * rows > part_rows:
        return -1
    return max(0, int(math.log(max(rows, 1) / 1_024, FAN_IN)) + 1) if rows >= 1_024 else 0


def _runs(levels: Sequence[int]) -> list[tuple[int, int]]:
    """Stretches of neighbours of a tier, newest first; a small part before a larger one counts as the larger."""
    runs: list[tuple[int, int]] = []
    end, level = len(levels), 0
    for at in range(len(levels) - 1, -1, -1):
        if levels[at] == -1 or levels[at] > level:
            runs.append((at + 1, end))
            end, level = (at, 0) if levels[at] == -1 else (at + 1, levels[at])
    return [run for run in [*runs, (0, end)] if run[1] > run[0]]


def _packed(groups: Sequence[_Group], part_rows: int) -> list[_Group]:
    """Neighbours put together, none above `part_rows`."""
    packed: list[_Group] = []
    for group in groups:
        if packed and packed[-1].rows + group.rows <= part_rows:
            packed[-1] = _joined([packed[-1], group])
        else:
            packed.append(group)
    return packed


def _affordable(groups: list[_Group], rows_of: dict[str, int], part_rows: int) -> list[_Group]:
    """At most a full part's rows are merged at once, smallest groups first; what is left over waits its turn."""
    merged = sorted((group for group in groups if len(group.names) > 1), key=lambda group: group.rows)
    spent = 0
    kept: set[tuple[str, ...]] = set()
    for group in merged:
        spent += group.rows
        if not kept or spent <= part_rows:
            kept.add(group.names)
    return [
        one
        for group in groups
        for one in (
            [group] if group.names in kept else [_Group(names=(name,), rows=rows_of[name]) for name in group.names]
        )
    ]


def _calmed(groups: list[_Group]) -> list[_Group]:
    """Where there are too many parts the smallest neighbours are put together, whatever their size, with some slack."""
    if len(groups) <= MAX_PARTS:
        return groups
    while len(groups) > CALM_PARTS:
        at = min(range(len(groups) - 1), key=lambda i: groups[i].rows + groups[i + 1].rows)
        groups = [*groups[:at], _joined(groups[at : at + 2]), *groups[at + 2 :]]
    return groups
