"""The light page's data: one snapshot's points, names, records, runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response
from starlette.concurrency import run_in_threadpool

from api import map_data
from api.dependencies import Dependencies, Deps
from api.health import dataset_json
from api.inputs import DatasetName, RowNumber, RowNumbers, SnapshotNumber, WantedId, Words
from api.map_data import MapData
from api.problems import Problem
from api.routes.datasets import Json, sends
from api.routes.pages import static, with_policy
from components.errors import NotFound
from components.snapshot.manifest import Label
from components.snapshot.read import open_snapshot, records_at

router = APIRouter(prefix="/map", tags=["map"])


def map_of(deps: Dependencies, dataset: str, number: int | None) -> MapData:
    """The map that is asked for. Raises `Problem` or `NotFound` with the way out."""
    output = deps.state.output(dataset)
    return deps.maps.newest(output) if number is None else deps.maps.at(output, number)


@router.get("/{dataset}.png", response_class=Response, responses=sends("image/png"))
def picture(deps: Deps, dataset: DatasetName) -> Response:
    """The newest snapshot as a picture."""
    snapshot = open_snapshot(deps.state.output(dataset))
    file = deps.maps.picture_file(snapshot, lambda: _drawn(deps, dataset, snapshot.number))
    return FileResponse(file, media_type="image/png", headers={"Cache-Control": "no-cache"})


@router.get("/{dataset}", response_class=Response, responses=sends("text/html"))
def page(deps: Deps, dataset: DatasetName) -> Response:
    """The map as a page that works in any browser and follows new snapshots."""
    deps.state.output(dataset)
    return with_policy(FileResponse(static / "map.html", headers={"Cache-Control": "no-cache"}))


@router.get("/{dataset}/current.json", response_class=Json)
async def current(deps: Deps, dataset: DatasetName) -> Json:
    """The newest snapshot's number and what is going on: small and quick, for asking again and again."""
    await deps.monitor.look()
    output = await run_in_threadpool(deps.state.output, dataset)
    answer: dict[str, Any] = {"snapshot": None, "version": None, "rows": 0, "created": None}
    try:
        snapshot = await run_in_threadpool(open_snapshot, output)
        answer = {
            "snapshot": snapshot.number,
            "version": map_data.version_of(snapshot),
            "rows": snapshot.manifest.rows,
            "created": snapshot.manifest.created,
        }
    except NotFound:
        pass
    known = deps.monitor.store.value
    status = dataset_json(known.datasets[dataset]) if known and dataset in known.datasets else {}
    work = {key: status.get(key) for key in ("indexing", "step", "progress")}
    return Json({**answer, **work, "waiting": status.get("unindexed", 0)}, headers={"Cache-Control": "no-store"})


@router.get("/{dataset}/snapshot.json", response_class=Json)
def snapshot(deps: Deps, dataset: DatasetName, snapshot: SnapshotNumber = None) -> Json:
    """All that the page needs before it draws: legends, bounds, names of regions, where the points are."""
    data = map_of(deps, dataset, snapshot)
    return Json(map_data.summary(data), headers={"Cache-Control": "no-store"})


@router.get("/{dataset}/points.bin", response_class=Response, responses=sends("application/octet-stream"))
def points(deps: Deps, request: Request, dataset: DatasetName, snapshot: SnapshotNumber = None) -> Response:
    """The points, column by column as `snapshot.json` says; gzip where the client takes it."""
    data = map_of(deps, dataset, snapshot)
    file = deps.maps.points_file(data)
    kept = "private, max-age=31536000, immutable" if request.query_params.get("v") == data.version else "no-cache"
    headers = {"Cache-Control": kept, "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return FileResponse(file, media_type="application/octet-stream", headers=headers)
    return Response(_unpacked(file), media_type="application/octet-stream", headers=headers)


@router.get("/{dataset}/records", response_class=Json)
def records(deps: Deps, dataset: DatasetName, rows: RowNumbers, snapshot: SnapshotNumber = None) -> Json:
    """The records at these rows (`rows=1,2,3`), in that order."""
    data = map_of(deps, dataset, snapshot)
    wanted = expect_rows([int(row) for row in rows.split(",")], data.rows)
    return Json(_records(deps, dataset, data, wanted), headers={"Cache-Control": "no-cache"})


@router.get("/{dataset}/run", response_class=Json)
def run(deps: Deps, dataset: DatasetName, row: RowNumber, snapshot: SnapshotNumber = None) -> Json:
    """The rows of the run that this row belongs to, in the order in which they happened."""
    data = map_of(deps, dataset, snapshot)
    expect_rows([row], data.rows)
    filename = data.filenames[data.filename[row]]
    return Json({"filename": filename, "rows": map_data.rows_of_run(data, row)})


@router.get("/{dataset}/row", response_class=Json)
def row(deps: Deps, dataset: DatasetName, id: WantedId, snapshot: SnapshotNumber = None) -> Json:
    """The row of the record with this id."""
    data = map_of(deps, dataset, snapshot)
    return Json({"row": map_data.row_of(data, id)})


@router.get("/{dataset}/search", response_class=Json)
def search(deps: Deps, dataset: DatasetName, q: Words, snapshot: SnapshotNumber = None) -> Json:
    """The rows whose text or filename holds every word of `q`."""
    data = map_of(deps, dataset, snapshot)
    rows, is_cut = map_data.rows_with_words(data.snapshot, q)
    return Json({"q": q, "rows": rows, "total": len(rows), "is_cut": is_cut})


def expect_rows(rows: list[int], n: int) -> list[int]:
    """The same rows. Raises `Problem` 404 for one that a snapshot of `n` rows does not have."""
    if max(rows) >= n:
        raise Problem(404, "unknown-row", f"This snapshot has {n} rows; row {max(rows)} was asked for.")
    return rows


def _records(deps: Dependencies, dataset: str, data: MapData, rows: list[int]) -> list[dict[str, Any]]:
    """By id from the database, which is quick wherever they lie; from the snapshot's own files where that is away."""
    try:
        found = [deps.state.record(dataset, data.ids[row].decode()) for row in rows]
    except Problem:
        found = records_at(data.snapshot, rows)
    return [{"row": row, **record} for row, record in zip(rows, found, strict=True)]


def _unpacked(file: Path) -> bytes:
    import gzip

    return gzip.decompress(file.read_bytes())


def _drawn(deps: Dependencies, dataset: str, number: int) -> bytes:
    from components.views.png import draw_map

    data = map_of(deps, dataset, number)
    names = [Label(**label) for label in map_data.labels(data.snapshot)]
    types = [data.types.names[code] for code in data.types.codes]
    return draw_map(np.stack([data.x, data.y], axis=1), types, data.fresh.astype(bool), names)
