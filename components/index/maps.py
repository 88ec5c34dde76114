"""A layout opened to place on, and the placing itself: on all cores here, or in chunks on a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from components.atomic import disk_errors
from components.contracts import Layout, Placed, Positions, Projector
from components.errors import NotFound
from components.index.batches import max_batches
from components.index.context import IndexContext
from components.index.plan import Ids
from components.neighbors.cores import on_all_cores
from components.neighbors.knn import Neighbors
from components.projector.layout import FittedMap, read_folder, write_folder
from components.store import Store
from components.store.layouts import NOT_LOOKED_FOR, LayoutInfo
from components.topics.identity import vote

place_rows = 4_096  # vectors placed at once, on each core: a second


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedVectors:
    """Distinct vectors by ascending id (n,), their positions (n, 2), which are off the map (n,), and their topics (n,)."""

    vector_ids: Ids
    positions: Positions
    off_map: NDArray[np.bool_]
    topics: Ids


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedMap:
    """A layout to place on, memory-mapped: ids of its fitted vectors (n_fitted,), and their topics.

    A vector that is farther than `far` from its fifth neighbour has no topic; `topics` is None where none were looked for.
    """

    info: LayoutInfo
    fitted_ids: Ids
    layout: Layout
    topics: Ids | None
    far: float


def open_map(store: Store, projector: Projector, folder: Path, info: LayoutInfo, dim: int) -> OpenedMap:
    """The layout, memory-mapped from its folder in the cache, which is filled if need be."""
    arrays = store.layouts.arrays(info.id)
    fitted_ids, topics = arrays.pop("fitted_ids"), arrays.pop("topics", None)
    far = float(arrays.pop("topic_far", np.inf))
    try:
        layout = read_folder(folder)
    except NotFound:
        made = projector.open(arrays, store.vectors.get(fitted_ids, dim))
        with disk_errors(folder):
            write_folder(cast("FittedMap", made), folder)
        layout = read_folder(folder)
    return OpenedMap(
        info=info,
        fitted_ids=fitted_ids,
        layout=layout,
        topics=None if topics is None else topics.astype(np.int64),
        far=far,
    )


def map_folder(cache: Path, dataset: str, info: LayoutInfo) -> Path:
    """Where the cache keeps a layout."""
    created = info.created_at.strftime("%Y%m%d%H%M%S%f")
    return cache / "layouts" / f"{dataset}-{info.version}-{created}"


def transform(context: IndexContext, opened: OpenedMap, vector_ids: Ids) -> PlacedVectors:
    """Positions and topics of distinct, ascending vector ids; fitted ones keep those that the fit gave them."""
    at = rows_of(opened.fitted_ids, vector_ids)
    is_fitted = at >= 0
    whole = _unplaced(vector_ids)
    if is_fitted.any():
        whole.positions[is_fitted] = opened.layout.arrays()["places"][at[is_fitted]]
        if opened.topics is not None:
            whole.topics[is_fitted] = opened.topics[at[is_fitted]]
    others = np.flatnonzero(~is_fitted)
    done = 0
    for placed in _placed(context, opened, vector_ids[others]):
        chunk = others[done : done + len(placed.vector_ids)]
        whole.positions[chunk], whole.off_map[chunk] = placed.positions, placed.off_map
        whole.topics[chunk] = placed.topics
        done += len(chunk)
        context.report("place", done, len(others))
    return whole


def _placed(context: IndexContext, opened: OpenedMap, vector_ids: Ids) -> Iterator[PlacedVectors]:
    """What is not fitted, placed, chunk by chunk in their order; few vectors are not worth starting a cluster."""
    target, n = context.target, len(vector_ids)
    if context.cluster is not None and n > place_rows:
        chunks = _chunks(vector_ids, max(place_rows, -(-n // max_batches)))
        done = 0

        def while_waiting() -> None:
            context.report("place", done, n)

        for placed in context.cluster.place(context.dataset, opened.info.id, chunks, while_waiting):
            done += len(placed.vector_ids)
            yield placed
        return

    def place(chunk: Ids) -> PlacedVectors:
        return place_chunk(target.store, opened, chunk, target.embedder.dim)

    yield from on_all_cores(place, _chunks(vector_ids, place_rows))


def place_chunk(store: Store, opened: OpenedMap, vector_ids: Ids, dim: int) -> PlacedVectors:
    """Vectors of the store placed on the map, each as if it were alone; none of them is a fitted one."""
    placed = opened.layout.transform(store.vectors.get(vector_ids, dim))
    return PlacedVectors(
        vector_ids=vector_ids,
        positions=placed.positions,
        off_map=placed.off_map,
        topics=_topics(opened, placed),
    )


def place_in_turn(store: Store, opened: OpenedMap, vector_ids: Ids, dim: int) -> PlacedVectors:
    """As `place_chunk` of any number of vectors, a few at once and on one core: other workers have the others."""
    whole = _unplaced(vector_ids)
    for start in range(0, len(vector_ids), place_rows):
        rows = slice(start, start + place_rows)
        placed = place_chunk(store, opened, vector_ids[rows], dim)
        whole.positions[rows], whole.off_map[rows], whole.topics[rows] = placed.positions, placed.off_map, placed.topics
    return whole


def _unplaced(vector_ids: Ids) -> PlacedVectors:
    n = len(vector_ids)
    return PlacedVectors(
        vector_ids=vector_ids,
        positions=np.zeros((n, 2), np.float32),
        off_map=np.zeros(n, np.bool_),
        topics=np.full(n, NOT_LOOKED_FOR, np.int64),
    )


def _topics(opened: OpenedMap, placed: Placed) -> Ids:
    if opened.topics is None:
        return np.full(len(placed.positions), NOT_LOOKED_FOR, np.int64)
    near = Neighbors(rows=placed.near_rows, distances=placed.near_distances)
    return vote(opened.topics, near, far=opened.far)


def _chunks(vector_ids: Ids, size: int) -> list[Ids]:
    return [vector_ids[start : start + size] for start in range(0, len(vector_ids), size)]


def rows_of(ids: Ids, wanted: Ids) -> Ids:
    """The row of each wanted id among distinct ids in any order (n,), -1 where it is none of them."""
    if not len(ids):
        return np.full(len(wanted), -1, np.int64)
    order = np.argsort(ids)
    rows = order[np.minimum(np.searchsorted(ids, wanted, sorter=order), len(ids) - 1)]
    return np.where(ids[rows] == wanted, rows, -1)
