"""The newest snapshot as a picture that is small enough for an artifact."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from components import wiring
from components.compare.compare import Request, sides_of_rows
from components.compare.report import Comparison
from components.pipeline import Pipeline
from components.snapshot.read import map_columns, new_since, open_snapshot, previous_snapshot, read_labels
from components.views.difference import Marked, draw_difference
from components.views.png import draw_map

size_px = (800, 600)
colours = 128  # the server keeps the picture in its database: about 60 KB


def map_png(output: Path) -> bytes:
    """A PNG of the newest snapshot below `output`; records that the previous one does not hold are marked."""
    snapshot = open_snapshot(output)
    columns = map_columns(snapshot)
    names = list(columns["types"])
    types = [names[code] for code in np.asarray(columns["type"], np.int32)]
    positions = np.stack([np.asarray(columns["x"], np.float32), np.asarray(columns["y"], np.float32)], axis=1)
    is_new = new_since(previous_snapshot(snapshot), list(columns["ids"]))
    return smaller(draw_map(positions, types, is_new, read_labels(snapshot)))


def difference_png(pipeline: Pipeline, dataset: str, found: Comparison, request: Request) -> bytes:
    """A PNG of the newest snapshot: where the runs of the two sets differ, and the first items of the list."""
    settings = pipeline.effective_settings()
    opened = wiring.open_comparison(settings, pipeline.store, dataset)
    sides = sides_of_rows(opened, request)
    columns = map_columns(opened.snapshot)
    positions = np.stack([np.asarray(columns["x"], np.float32), np.asarray(columns["y"], np.float32)], axis=1)
    row_of = {id: row for row, id in enumerate(columns["ids"])}
    marked = [
        Marked(x=float(positions[row_of[one.id], 0]), y=float(positions[row_of[one.id], 1]), side="ab".index(one.side))
        for one in found.reading
        if one.id in row_of
    ]
    names = (", ".join(found.a.filters), ", ".join(found.b.filters) or "all other runs")
    return smaller(draw_difference(positions, sides.side, sides.weight, marked, read_labels(opened.snapshot), names))


def smaller(png: bytes) -> bytes:
    """The same picture in fewer pixels and colours; an octree keeps rare ones, such as that of the few errors."""
    out = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").resize(size_px, Image.Resampling.LANCZOS).quantize(
            colours, Image.Quantize.FASTOCTREE
        ).save(out, "PNG", optimize=True)
    return out.getvalue()
