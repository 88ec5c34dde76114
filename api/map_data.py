"""What the light page asks of a snapshot: points to draw, names to show, records and runs to look into."""

from __future__ import annotations

import gzip
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from api.problems import Problem
from components.atomic import atomic_write
from components.snapshot.manifest import snapshot_name
from components.snapshot.read import (
    Snapshot,
    current_number,
    map_columns,
    new_since,
    open_snapshot,
    previous_snapshot,
    read_labels,
    snapshot_at,
)

max_groups = 12  # colours that a person can tell apart
max_types = 24
max_labels = 400
max_found = 20_000
kept_in_memory = 4  # snapshots

Column = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Legend:
    """A code per row (n,) uint8, and what the codes mean: names with their counts, the most frequent first."""

    codes: NDArray[np.uint8]
    names: Sequence[str]
    counts: Sequence[int]

    def entries(self) -> list[dict[str, Any]]:
        return [{"name": name, "count": n} for name, n in zip(self.names, self.counts, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeAxis:
    """`start` in seconds since 1970; `seconds` (n,) float32 after it, -1 where the log has no time."""

    start: float
    span: float
    missing: int
    seconds: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class MapData:
    """One snapshot, ready to be drawn; columns are (n,), rows in the snapshot's order."""

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
    time: TimeAxis
    fresh: NDArray[np.uint8]
    since: int | None  # the snapshot before, where it is still there

    @property
    def rows(self) -> int:
        return len(self.x)

    @property
    def version(self) -> str:
        return version_of(self.snapshot)


def version_of(snapshot: Snapshot) -> str:
    """Names this very snapshot, also among those of a dataset that was begun anew."""
    return f"{snapshot.number}-{int(snapshot.manifest.created.timestamp() * 1000):x}"


# --- making it -----------------------------------------------------------------------------------------------------


def read_map(snapshot: Snapshot, before: Snapshot | None) -> MapData:
    """The map of `snapshot`; what is not in the snapshot `before` counts as fresh."""
    columns = map_columns(snapshot)
    filenames = list(columns["filenames"])
    codes = np.asarray(columns["filename"], np.int32)
    ids = columns["ids"]
    return MapData(
        snapshot=snapshot,
        x=np.ascontiguousarray(columns["x"], np.float32),
        y=np.ascontiguousarray(columns["y"], np.float32),
        ids=np.array(ids, dtype="S32"),
        filenames=filenames,
        filename=codes,
        iteration=np.asarray(columns["iteration"], np.int32),
        idx_in_iteration=np.asarray(columns["idx_in_iteration"], np.int32),
        types=legend(np.asarray(columns["type"], np.int32), list(columns["types"]), max_types),
        sources=source_legend(codes, filenames),
        time=time_axis(np.asarray(columns["timestamp"], np.float64)),
        fresh=new_since(before, list(ids)).astype(np.uint8),
        since=before.number if before else None,
    )


def legend(codes: NDArray[np.int32], names: Sequence[str], most: int) -> Legend:
    """The `most` first names keep their own code, all others share the name `other`."""
    is_cut = len(names) > most
    kept = [*names[: most - 1], "other"] if is_cut else list(names)
    small = np.minimum(codes, most - 1).astype(np.uint8)
    counts = np.bincount(small, minlength=len(kept)).tolist()
    return Legend(codes=small, names=kept, counts=counts)


def source_legend(codes: NDArray[np.int32], filenames: Sequence[str]) -> Legend:
    """Rows by where they come from: by file while there are few, else by the folders that part them best."""
    groups = source_groups(filenames)
    names = sorted(set(groups))
    place = {name: i for i, name in enumerate(names)}
    by_file = np.array([place[group] for group in groups], np.int32)
    wide = by_file[codes] if len(codes) else np.zeros(0, np.int32)
    counts = np.bincount(wide, minlength=len(names))
    order = np.argsort(-counts, kind="stable")
    rank = np.empty(len(names), np.int32)
    rank[order] = np.arange(len(names), dtype=np.int32)
    return legend(rank[wide] if names else wide, [names[i] for i in order], max_groups)


def source_groups(filenames: Sequence[str]) -> list[str]:
    """A group per filename: the file without its run, or so many leading folders that few groups remain.

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
    """Times from the first to the last; one absurd clock among a thousand does not stretch the axis."""
    known = seconds[~np.isnan(seconds)]
    if not len(known):
        return TimeAxis(start=0.0, span=0.0, missing=len(seconds), seconds=np.full(len(seconds), -1, np.float32))
    strays = 0.001 if len(known) >= 1_000 else 0.0
    start, end = np.quantile(known, [strays, 1 - strays])
    after = np.clip(seconds - start, 0.0, end - start)
    return TimeAxis(
        start=float(start),
        span=float(end - start),
        missing=len(seconds) - len(known),
        seconds=np.where(np.isnan(after), -1.0, after).astype(np.float32),
    )


# --- what the page is told -----------------------------------------------------------------------------------------

drawn = ("x", "y", "time", "type", "source", "fresh")


def columns_of(data: MapData) -> dict[str, Column]:
    """The columns that the page draws, in the order of the binary."""
    return {
        "x": data.x,
        "y": data.y,
        "time": data.time.seconds,
        "type": data.types.codes,
        "source": data.sources.codes,
        "fresh": data.fresh,
    }


def packed(data: MapData) -> bytes:
    """All columns one after the other, little-endian, each beginning at a multiple of four bytes; gzip."""
    parts = []
    for column in columns_of(data).values():
        raw = column.astype(column.dtype.newbyteorder("<"), copy=False).tobytes()
        parts.append(raw + bytes(-len(raw) % 4))
    return gzip.compress(b"".join(parts), compresslevel=1, mtime=0)


def places_in(data: MapData) -> list[dict[str, Any]]:
    """Where each column begins in the unpacked binary."""
    places, offset = [], 0
    for name, column in columns_of(data).items():
        places.append({"name": name, "type": f"{column.dtype.kind}{column.dtype.itemsize}", "offset": offset})
        offset += column.nbytes + (-column.nbytes % 4)
    return places


def summary(data: MapData) -> dict[str, Any]:
    """`snapshot.json`: all that the page needs before it draws."""
    time = data.time
    return {
        "dataset": data.snapshot.manifest.dataset,
        "snapshot": data.snapshot.number,
        "version": data.version,
        "layout": data.snapshot.manifest.layout,
        "created": data.snapshot.manifest.created,
        "rows": data.rows,
        "bounds": bounds(data.x, data.y),
        "types": data.types.entries(),
        "sources": data.sources.entries(),
        "clusters": [],
        "time": {"min": time.start, "span": time.span, "missing": time.missing},
        "fresh": int(data.fresh.sum()),
        "since": data.since,
        "labels": labels(data.snapshot),
        "points": {
            "url": f"points.bin?snapshot={data.snapshot.number}&v={data.version}",
            "columns": places_in(data),
        },
    }


def bounds(x: Column, y: Column) -> list[float]:
    """Left, bottom, right, top of nearly all points, with a little room around."""
    if not len(x):
        return [-1.0, -1.0, 1.0, 1.0]
    strays = 0.001 if len(x) >= 1_000 else 0.0
    (left, right), (bottom, top) = (np.quantile(axis, [strays, 1 - strays]) for axis in (x, y))
    room = 0.03 * max(right - left, top - bottom) or 1.0
    return [float(left - room), float(bottom - room), float(right + room), float(top + room)]


def labels(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Names of regions, coarse ones first, the most important first."""
    rows = [asdict(label) for label in read_labels(snapshot)]
    return sorted(rows, key=lambda row: (row["level"], -row["priority"]))[:max_labels]


def rows_of_run(data: MapData, row: int) -> list[int]:
    """Rows of the run that this row belongs to, in the order in which they happened."""
    rows = np.flatnonzero(data.filename == data.filename[row])
    order = np.lexsort((data.idx_in_iteration[rows], data.iteration[rows]))
    return [int(i) for i in rows[order]]


def row_of(data: MapData, id: str) -> int:
    """The row of the record with this id. Raises `Problem` 404."""
    found = np.flatnonzero(data.ids == id.encode("ascii", "replace"))
    if not len(found):
        raise Problem(404, "unknown-record", f"Snapshot {data.snapshot.number} has no record {id!r}.")
    return int(found[0])


def rows_with_words(snapshot: Snapshot, query: str) -> tuple[list[int], bool]:
    """Rows whose text or filename holds every word of the query, whatever the case; and whether there were more."""
    words = query.split()
    rows: list[int] = []
    start = 0
    for file in snapshot.logs_files if words else []:
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(16_384, columns=["text", "filename"]):
                rows.extend((np.flatnonzero(_holds(batch, words)) + start).tolist())
                start += batch.num_rows
                if len(rows) > max_found:
                    return rows[:max_found], True
    return rows, False


def _holds(batch: pa.RecordBatch, words: Sequence[str]) -> NDArray[np.bool_]:
    held = np.ones(batch.num_rows, np.bool_)
    for word in words:
        pattern = re.escape(word)
        in_text, in_name = (
            pc.match_substring_regex(batch[name], pattern, ignore_case=True) for name in ("text", "filename")
        )
        held &= pc.or_(in_text, in_name).to_numpy(zero_copy_only=False)
    return held


# --- keeping it ----------------------------------------------------------------------------------------------------


class Maps:
    """The maps that were looked at last, by version; safe to use from several threads."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache / "map"
        self._kept: OrderedDict[Path, tuple[str, MapData]] = OrderedDict()
        self._made: dict[Path, int] = {}  # what this process wrote, and its size
        self._reading = threading.Lock()

    def newest(self, output: Path) -> MapData:
        """The newest snapshot's map. Raises `NotFound` before the first."""
        return self._of(open_snapshot(output))

    def at(self, output: Path, number: int) -> MapData:
        """The map of snapshot `number`. Raises `Problem` 404 where it is not or no longer there."""
        return self._of(snapshot_numbered(output, number))

    def points_file(self, data: MapData) -> Path:
        """The packed points as a file; its name is the version's, so it never changes."""
        file = self._file(data.snapshot, "bin.gz")
        with self._reading:
            self._ensure(file, lambda: packed(data))
        return file

    def picture_file(self, snapshot: Snapshot, draw: Callable[[], bytes]) -> Path:
        """The picture of this snapshot as a file; `draw` gives it where there is none yet."""
        file = self._file(snapshot, "png")
        self._ensure(file, draw)
        return file

    def _file(self, snapshot: Snapshot, suffix: str) -> Path:
        return self._cache / snapshot.manifest.dataset / f"{version_of(snapshot)}.{suffix}"

    def _ensure(self, file: Path, make: Callable[[], bytes]) -> None:
        """The file as this process made it; what an earlier process left may be damaged, and is made again."""
        if file in self._made and size_of(file) == self._made[file]:
            return
        content = make()
        with atomic_write(file) as aside:
            aside.write_bytes(content)
        self._made[file] = len(content)
        _keep_newest(file.parent, f"*{file.suffix}", 2)

    def _of(self, snapshot: Snapshot) -> MapData:
        version = version_of(snapshot)
        with self._reading:
            kept = self._kept.get(snapshot.path)
            if kept is None or kept[0] != version:
                kept = (version, read_map(snapshot, previous_snapshot(snapshot)))
                self._kept[snapshot.path] = kept
            self._kept.move_to_end(snapshot.path)
            while len(self._kept) > kept_in_memory:
                self._kept.popitem(last=False)
        return kept[1]


def snapshot_numbered(output: Path, number: int) -> Snapshot:
    """That snapshot of the dataset. Raises `Problem` 404."""
    try:
        return snapshot_at(output.resolve() / "snapshots" / snapshot_name(number))
    except (FileNotFoundError, NotADirectoryError) as error:
        newest = current_number(output)
        detail = f"Snapshot {number} is not there (any more); the newest is {newest}. Reload the page."
        raise Problem(404, "unknown-snapshot", detail) from error


def size_of(file: Path) -> int | None:
    """Its size in bytes, None where there is none."""
    try:
        return file.stat().st_size
    except OSError:
        return None


def _keep_newest(folder: Path, pattern: str, n: int) -> None:
    files = sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime, reverse=True)
    for file in files[n:]:
        file.unlink(missing_ok=True)


def to_json(value: Any) -> bytes:
    """JSON as the page reads it: times in ISO, floats that are no numbers as null."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_UTC_Z)
