"""Snapshots as their readers see them: opened, compared with the one before, looked into.

A reader resolves `current` once and then holds one consistent pair of outputs for as long as it likes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.contracts import NO_TOPIC
from components.errors import NotFound
from components.snapshot.manifest import (
    CURRENT,
    LABELS,
    MANIFEST,
    POINTER,
    TOPICS,
    Label,
    Manifest,
    manifest_from_json,
    snapshot_name,
)
from components.snapshot.parts import read_columns

MAP_COLUMNS = ("id", "timestamp", "filename", "iteration", "idx_in_iteration", "type", "projection_x", "projection_y")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One published, immutable pair of outputs; `path` holds no symbolic link."""

    path: Path
    manifest: Manifest

    @property
    def number(self) -> int:
        """Counts up from 1 with each publication of the dataset."""
        return self.manifest.snapshot

    @property
    def logs_files(self) -> list[Path]:
        """Files of the records, in the order of their rows."""
        return sorted((self.path / "logs").glob("*.parquet"))

    @property
    def embeddings_files(self) -> list[Path]:
        """Files of the vectors."""
        return sorted((self.path / "embeddings").glob("*.parquet"))

    @property
    def topics_file(self) -> Path:
        """The file of the topics."""
        return self.path / TOPICS

    @property
    def labels_file(self) -> Path:
        """The file of the region names."""
        return self.path / LABELS


# --- opening -----------------------------------------------------------------------------------------------------


def current_number(output: Path) -> int | None:
    """The number of the newest snapshot of the dataset whose folder this is; None before the first."""
    for read in (_linked, _pointed):
        with suppress(OSError, ValueError):
            return int(read(output))
    return None


def _linked(output: Path) -> str:
    return (output / CURRENT).readlink().name


def _pointed(output: Path) -> str:
    return (output / POINTER).read_text("utf-8").strip()


def open_snapshot(output: Path) -> Snapshot:
    """The newest snapshot of the dataset whose folder this is. Raises `NotFound` before the first."""
    for _ in range(5):  # the snapshot may be cleaned away between the two reads; then there is a newer one
        number = current_number(output)
        if number is None:
            break
        try:
            return snapshot_at(output.resolve() / "snapshots" / snapshot_name(number))
        except FileNotFoundError:
            continue
    raise NotFound(f"Nothing has been published for dataset {output.name!r} yet; `runatlas index` does it.")


def snapshot_at(path: Path) -> Snapshot:
    """The snapshot in this folder. Raises `FileNotFoundError` where there is none."""
    return Snapshot(path=path, manifest=manifest_from_json((path / MANIFEST).read_bytes()))


# --- what is new since the one before ----------------------------------------------------------------------------


def previous_snapshot(snapshot: Snapshot) -> Snapshot | None:
    """The newest snapshot of the dataset with a lower number that has not been removed yet."""
    folders = {int(path.name): path for path in snapshot.path.parent.iterdir() if path.name.isdigit()}
    for number in sorted(folders, reverse=True):
        if number < snapshot.number:
            with suppress(OSError):  # it was removed just now
                return snapshot_at(folders[number])
    return None


def new_since(previous: Snapshot | None, ids: Sequence[str]) -> NDArray[np.bool_]:
    """Which of the records (n,) the previous snapshot does not hold; none of them where there is no such snapshot."""
    if previous is None:
        return np.zeros(len(ids), np.bool_)
    import pyarrow.compute as pc  # a twentieth of what a search command imports, which needs none of it

    known = read_columns(previous.logs_files, ["id"])["id"].combine_chunks()
    is_known = pc.is_in(pa.array(ids, pa.string()), value_set=known)
    return np.asarray(~is_known.to_numpy(zero_copy_only=False), np.bool_)


# --- looking into one --------------------------------------------------------------------------------------------


def read_labels(snapshot: Snapshot) -> list[Label]:
    """Names of the map's regions; [] where their file is missing."""
    if not snapshot.labels_file.exists():
        return []
    return [Label(**row) for row in pq.read_table(snapshot.labels_file, columns=list(Label.__slots__)).to_pylist()]


def read_topics(snapshot: Snapshot) -> list[dict[str, Any]]:
    """The rows of `topics.parquet`; [] for a snapshot from before there were topics."""
    if not snapshot.topics_file.exists():
        return []
    return list(pq.read_table(snapshot.topics_file).to_pylist())


def topic_column(snapshot: Snapshot) -> NDArray[np.int32]:
    """The topic of each record (rows,), -1 for none."""
    has_topics = all("topic" in pq.read_schema(file).names for file in snapshot.logs_files)
    if not has_topics:
        return np.full(snapshot.manifest.rows, NO_TOPIC, np.int32)
    topics = [pq.read_table(file, columns=["topic"])["topic"].to_numpy() for file in snapshot.logs_files]
    return np.concatenate([np.empty(0, np.int32), *topics])


def topics_within(topics: Sequence[Mapping[str, Any]], wanted: Collection[int]) -> set[int]:
    """The ids of these topics and groups, and of all topics and groups within them; `NO_TOPIC` stands for itself alone.

    Raises `NotFound` for an id that is none of a topic.
    """
    unknown = sorted(set(wanted) - {NO_TOPIC} - {topic["id"] for topic in topics})
    if unknown:
        raise NotFound(f"There is no topic {unknown[0]} in the newest snapshot; `runatlas topics` lists them.")
    found = set(wanted) - {NO_TOPIC}  # which is also the parent of the outermost groups
    for topic in sorted(topics, key=lambda one: one["level"]):  # groups before what is in them
        if topic["parent"] in found:
            found.add(topic["id"])
    return found | set(wanted)


def map_columns(snapshot: Snapshot) -> dict[str, NDArray[Any] | list[str]]:
    """What a page needs to draw the map, a value a row, rows in the snapshot's order.

    `x`, `y` float32; `timestamp` float64 seconds since 1970, NaN where the log has none; `type` and `filename`
    int32 codes into the lists `types` and `filenames`, the most frequent first; `iteration`, `idx_in_iteration`
    int32; `ids` a list of strings.
    """
    table = read_columns(snapshot.logs_files, MAP_COLUMNS)
    seconds = table["timestamp"].cast(pa.int64()).to_numpy().astype(np.float64) / 1e6
    types, type_codes = _codes(table["type"])
    filenames, filename_codes = _codes(table["filename"])
    return {
        "x": table["projection_x"].to_numpy(),
        "y": table["projection_y"].to_numpy(),
        "timestamp": seconds,
        "type": type_codes,
        "types": types,
        "filename": filename_codes,
        "filenames": filenames,
        "iteration": table["iteration"].to_numpy(),
        "idx_in_iteration": table["idx_in_iteration"].to_numpy(),
        "ids": table["id"].to_pylist(),
    }


def _codes(column: pa.ChunkedArray) -> tuple[list[str], NDArray[np.int32]]:
    import pyarrow.compute as pc

    counts = pc.value_counts(column.combine_chunks())
    names, numbers = counts.field("values").to_pylist(), counts.field("counts").to_numpy()
    ordered = [names[i] for i in sorted(range(len(names)), key=lambda i: (-numbers[i], names[i]))]
    return ordered, pc.index_in(column, pa.array(ordered, pa.string())).to_numpy().astype(np.int32)


def records_at(snapshot: Snapshot, rows: Sequence[int]) -> list[dict[str, Any]]:
    """The records at these row numbers, in the requested order; only the row groups that hold them are read.

    Raises `NotFound` for a row that the snapshot does not have.
    """
    found: dict[int, dict[str, Any]] = {}
    wanted = np.unique(np.asarray(rows, np.int64))
    start = 0
    for file in snapshot.logs_files:
        with pq.ParquetFile(file) as parquet:
            for group in range(parquet.num_row_groups):
                end = start + parquet.metadata.row_group(group).num_rows
                inside = wanted[(wanted >= start) & (wanted < end)]
                if len(inside):
                    taken = parquet.read_row_group(group).take(pa.array(inside - start)).to_pylist()
                    found.update(zip(inside.tolist(), taken, strict=True))
                start = end
    missing = [row for row in rows if row not in found]
    if missing:
        raise NotFound(f"Snapshot {snapshot.number} has {start} rows; row {missing[0]} was asked for.")
    return [found[row] for row in rows]
