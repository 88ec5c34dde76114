"""Word search in the files of a snapshot."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.snapshot.read import Snapshot

BATCH_ROWS = 16_384


def rows_with_words(snapshot: Snapshot, query: str, limit: int) -> tuple[list[int], bool]:
    """Rows whose text or filename contains every word of the query, ignoring case; and whether `limit` cut them off."""
    words = query.split()
    rows: list[int] = []
    start = 0
    for file in snapshot.logs_files if words else []:
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(BATCH_ROWS, columns=["text", "filename"]):
                rows.extend((np.flatnonzero(_contains(batch, words)) + start).tolist())
                start += batch.num_rows
                if len(rows) > limit:
                    return rows[:limit], True
    return rows, False


def _contains(batch: pa.RecordBatch, words: Sequence[str]) -> NDArray[np.bool_]:
    found = np.ones(batch.num_rows, np.bool_)
    for word in words:
        pattern = re.escape(word)
        in_text, in_name = (
            pc.match_substring_regex(batch[name], pattern, ignore_case=True) for name in ("text", "filename")
        )
        found &= pc.or_(in_text, in_name).to_numpy(zero_copy_only=False)
    return found
