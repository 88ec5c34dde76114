"""Word search in the files of a snapshot."""

from __future__ import annotations

import re

import polars as pl

from components.snapshot.read import Snapshot


def rows_with_words(snapshot: Snapshot, query: str, limit: int) -> tuple[list[int], bool]:
    """Rows whose text or filename contains every word of the query, ignoring case; and whether `limit` cut them off."""
    words = query.split()
    if not words or not snapshot.logs_files:
        return [], False
    found = pl.scan_parquet(snapshot.logs_files).select("text", "filename").with_row_index("row")
    for word in words:
        pattern = f"(?i){re.escape(word)}"
        found = found.filter(pl.col("text").str.contains(pattern) | pl.col("filename").str.contains(pattern))
    rows = found.select("row").head(limit + 1).collect(engine="streaming")["row"].to_list()
    return rows[:limit], len(rows) > limit
