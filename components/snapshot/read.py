"""Snapshots as their readers see them: found, opened, checked, exported, looked into.

A reader resolves `current` once and then holds one consistent pair of outputs for as long as it likes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.atomic import replaced
from components.errors import NotFound
from components.publish.labels import labels_schema
from components.snapshot.parts import (
    LOGS_COLUMNS,
    Kind,
    Part,
    embeddings_schema,
    file_sha256,
    logs_schema,
    read_row_groups,
    writer_options,
)

POINTER = "CURRENT"  # the file that names the newest snapshot where symbolic links are not to be had


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a snapshot says of itself. `text_settings` is their hash; `parts` stand in the order of their rows."""

    snapshot: int
    dataset: str
    layout: int | None
    model: str
    text_settings: str
    dim: int
    rows: int
    parts: Sequence[Part]
    created: datetime

    def of(self, kind: Kind) -> list[Part]:
        """The parts of one kind, in order."""
        return [part for part in self.parts if part.kind == kind]

    def to_json(self) -> bytes:
        """As `manifest.json` holds it; each part with the file it lies in, below the snapshot."""
        files = [
            {**asdict(part), "file": f"{kind}/{snapshot_file_name(index)}"}
            for kind in ("logs", "embeddings")
            for index, part in enumerate(self.of(kind))
        ]
        body = {name: getattr(self, name) for name in self.__slots__}
        return orjson.dumps(body | {"version": 1, "parts": files}, option=orjson.OPT_INDENT_2)


def manifest_from_json(raw: bytes) -> Manifest:
    """The manifest that `to_json` wrote; keys of later versions are left out."""
    body = orjson.loads(raw)
    parts = [Part(**{name: part[name] for name in Part.__slots__}) for part in body["parts"]]
    known = {name: body[name] for name in Manifest.__slots__}
    return Manifest(**known | {"parts": parts, "created": datetime.fromisoformat(body["created"])})


def snapshot_file_name(index: int) -> str:
    """Parts are numbered in a snapshot, so that `logs/*.parquet`, sorted, gives their rows in order."""
    return f"part-{index:05d}.parquet"


def snapshot_name(number: int) -> str:
    """The folder of a snapshot, below `snapshots/`."""
    return f"{number:06d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One published, immutable pair of outputs; `path` holds no symbolic link."""

    path: Path
    manifest: Manifest

    @property
    def number(self) -> int:
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
    def labels_file(self) -> Path:
        return self.path / "labels.parquet"


def current_number(output: Path) -> int | None:
    """The number of the newest snapshot of the dataset whose folder this is; None before the first."""
    for read in (_linked, _pointed):
        with suppress(OSError, ValueError):
            return int(read(output))
    return None


def _linked(output: Path) -> str:
    return (output / "current").readlink().name


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
    return Snapshot(path=path, manifest=manifest_from_json((path / "manifest.json").read_bytes()))


# --- plain files -------------------------------------------------------------------------------------------------


def export(snapshot: Snapshot, to: Path) -> list[Path]:
    """Two plain files in folder `to`, `logs.parquet` and `embeddings.parquet`; each appears whole or not at all."""
    return [
        _export(snapshot.logs_files, "logs", logs_schema(), to / "logs.parquet"),
        _export(snapshot.embeddings_files, "embeddings", embeddings_schema(), to / "embeddings.parquet"),
    ]


def _export(files: Sequence[Path], kind: Kind, empty: pa.Schema, target: Path) -> Path:
    schema = pq.read_schema(files[0]) if files else empty
    with replaced(target) as aside, pq.ParquetWriter(aside, schema, **writer_options(kind, schema)) as writer:
        for file in files:
            for table in read_row_groups(file):
                writer.write_table(table)
    return target


# --- looking into one --------------------------------------------------------------------------------------------

MAP_COLUMNS = ("id", "timestamp", "filename", "iteration", "idx_in_iteration", "type", "projection_x", "projection_y")


def map_columns(snapshot: Snapshot) -> dict[str, NDArray[Any] | list[str]]:
    """What a page needs to draw the map, a value a row, rows in the snapshot's order.

    `x`, `y` float32; `timestamp` float64 seconds since 1970, NaN where the log has none; `type` and `filename`
    int32 codes into the lists `types` and `filenames`, the most frequent first; `iteration`, `idx_in_iteration`
    int32; `ids` a list of strings.
    """
    tables = [pq.read_table(file, columns=list(MAP_COLUMNS)) for file in snapshot.logs_files]
    table = pa.concat_tables(tables) if tables else logs_schema().empty_table()
    seconds = pc.cast(table["timestamp"], pa.int64()).to_numpy().astype(np.float64) / 1e6
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
    counts = pc.value_counts(column.combine_chunks())
    names, numbers = counts.field("values").to_pylist(), counts.field("counts").to_numpy()
    ordered = [names[i] for i in sorted(range(len(names)), key=lambda i: (-numbers[i], names[i]))]
    return ordered, pc.index_in(column, pa.array(ordered, pa.string())).to_numpy().astype(np.int32)


def records_at(snapshot: Snapshot, rows: Sequence[int]) -> list[dict[str, Any]]:
    """The records at these row numbers, in the order asked for; only the row groups they lie in are read.

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


# --- checks ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One promise of a snapshot, whether it holds, and if not, where."""

    name: str
    ok: bool
    detail: str = ""


def check_snapshot(path: Path) -> list[Check]:
    """Every promise of the snapshot in this folder, held against its files; never raises on a damaged one."""
    try:
        snapshot = snapshot_at(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [Check(name="manifest is readable", ok=False, detail=f"{path / 'manifest.json'}: {error!r}")]
    checks: list[tuple[str, Callable[[Snapshot], str]]] = [
        ("parts are the ones in the manifest", _parts_differ),
        ("rows are as many as the manifest says", _rows_differ),
        ("columns are the specification's", _schemas_differ),
        ("ids are unique and equal in both outputs", _ids_differ),
        ("required columns hold no null", _nulls),
        ("places are finite", _places_astray),
        ("vectors are of unit length and the manifest's dimension", _vectors_off),
        ("labels hold no null", _labels_off),
    ]
    return [_checked(name, check, snapshot) for name, check in checks]


def _checked(name: str, check: Callable[[Snapshot], str], snapshot: Snapshot) -> Check:
    try:
        detail = check(snapshot)
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        detail = f"can't be read: {error}"
    return Check(name=name, ok=not detail, detail=detail)


def _files(snapshot: Snapshot) -> Iterator[tuple[Part, Path]]:
    for kind in ("logs", "embeddings"):
        for index, part in enumerate(snapshot.manifest.of(kind)):
            yield part, snapshot.path / kind / snapshot_file_name(index)


def _parts_differ(snapshot: Snapshot) -> str:
    named = {file for _, file in _files(snapshot)}
    stray = sorted(set(snapshot.logs_files + snapshot.embeddings_files) - named)
    wrong = [file for part, file in _files(snapshot) if not file.exists() or file_sha256(file) != part.sha256]
    return "; ".join(
        [f"{f.parent.name}/{f.name} is missing or changed" for f in wrong] + [f"{f.name} is no part" for f in stray]
    )


def _rows_differ(snapshot: Snapshot) -> str:
    expected = snapshot.manifest.rows
    counts = {
        kind: sum(pq.read_metadata(file).num_rows for file in files)
        for kind, files in (("logs", snapshot.logs_files), ("embeddings", snapshot.embeddings_files))
    }
    return "" if set(counts.values()) == {expected} else f"manifest: {expected}, files: {counts}"


def _schemas_differ(snapshot: Snapshot) -> str:
    problems = []
    schemas = [pq.read_schema(file).remove_metadata() for file in snapshot.logs_files]
    for schema in schemas:
        if list(zip(schema.names, schema.types, strict=True))[: len(LOGS_COLUMNS)] != list(LOGS_COLUMNS):
            problems.append(f"logs: {schema.to_string()}")
        if schema != schemas[0]:
            problems.append("logs parts differ in their columns")
    found = [pq.read_schema(file).remove_metadata() for file in snapshot.embeddings_files]
    problems += [f"embeddings: {schema.to_string()}" for schema in found if schema != embeddings_schema()]
    return "; ".join(problems)


def _ids_differ(snapshot: Snapshot) -> str:
    logs, vectors = (_ids(files) for files in (snapshot.logs_files, snapshot.embeddings_files))
    for name, ids in (("logs", logs), ("embeddings", vectors)):
        if pc.count_distinct(ids).as_py() != len(ids):
            return f"{len(ids) - pc.count_distinct(ids).as_py()} ids occur more than once in {name}"
    return "" if logs.equals(vectors) else "logs and embeddings hold different ids"


def _ids(files: Iterable[Path]) -> pa.ChunkedArray:
    chunks = [table["id"].combine_chunks() for file in files for table in read_row_groups(file, ["id"])]
    ids = pa.chunked_array(chunks, pa.string())
    return ids.take(pc.sort_indices(ids))


def _nulls(snapshot: Snapshot) -> str:
    names = [name for name, _ in LOGS_COLUMNS if name != "timestamp"]
    counts = dict.fromkeys(names, 0)
    for file in snapshot.logs_files:
        for table in read_row_groups(file, names):
            for name in names:
                counts[name] += table[name].null_count
    return ", ".join(f"{name}: {count} nulls" for name, count in counts.items() if count)


def _places_astray(snapshot: Snapshot) -> str:
    astray = 0
    for file in snapshot.logs_files:
        for table in read_row_groups(file, ["projection_x", "projection_y"]):
            x, y = (table[name].to_numpy() for name in ("projection_x", "projection_y"))
            astray += int((~(np.isfinite(x) & np.isfinite(y))).sum())
    return f"{astray} records have no finite place" if astray else ""


def _vectors_off(snapshot: Snapshot) -> str:
    off = 0
    for file in snapshot.embeddings_files:
        for table in read_row_groups(file, ["vector"]):
            lengths = pc.list_value_length(table["vector"]).to_numpy()
            if (lengths != snapshot.manifest.dim).any():
                return f"{file.name} holds vectors of another dimension than {snapshot.manifest.dim}"
            norms = np.linalg.norm(vectors_of(table), axis=1)
            off += int((~(np.abs(norms - 1) < 2e-3)).sum())  # float16 rounding moves a length by up to 5e-4
    return f"{off} vectors are not of unit length" if off else ""


def vectors_of(table: pa.Table) -> NDArray[np.float32]:
    """The (n, dim) float32 matrix in a table's `vector` column; all lists are of one length."""
    if not table.num_rows:
        return np.zeros((0, 0), np.float32)
    flat = table["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat.reshape(table.num_rows, -1), np.float32)


def _labels_off(snapshot: Snapshot) -> str:
    table = pq.read_table(snapshot.labels_file)
    if table.schema.remove_metadata() != labels_schema():
        return f"columns are {table.schema.remove_metadata().to_string()}"
    return ", ".join(f"{name}: nulls" for name in table.column_names if table[name].null_count)
