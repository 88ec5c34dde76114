"""What the map page downloads of a snapshot: `snapshot.json`, the points as packed columns, the picture."""

from __future__ import annotations

import gzip
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.map_data import MapData
from components.snapshot.manifest import Label
from components.snapshot.read import Snapshot, read_labels
from components.views.png import draw_map

max_labels = 400

Column = NDArray[Any]


def columns_of(data: MapData) -> dict[str, Column]:
    """The columns that the page draws, in the order of the binary, each (n,)."""
    return {
        "x": data.x,
        "y": data.y,
        "time": data.time.seconds,
        "type": data.types.codes,
        "source": data.sources.codes,
        "topic": data.topics.codes,
        "fresh": data.fresh,
    }


def packed(data: MapData) -> bytes:
    """All columns one after the other, little-endian, each starting at a multiple of four bytes; gzip."""
    parts = []
    for column in columns_of(data).values():
        raw = column.astype(column.dtype.newbyteorder("<"), copy=False).tobytes()
        parts.append(raw + bytes(-len(raw) % 4))
    return gzip.compress(b"".join(parts), compresslevel=1, mtime=0)


def column_offsets(data: MapData) -> list[dict[str, Any]]:
    """Name, type and offset in bytes of each column in the unpacked binary."""
    offsets, offset = [], 0
    for name, column in columns_of(data).items():
        offsets.append({"name": name, "type": f"{column.dtype.kind}{column.dtype.itemsize}", "offset": offset})
        offset += column.nbytes + (-column.nbytes % 4)
    return offsets


def summary(data: MapData) -> dict[str, Any]:
    """`snapshot.json`: legends, bounds, region names, and where the points are."""
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
        "topics": data.topics.entries(),
        "time": {"min": time.start, "span": time.span, "missing": time.missing},
        "fresh": int(data.fresh.sum()),
        "since": data.since,
        "labels": [asdict(label) for label in top_labels(data.snapshot)],
        "points": {
            "url": f"points.bin?snapshot={data.snapshot.number}&v={data.version}",
            "columns": column_offsets(data),
        },
    }


def bounds(x: Column, y: Column) -> list[float]:
    """Left, bottom, right, top of nearly all points, with a small margin."""
    if not len(x):
        return [-1.0, -1.0, 1.0, 1.0]
    outliers = 0.001 if len(x) >= 1_000 else 0.0
    (left, right), (bottom, top) = (np.quantile(axis, [outliers, 1 - outliers]) for axis in (x, y))
    margin = 0.03 * max(right - left, top - bottom) or 1.0
    return [float(left - margin), float(bottom - margin), float(right + margin), float(top + margin)]


def top_labels(snapshot: Snapshot) -> list[Label]:
    """Region names: coarse levels first, within a level the most important first."""
    return sorted(read_labels(snapshot), key=lambda label: (label.level, -label.priority))[:max_labels]


def picture(data: MapData) -> bytes:
    """The map as a PNG, new records marked."""
    types = [data.types.names[code] for code in data.types.codes]
    positions = np.stack([data.x, data.y], axis=1)
    return draw_map(positions, types, data.fresh.astype(bool), top_labels(data.snapshot))
