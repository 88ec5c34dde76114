"""The map page and its data: points, region names, records and runs of one snapshot."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response
from starlette.concurrency import run_in_threadpool

from api.dependencies import Dependencies, Deps
from api.filters import FilterParameters
from api.health import dataset_json
from api.inputs import (
    DatasetName,
    RowNumber,
    RowNumbers,
    SearchedBy,
    SimilarTo,
    SnapshotNumber,
    WantedId,
    Words,
)
from api.map_data import MapData, row_of, rows_in_files, rows_of, rows_of_run, version_of
from api.map_payload import summary
from api.problems import Problem
from api.responses import Json, content, static_folder
from api.security_headers import with_policy
from components.errors import NotFound
from components.search.filters import Filters
from components.search.rows import accepted_rows
from components.search.search import Mode, Query
from components.search.search import check as expect_query
from components.search.search import search as search_dataset
from components.snapshot.read import open_snapshot, records_at

router = APIRouter(prefix="/map", tags=["map"])

max_found = 20_000  # rows of one search for words
max_similar = 100  # rows of one search by meaning


@router.get("/{dataset}.png", response_class=Response, responses=content("image/png"), summary="Map as a picture")
def picture(deps: Deps, dataset: DatasetName) -> Response:
    """The newest snapshot as a PNG."""
    file = deps.maps.picture_file(deps.state.output(dataset))
    return FileResponse(file, media_type="image/png", headers={"Cache-Control": "no-cache"})


@router.get("/{dataset}", response_class=Response, responses=content("text/html"), summary="Map page")
def page(deps: Deps, request: Request, dataset: DatasetName) -> Response:
    """The map page. It needs WebGL2 or a 2-D canvas, and follows new snapshots."""
    status = 200
    try:
        deps.state.output(dataset)
    except Problem as problem:
        if problem.status != 404 or "text/html" not in request.headers.get("accept", ""):
            raise
        status = 404  # the page says so, and leads to the datasets that there are
    return with_policy(FileResponse(static_folder / "map.html", status, headers={"Cache-Control": "no-cache"}))


@router.get("/{dataset}/current.json", response_class=Json, summary="Newest snapshot and progress")
async def current(deps: Deps, dataset: DatasetName) -> Json:
    """The newest snapshot's number and the progress of a running index; small, for polling."""
    await deps.monitor.refresh()
    output = await run_in_threadpool(deps.state.output, dataset)
    answer: dict[str, Any] = {"snapshot": None, "version": None, "rows": 0, "created": None}
    try:
        snapshot = await run_in_threadpool(open_snapshot, output)
        answer = {
            "snapshot": snapshot.number,
            "version": version_of(snapshot),
            "rows": snapshot.manifest.rows,
            "created": snapshot.manifest.created,
        }
    except NotFound:
        pass
    known = deps.monitor.store.value
    status = dataset_json(known.datasets[dataset]) if known and dataset in known.datasets else {}
    work = {key: status.get(key) for key in ("indexing", "step", "progress")}
    return Json({**answer, **work, "waiting": status.get("unindexed", 0)}, headers={"Cache-Control": "no-store"})


@router.get("/{dataset}/snapshot.json", response_class=Json, summary="Describe a snapshot")
def snapshot(deps: Deps, dataset: DatasetName, snapshot: SnapshotNumber = None) -> Json:
    """Legends, bounds, region names, and where the points are."""
    return Json(summary(_map_of(deps, dataset, snapshot)), headers={"Cache-Control": "no-store"})


@router.get(
    "/{dataset}/points.bin",
    response_class=Response,
    responses=content("application/octet-stream"),
    summary="Points of a snapshot",
)
def points(deps: Deps, request: Request, dataset: DatasetName, snapshot: SnapshotNumber = None) -> Response:
    """The points, column by column as described in `snapshot.json`; gzip if the client accepts it."""
    data = _map_of(deps, dataset, snapshot)
    lifetime = "private, max-age=31536000, immutable" if request.query_params.get("v") == data.version else "no-cache"
    headers = {"Cache-Control": lifetime, "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return FileResponse(deps.maps.points_file(data), media_type="application/octet-stream", headers=headers)
    return Response(deps.maps.unpacked_points(data), media_type="application/octet-stream", headers=headers)


@router.get("/{dataset}/records", response_class=Json, summary="Records by row")
def records(deps: Deps, dataset: DatasetName, rows: RowNumbers, snapshot: SnapshotNumber = None) -> Json:
    """The records at these rows (`rows=1,2,3`), in that order."""
    data = _map_of(deps, dataset, snapshot)
    wanted = _expect_rows([int(row) for row in rows.split(",")], data.rows)
    return Json(_records(deps, dataset, data, wanted), headers={"Cache-Control": "no-cache"})


@router.get("/{dataset}/run", response_class=Json, summary="Run of a row")
def run(deps: Deps, dataset: DatasetName, row: RowNumber, snapshot: SnapshotNumber = None) -> Json:
    """The rows of the run that this row belongs to, in chronological order."""
    data = _map_of(deps, dataset, snapshot)
    _expect_rows([row], data.rows)
    return Json({"filename": data.filenames[data.filename[row]], "rows": rows_of_run(data, row)})


@router.get("/{dataset}/row", response_class=Json, summary="Row of a record")
def row(deps: Deps, dataset: DatasetName, id: WantedId, snapshot: SnapshotNumber = None) -> Json:
    """The row of the record with this id."""
    return Json({"row": row_of(_map_of(deps, dataset, snapshot), id)})


@router.get("/{dataset}/search", response_class=Json, summary="Search for rows")
def search(
    deps: Deps,
    dataset: DatasetName,
    filters: FilterParameters,
    q: Words = "",
    id: SimilarTo = "",
    by: SearchedBy = "words",
    snapshot: SnapshotNumber = None,
) -> Json:
    """The rows whose text contains every word of `q`, or whose filename contains it as a whole, ignoring case.

    The last word may be the beginning of one; words in double quotes are a phrase.

    With `by=meaning`, and for the `id` of a record: the rows that are closest in meaning, the best first; with `by=both`
    those that fit best by words and meaning. Rows of the newest snapshot that do not pass the filters are left out.
    """
    data = _map_of(deps, dataset, snapshot)
    if by == "words" and not id:
        expect_query(Query(text=q))
        rows, is_cut = _rows_with_words(deps, dataset, data, q, filters)
    else:
        mode: Mode = "meaning" if by == "words" else by
        query = Query(text=q, like=(id,) if id else (), mode=mode, k=max_similar, filters=filters)
        expect_query(query)
        hits = search_dataset(deps.searches.get(dataset), query)
        rows, is_cut = rows_of(data, [hit.record.id for hit in hits]), False
    return Json({"q": q, "rows": rows, "total": len(rows), "is_cut": is_cut})


def _rows_with_words(
    deps: Dependencies, dataset: str, data: MapData, q: str, filters: Filters
) -> tuple[list[int], bool]:
    """The rows with every word of a query, or with the whole of it in their filename, ascending; and whether some are left out."""
    number = deps.state.dataset_id(dataset)
    found = deps.state.with_store(
        lambda store: store.words.search(number, q, max_found + 1, is_typing=True) if number is not None else []
    )
    rows = sorted({*rows_of(data, [one.id for one in found]), *rows_in_files(data, q)})
    if filters and number is not None:
        passes = deps.state.with_store(lambda store: accepted_rows(store, number, data.snapshot, filters))
        rows = [row for row in rows if passes[row]]
    return rows[:max_found], len(rows) > max_found


def _map_of(deps: Dependencies, dataset: str, number: int | None) -> MapData:
    """The map of snapshot `number`, or of the newest one. Raises `Problem` or `NotFound`."""
    return deps.maps.find(deps.state.output(dataset), number)


def _expect_rows(rows: list[int], n: int) -> list[int]:
    """The same rows. Raises `Problem` 404 for one that a snapshot of `n` rows does not have."""
    if max(rows) >= n:
        raise Problem(404, "unknown-row", f"This snapshot has {n} rows; row {max(rows)} was requested.")
    return rows


def _records(deps: Dependencies, dataset: str, data: MapData, rows: list[int]) -> list[dict[str, Any]]:
    """By id from the database, which is fast; from the snapshot's files while the database is unreachable."""
    try:
        found = [deps.state.record(dataset, data.ids[row].decode()) for row in rows]
    except Problem:
        found = records_at(data.snapshot, rows)
    return [{"row": row, **record} for row, record in zip(rows, found, strict=True)]
