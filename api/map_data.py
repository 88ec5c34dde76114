"""A snapshot as the map page needs it: columns to draw, legends, time axis, and lookups by row."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.problems import Problem
from components.contracts import NO_TOPIC, NO_TOPIC_LABEL
from components.snapshot.read import Snapshot, map_columns, new_since, read_topics, topic_column
from components.snapshot.row_index import RowIndex, row_index

max_groups = 12  # colours that a person can distinguish
max_types = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Legend:
    """A code per row (n,) uint8, and what the codes mean: names with their counts, most frequent first."""

    codes: NDArray[np.uint8]
    names: Sequence[str]
    counts: Sequence[int]

    def entries(self) -> list[dict[str, Any]]:
        """Name and count of each code."""
        return [{"name": name, "count": n} for name, n in zip(self.names, self.counts, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeAxis:
    """`start` in seconds since 1970; `seconds` (n,) float32 after it, -1 for a record without a time."""

    start: float
    span: float
    missing: int
    seconds: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class MapData:
    """One snapshot, ready to draw; columns are (n,), rows in the snapshot's order."""

    snapshot: Snapshot
    x: NDArray[np.float32]
    y: NDArray[np.float32]
    ids: NDArray[np.bytes_]
    filenames: Sequence[str]
    filename: NDArray[np.int32]
    iteration: NDArray[np.int32]
    idx_in_iteration: NDArray[np.int32]
    types: Legend
    sources: Legend
    topics: Legend
    topic: NDArray[np.int32]  # id, -1 for none
    time: TimeAxis
    seconds: NDArray[np.float64]  # since 1970, NaN for a record without a time
    index: RowIndex
    fresh: NDArray[np.uint8]
    since: int | None  # the number of the previous snapshot, unless it was removed

    @property
    def rows(self) -> int:
        """Number of records."""
        return len(self.x)

    @property
    def version(self) -> str:
        """See `version_of`."""
        return version_of(self.snapshot)


def version_of(snapshot: Snapshot) -> str:
    """Identifies a snapshot, also after its dataset was deleted and created again (numbers restart, times do not)."""
    return f"{snapshot.number}-{int(snapshot.manifest.created.timestamp() * 1000):x}"


def read_map(snapshot: Snapshot, previous: Snapshot | None) -> MapData:
    """The map of `snapshot`; records that are not in the `previous` one are marked as fresh."""
    columns = map_columns(snapshot)
    filenames = list(columns["filenames"])
    codes = np.asarray(columns["filename"], np.int32)
    ids, seconds = columns["ids"], np.asarray(columns["timestamp"], np.float64)
    topic = topic_column(snapshot)
    packed_ids = np.array(ids, dtype="S32")
    return MapData(
        snapshot=snapshot,
        x=np.ascontiguousarray(columns["x"], np.float32),
        y=np.ascontiguousarray(columns["y"], np.float32),
        ids=packed_ids,
        filenames=filenames,
        filename=codes,
        iteration=np.asarray(columns["iteration"], np.int32),
        idx_in_iteration=np.asarray(columns["idx_in_iteration"], np.int32),
        types=legend(np.asarray(columns["type"], np.int32), list(columns["types"]), max_types),
        sources=source_legend(codes, filenames),
        topics=topic_legend(topic, read_topics(snapshot)),
        topic=topic,
        time=time_axis(seconds),
        seconds=seconds,
        index=row_index(packed_ids),
        fresh=new_since(previous, list(ids)).astype(np.uint8),
        since=previous.number if previous else None,
    )


def legend(codes: NDArray[np.int32], names: Sequence[str], most: int) -> Legend:
    """A legend of at most `most` names: the first ones, and `other` for the rest."""
    is_cut = len(names) > most
    kept = [*names[: most - 1], "other"] if is_cut else list(names)
    small = np.minimum(codes, most - 1).astype(np.uint8)
    counts = np.bincount(small, minlength=len(kept)).tolist()
    return Legend(codes=small, names=kept, counts=counts)


def source_legend(codes: NDArray[np.int32], filenames: Sequence[str]) -> Legend:
    """Rows by source: by file if there are few, else by leading folders."""
    groups = source_groups(filenames)
    names = sorted(set(groups))
    index = {name: i for i, name in enumerate(names)}
    by_file = np.array([index[group] for group in groups], np.int32)
    wide = by_file[codes] if len(codes) else np.zeros(0, np.int32)
    counts = np.bincount(wide, minlength=len(names))
    order = np.argsort(-counts, kind="stable")
    rank = np.empty(len(names), np.int32)
    rank[order] = np.arange(len(names), dtype=np.int32)
    return legend(rank[wide] if names else wide, [names[i] for i in order], max_groups)


def topic_legend(topics: NDArray[np.int32], known: Sequence[Mapping[str, Any]]) -> Legend:
    """Rows by topic, or by the finest level of groups of topics that colours can show; records without a topic last."""
    parents = {topic["id"]: topic["parent"] for topic in known}
    names = {topic["id"]: topic["name"] for topic in known}
    active = [topic for topic in known if topic["state"] == "active"]
    levels = sorted({topic["level"] for topic in active}, reverse=True)
    fitting = [level for level in levels if sum(one["level"] == level for one in active) < max_groups]
    shown = {topic["id"] for topic in active if topic["level"] == (fitting or levels[-1:] or [0])[0]}
    own, inverse = np.unique(topics, return_inverse=True)
    groups = np.array([_ancestor(int(topic), shown, parents) for topic in own], np.int64)[inverse]
    ids, counts = np.unique(groups, return_counts=True)
    order = sorted(range(len(ids)), key=lambda at: (ids[at] == NO_TOPIC, -counts[at], ids[at]))
    rank = np.empty(len(ids), np.int32)
    rank[order] = np.arange(len(ids), dtype=np.int32)
    listed = [NO_TOPIC_LABEL if ids[at] == NO_TOPIC else names[int(ids[at])] for at in order]
    return legend(rank[np.searchsorted(ids, groups)], listed, max_types)


def _ancestor(topic: int, shown: Collection[int], parents: Mapping[int, int]) -> int:
    """The topic or group that is shown for a topic, -1 if there is none."""
    while topic in parents and topic not in shown:
        topic = parents[topic]
    return topic if topic in shown else NO_TOPIC


def source_groups(filenames: Sequence[str]) -> list[str]:
    """A group per filename: the file without its run, or as many leading folders as give at most `max_groups` groups.

    >>> source_groups(["a/1.jsonl#x", "a/1.jsonl#y", "b/2.jsonl"])
    ['a/1.jsonl', 'a/1.jsonl', 'b/2.jsonl']
    """
    files = [name.split("#", 1)[0].split("/") for name in filenames]
    best = ["/".join(parts[:1]) for parts in files]
    for depth in range(1, max((len(parts) for parts in files), default=0) + 1):
        groups = ["/".join(parts[:depth]) for parts in files]
        if len(set(groups)) > max_groups:
            break
        best = groups
    return best


def time_axis(seconds: NDArray[np.float64]) -> TimeAxis:
    """Times from the first to the last, without outliers (one in a thousand), which would stretch the axis."""
    known = seconds[~np.isnan(seconds)]
    if not len(known):
        return TimeAxis(start=0.0, span=0.0, missing=len(seconds), seconds=np.full(len(seconds), -1, np.float32))
    outliers = 0.001 if len(known) >= 1_000 else 0.0
    start, end = np.quantile(known, [outliers, 1 - outliers])
    after = np.clip(seconds - start, 0.0, end - start)
    return TimeAxis(
        start=float(start),
        span=float(end - start),
        missing=len(seconds) - len(known),
        seconds=np.where(np.isnan(after), -1.0, after).astype(np.float32),
    )


def rows_of_run(data: MapData, row: int) -> list[int]:
    """Rows of the run that this row belongs to, in chronological order."""
    rows = np.flatnonzero(data.filename == data.filename[row])
    order = np.lexsort((data.time.seconds[rows], data.idx_in_iteration[rows], data.iteration[rows]))
    return [int(i) for i in rows[order]]


def row_of(data: MapData, id: str) -> int:
    """The row of the record with this id. Raises `Problem` 404."""
    (found,) = data.index.rows_of([id]).tolist()
    if found < 0:
        raise Problem(404, "unknown-record", f"Snapshot {data.snapshot.number} has no record {id!r}.")
    return int(found)


def rows_of(data: MapData, ids: Sequence[str]) -> list[int]:
    """The rows of the records with these ids, in their order; ids that the snapshot does not have are left out."""
    rows = data.index.rows_of(ids)
    return [int(row) for row in rows[rows >= 0]]


def rows_in_files(data: MapData, part: str) -> list[int]:
    """The rows of files whose name contains this, ignoring case."""
    wanted = part.strip().lower()
    files = [at for at, name in enumerate(data.filenames) if wanted and wanted in name.lower()]
    return [int(row) for row in np.flatnonzero(np.isin(data.filename, files))]
