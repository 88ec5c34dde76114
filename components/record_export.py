"""Chosen records as CSV, JSON Lines, Parquet or a list of ids, written while they are read."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from components.contracts import NO_TOPIC, in_batches
from components.store import Store
from components.survey.formulas import guarded

Format = Literal["csv", "jsonl", "parquet", "ids"]
ROWS: Final = 500  # read at once
PLAIN: Final = ("id", "timestamp", "filename", "iteration", "idx_in_iteration", "type", "text")
NAMED: Final = ("run", "tool", "model", "project", "outcome", "score", "tokens", "cost")  # of `extra`, as columns
COLUMNS: Final = (*PLAIN, "topic", "tags", *NAMED, "extra")
SCHEMA: Final = pa.schema(
    [
        ("timestamp", pa.timestamp("us", "UTC"))
        if name == "timestamp"
        else (name, pa.int32())
        if name in {"iteration", "idx_in_iteration", "topic"}
        else (name, pa.list_(pa.string()))
        if name == "tags"
        else (name, pa.float64())
        if name in {"score", "tokens", "cost"}
        else (name, pa.string())
        for name in COLUMNS
    ]
)

TopicsOf = Callable[[Sequence[str]], Sequence[int]]  # topic of each id, -1 for none


def export_rows(
    store: Store, dataset_id: int, ids: Sequence[str], topics_of: TopicsOf
) -> Iterator[list[dict[str, Any]]]:
    """The records in batches, in the order of their ids; those that the store does not have any more are left out."""
    for chunk in in_batches(ids, ROWS):
        found = {stored.record.id: stored.record for stored in store.records.by_ids(dataset_id, chunk)}
        tags = store.tags.of_records(dataset_id, chunk)
        batch = []
        for id, topic in zip(chunk, topics_of(chunk), strict=True):
            if record := found.get(id):
                plain = {name: getattr(record, name) for name in PLAIN}
                named = {name: record.extra.get(name) for name in NAMED}
                own = [tag.tag for tag in tags.get(id, ())]
                batch.append({**plain, "topic": topic, "tags": own, **named, "extra": record.extra})
        yield batch


def blocks(batches: Iterator[list[dict[str, Any]]], format: Literal["csv", "jsonl", "ids"]) -> Iterator[bytes]:
    """The file in blocks. In CSV, cells that a spreadsheet would run as formulas come behind a `'`."""
    if format == "csv":
        yield _csv([COLUMNS])
    for batch in batches:
        if format == "csv":
            yield _csv([[_cell(name, row[name]) for name in COLUMNS] for row in batch])
        elif format == "jsonl":
            yield b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE, default=str) for row in batch)
        else:
            yield "".join(f"{row['id']}\n" for row in batch).encode()


def write_parquet(batches: Iterator[list[dict[str, Any]]], target: Path) -> None:
    """The file, a row group a batch."""
    with pq.ParquetWriter(target, SCHEMA, compression="zstd") as writer:
        for batch in batches:
            rows = [{**row, **_typed(row)} for row in batch]
            writer.write_table(pa.Table.from_pylist(rows, SCHEMA))


def _typed(row: Mapping[str, Any]) -> dict[str, Any]:
    """The values of `extra` as the columns of Parquet need them."""
    texts = {
        name: value
        if isinstance(value := row[name], str) or value is None
        else orjson.dumps(value, default=str).decode()
        for name in ("run", "tool", "model", "project", "outcome", "extra")
    }
    return {**texts, **{name: _number(row[name]) for name in ("score", "tokens", "cost")}}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _csv(rows: Sequence[Sequence[str]]) -> bytes:
    block = io.StringIO(newline="")
    csv.writer(block).writerows(rows)
    return block.getvalue().encode("utf-8", "replace")


def _cell(name: str, value: Any) -> str:
    if value is None or (name == "topic" and value == NO_TOPIC):
        return ""
    if name == "tags":
        return guarded(", ".join(value))
    if name == "timestamp":
        return str(value.isoformat())
    return guarded(value if isinstance(value, str) else orjson.dumps(value, default=str).decode())
