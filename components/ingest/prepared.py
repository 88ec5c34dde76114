"""The prepared texts of a corpus as a Parquet file, to be looked at before anything is embedded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from components.atomic import atomic_write, disk_errors
from components.contracts import Record
from components.ingest.years import label_of
from components.settings import TextSettings
from components.text import digest, prepared_text


def write_prepared(
    batches: Iterable[Sequence[Record]], text: TextSettings, path: Path, progress: Callable[[int], None]
) -> int:
    """A row for each record: key, year, text, text_hash, metadata_hash, in the order of the files. Returns how many."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.string()) for name in ("key", "year", "text", "text_hash", "metadata_hash")])
    n_rows = 0
    with (
        disk_errors(path.parent),
        atomic_write(path) as aside,
        pq.ParquetWriter(aside, schema, compression="zstd") as out,
    ):
        for records in batches:
            rows = [_row(record, prepared_text(record, text)) for record in records]
            out.write_table(pa.Table.from_pylist(rows, schema=schema))
            n_rows += len(rows)
            progress(n_rows)
    return n_rows


def _row(record: Record, text: str) -> dict[str, str]:
    return {
        "key": record.key,
        "year": label_of(record.filename),
        "text": text,
        "text_hash": digest(text).hex(),
        "metadata_hash": str(record.extra.get("metadata_hash", "")),
    }
