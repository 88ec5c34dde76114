"""The static data that Embedding Atlas shows, made from a snapshot.

Its own server may be written to by every reader; with a folder of plain files the browser queries a copy of its own.
The row id is our stable id, and so are the neighbours', which the Embedding Atlas command can't do.
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.atomic import atomic_write, fsync_folder
from components.errors import NotFound
from components.neighbors.knn import around, listed
from components.snapshot.manifest import snapshot_name
from components.snapshot.parts import vectors_of
from components.snapshot.read import Snapshot

NEIGHBORS = 10
EXACT_LIMIT = 50_000  # vectors: beyond, exact neighbours take minutes, and the lists stay empty
TEXT_CHARS = 4_000  # a browser holds all texts in memory; the whole text is a look-up away
NEIGHBORS_TYPE = pa.struct([("ids", pa.list_(pa.string())), ("distances", pa.list_(pa.float32()))])
HIDDEN = ("id", "projection_x", "projection_y", "idx_in_iteration", "topic")


def static_folder() -> Path:
    """The web page that Embedding Atlas ships. Raises `NotFound` where the package is not installed."""
    spec = importlib.util.find_spec("embedding_atlas")  # finds it without importing it, which takes a second
    for location in (spec.submodule_search_locations or []) if spec else []:
        if (Path(location) / "static" / "index.html").exists():
            return Path(location) / "static"
    raise NotFound(
        "Embedding Atlas is not installed; `pip install embedding-atlas` brings the page that shows the map."
    )


def build_atlas(snapshot: Snapshot, folder: Path) -> Path:
    """The folder `<folder>/<snapshot number>` with `dataset.parquet` and `metadata.json`, made once.

    It is to be served as `data/` beside `static_folder()`. Folders of other snapshots are removed.
    """
    final = folder / snapshot_name(snapshot.number)
    if not (final / "metadata.json").exists():
        _write_dataset(snapshot, final / "dataset.parquet")
        with atomic_write(final / "metadata.json") as file:  # last: its presence says that the folder is whole
            file.write_bytes(orjson.dumps(metadata(snapshot)))
        fsync_folder(folder)
    for other in folder.iterdir():
        if other.name.isdigit() and int(other.name) < snapshot.number - 1:
            shutil.rmtree(other, ignore_errors=True)
    return final


def metadata(snapshot: Snapshot) -> dict[str, Any]:
    """What the page reads first: the columns' roles, the labels, colour by type, and that the data are files."""
    data = {
        "id": "id",
        "projection": {"x": "projection_x", "y": "projection_y"},
        "text": "text",
        "neighbors": "__neighbors",
    }
    embedding = {"x": "projection_x", "y": "projection_y", "text": "text", "neighbors": "__neighbors"}
    return {
        "props": {
            "data": data,
            "embeddingViewLabels": pq.read_table(snapshot.labels_file).to_pylist(),
            "defaultChartsConfig": {"embedding": {"data": embedding | {"category": "type"}}},
            "initialState": {
                "version": "0.26.0",
                # no markdown renderer: a log's HTML is data, and must not become part of the page
                "columnStyles": {name: {"display": "hidden"} for name in HIDDEN} | {"text": {"display": "full"}},
            },
        },
        "isStatic": True,
        "database": {"type": "wasm", "load": True},
    }


def _write_dataset(snapshot: Snapshot, path: Path) -> None:
    tables = [pq.read_table(file) for file in snapshot.logs_files]
    logs = pa.concat_tables(tables)
    logs = logs.set_column(
        logs.column_names.index("text"), "text", pc.utf8_slice_codeunits(logs["text"], 0, TEXT_CHARS)
    )
    logs = logs.append_column("__neighbors", _neighbors_column(snapshot, logs["id"]))
    with atomic_write(path) as file:
        pq.write_table(logs, file, compression="zstd", compression_level=3, row_group_size=65_536)


def _neighbors_column(snapshot: Snapshot, ids: pa.ChunkedArray) -> pa.Array:
    """For each record, in the order of `ids`, its nearest others; empty lists where there are too many to compare."""
    if not 1 < len(ids) <= EXACT_LIMIT:
        empty = pa.scalar({"ids": [], "distances": []}, NEIGHBORS_TYPE)
        return pa.array([empty] * len(ids), NEIGHBORS_TYPE)
    table = pa.concat_tables([pq.read_table(file) for file in snapshot.embeddings_files])
    order = pc.index_in(ids, table["id"].combine_chunks())
    vectors = vectors_of(table)[order.to_numpy()]
    near, far = nearest(vectors, min(NEIGHBORS, len(ids) - 1))
    offsets = pa.array(np.arange(len(ids) + 1, dtype=np.int32) * near.shape[1])
    names = ids.take(pa.array(near.reshape(-1))).combine_chunks()
    lists = [
        pa.ListArray.from_arrays(offsets, names),
        pa.ListArray.from_arrays(offsets, pa.array(far.reshape(-1))),
    ]
    return pa.StructArray.from_arrays(lists, fields=list(NEIGHBORS_TYPE))


def nearest(vectors: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Row numbers (n, k) and cosine distances (n, k) of the nearest other rows, nearest first; k < n; exact."""
    one_list, no_centroid = np.zeros(len(vectors), np.int32), np.zeros((1, vectors.shape[1]), np.float32)
    found = around(listed(vectors, one_list, no_centroid, 1), vectors, k + 1)
    return found.rows[:, 1:], found.distances[:, 1:].astype(np.float32)
