"""Graphs on disk: that of the whole dataset, which grows from snapshot to snapshot, and those of a few smaller choices."""

from __future__ import annotations

import hashlib
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np

from components.atomic import disk_errors
from components.cached_folder import atomic_folder, is_intact
from components.compare.graph import Graph, NodeVectors, build, merge
from components.compare.material import Texts
from components.search.vectors import SearchVectors
from components.snapshot.read import Snapshot

VERSION = 1  # of the files; they are made anew for another one
MOST_CHOICES = 6  # graphs of a part of a dataset that are kept
ARRAYS = ("digests", "near", "similarity")


def graph_cache(cache: Path, output: Path) -> Path:
    """The folder of the graphs of the dataset with this `output`."""
    return cache / "compare" / output.name


def whole_graph(snapshot: Snapshot, vectors: SearchVectors, texts: Texts, cache: Path) -> Graph:
    """The graph of all agent texts of a snapshot: as it is stored, or merged from that of an earlier snapshot, or made.

    Raises `DiskFailed` if it can't be written.
    """
    folder = cache / f"whole-{_model_key(snapshot)}"
    known = _read(folder)
    if known is not None and np.array_equal(known.digests, texts.digests):
        return known
    where = texts.where(vectors)
    graph = build(texts.digests, where) if known is None else merge(known, texts.digests, where)
    _write(folder, graph)
    _keep(cache, "whole-*", 1)
    return graph


def graph_of_choice(snapshot: Snapshot, vectors: SearchVectors, texts: Texts, cache: Path) -> Graph:
    """The graph of some of the texts alone, where two sets hold but a small part of a dataset. Raises `DiskFailed`."""
    digest = hashlib.sha256(texts.digests.tobytes()).hexdigest()[:16]
    folder = cache / f"choice-{_model_key(snapshot)}-{digest}"
    known = _read(folder)
    if known is not None:
        return known
    where = NodeVectors(vectors=vectors, rows=texts.first)
    graph = build(texts.digests, where)
    _write(folder, graph)
    _keep(cache, "choice-*", MOST_CHOICES)
    return graph


def n_stored_centres(snapshot: Snapshot, cache: Path) -> int | None:
    """The centres of the dataset's graph, of this snapshot or of an earlier one; None where there is no graph."""
    with suppress(OSError, ValueError):
        return len(np.load(cache / f"whole-{_model_key(snapshot)}" / "near.npy", mmap_mode="r"))
    return None


def _model_key(snapshot: Snapshot) -> str:
    """Equal for snapshots whose vectors can be compared; a refit of the map changes none."""
    manifest = snapshot.manifest
    spelled = f"{VERSION}\0{manifest.model}\0{manifest.dim}\0{manifest.text_settings}"
    return hashlib.sha256(spelled.encode()).hexdigest()[:16]


def _read(folder: Path) -> Graph | None:
    """The graph in a folder; None where there is none or it is damaged."""
    if not is_intact(folder):
        return None
    with suppress(OSError, ValueError):
        digests, near, similarity = (np.load(folder / f"{name}.npy") for name in ARRAYS)
        return Graph(digests=digests, near=near, similarity=similarity.astype(np.float32))
    return None


def _write(folder: Path, graph: Graph) -> None:
    with disk_errors(folder), atomic_folder(folder) as aside:
        for name in ARRAYS:
            np.save(aside / f"{name}.npy", getattr(graph, name))


def _keep(cache: Path, pattern: str, most: int) -> None:
    folders = sorted(cache.glob(pattern), key=lambda path: path.stat().st_mtime, reverse=True)
    for folder in folders[most:]:
        with suppress(OSError):
            shutil.rmtree(folder)
