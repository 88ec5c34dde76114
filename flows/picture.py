"""The newest snapshot as a picture that is small enough for an artifact."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from components.errors import RunAtlasError
from components.publish.labels import Label
from components.snapshot.read import Snapshot, map_columns, open_snapshot, snapshot_at
from components.views.png import draw_map

size_px = (800, 600)
colours = 128  # the server keeps the picture in its database: about 60 KB


def map_png(output: Path) -> bytes:
    """A PNG of the newest snapshot below `output`; records that the one before did not hold are marked."""
    snapshot = open_snapshot(output)
    columns = map_columns(snapshot)
    names = list(columns["types"])
    types = [names[code] for code in np.asarray(columns["type"], np.int32)]
    places = np.stack([np.asarray(columns["x"], np.float32), np.asarray(columns["y"], np.float32)], axis=1)
    return smaller(draw_map(places, types, _is_new(list(columns["ids"]), _before(snapshot)), _labels(snapshot)))


def smaller(png: bytes) -> bytes:
    """The same picture in fewer pixels and colours; an octree keeps rare ones, such as that of the few errors."""
    out = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").resize(size_px, Image.Resampling.LANCZOS).quantize(
            colours, Image.Quantize.FASTOCTREE
        ).save(out, "PNG", optimize=True)
    return out.getvalue()


def _before(snapshot: Snapshot) -> Snapshot | None:
    earlier = [folder for folder in snapshot.path.parent.iterdir() if folder.name < snapshot.path.name]
    try:
        return snapshot_at(max(earlier)) if earlier else None
    except (OSError, RunAtlasError):  # it was old enough to be removed just now
        return None


def _is_new(ids: list[str], before: Snapshot | None) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    if before is None:
        return np.zeros(len(ids), np.bool_)
    known = [pq.read_table(file, columns=["id"])["id"].combine_chunks() for file in before.logs_files]
    is_known = pc.is_in(pa.array(ids, pa.string()), value_set=pa.chunked_array(known, pa.string()).combine_chunks())
    return np.asarray(~is_known.to_numpy(zero_copy_only=False), np.bool_)


def _labels(snapshot: Snapshot) -> list[Label]:
    if not snapshot.labels_file.exists():
        return []
    rows = pq.read_table(snapshot.labels_file, columns=["x", "y", "text", "level", "priority"]).to_pylist()
    return [Label(**row) for row in rows]
