"""Which rows of a snapshot the filters of a search accept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from components.errors import NotFound
from components.search.filters import Filters
from components.snapshot.manifest import snapshot_name
from components.snapshot.read import Snapshot, new_since, read_topics, snapshot_at, topic_column, topics_within
from components.store import Store

if TYPE_CHECKING:  # 0.2 s that searches without filters do not need
    import polars as pl


def accepted_rows(store: Store, dataset_id: int, snapshot: Snapshot, filters: Filters) -> NDArray[np.bool_]:
    """Which rows of the snapshot the filters accept (rows,). Raises what `matching_rows` raises."""
    return matching_rows(snapshot, filters, _ids_in_store(store, dataset_id, filters))


def _ids_in_store(store: Store, dataset_id: int, filters: Filters) -> list[str] | None:
    """Ids of the records that have all wanted extra fields and one of the tags; None if neither is wanted."""
    found = set(store.tags.ids(dataset_id, filters.tag)) if filters.tag else None
    for name, values in filters.extra.items():
        ids = set(store.records.ids_with_extra(dataset_id, name, values))
        found = ids if found is None else found & ids
    return None if found is None else sorted(found)


def matching_rows(snapshot: Snapshot, filters: Filters, ids_in_store: Sequence[str] | None) -> NDArray[np.bool_]:
    """Which rows of the snapshot the filters accept, (rows,).

    `ids_in_store` are the ids of the records whose extra fields and tags match, None without such filters. Raises
    `NotFound` if the snapshot of `new_since` no longer exists.
    """
    import polars as pl

    frame = pl.scan_parquet(snapshot.logs_files).select("id", "type", "filename", "timestamp")
    accepted = pl.lit(True)
    if filters.type:
        accepted &= pl.col("type").is_in(list(filters.type))
    if filters.run:
        accepted &= pl.col("filename").is_in(list(filters.run))
    if filters.filename:
        accepted &= pl.col("filename").is_in(_matching_names(frame, filters.filename))
    if filters.since:
        accepted &= pl.col("timestamp") >= pl.lit(_in_utc(filters.since))
    if filters.until:
        accepted &= pl.col("timestamp") < pl.lit(_in_utc(filters.until))
    if ids_in_store is not None:
        accepted &= pl.col("id").is_in(list(ids_in_store))
    found = frame.select("id", accepted.fill_null(value=False).alias("accepted")).collect()
    rows = found["accepted"].to_numpy()
    if filters.topic:
        rows = rows & np.isin(topic_column(snapshot), list(topics_within(read_topics(snapshot), filters.topic)))
    if filters.new_since is not None:
        rows = rows & new_since(_snapshot(snapshot, filters.new_since), found["id"].to_list())
    return np.asarray(rows, np.bool_)


def _in_utc(time: datetime) -> datetime:
    """The time in UTC, which a time without a zone is taken to be in."""
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError:  # beyond the years 1 and 9999
        return datetime.min.replace(tzinfo=UTC) if time.year == 1 else datetime.max.replace(tzinfo=UTC)


def _matching_names(frame: pl.LazyFrame, globs: Sequence[str]) -> list[str]:
    names = frame.select("filename").unique().collect()["filename"].to_list()
    return [name for name in names if any(fnmatchcase(name, glob) for glob in globs)]


def _snapshot(snapshot: Snapshot, number: int) -> Snapshot:
    folder = snapshot.path.parent / snapshot_name(number)
    try:
        return snapshot_at(folder)
    except OSError as error:
        raise NotFound(f"Snapshot {number} of this dataset does not exist, or has been removed.") from error
