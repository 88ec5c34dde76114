"""What the map page filters by: values with counts, and a code a row."""

from __future__ import annotations

import gzip
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from api.dependencies import Dependencies, Deps
from api.inputs import MAX_NUMBER, DatasetName, SnapshotNumber
from api.map_cache import snapshot_numbered
from api.map_data import MapData
from api.map_facets import facets_json
from api.problems import Problem
from api.responses import Json, content
from components.snapshot.read import new_since, snapshots_of

router = APIRouter(prefix="/map", tags=["map"])

FieldName = Annotated[str, Path(min_length=1, max_length=1_000, description="Name of the field.")]
Earlier = Annotated[int, Query(ge=1, le=MAX_NUMBER, description="Number of an earlier snapshot.")]
TagName = Annotated[str, Query(min_length=1, max_length=1_000, description="The tag.")]


@router.get("/{dataset}/facets.json", response_class=Json, summary="What records can be filtered by")
def facets(deps: Deps, dataset: DatasetName, snapshot: SnapshotNumber = None) -> Json:
    """Each field with its values, the most frequent first; `url` has the value of each row.

    At most 65,534 values of a field, of other than the usual fields 1,000: `others` counts the rows with further ones.
    """
    data = deps.maps.find(deps.state.output(dataset), snapshot)
    columns = facets_json(deps.facets.all(dataset, data))
    return Json({"snapshot": data.snapshot.number, "columns": columns}, headers={"Cache-Control": "no-cache"})


@router.get(
    "/{dataset}/facets/{name:path}.bin",
    response_class=Response,
    responses=content("application/octet-stream"),
    summary="A field's value of each row",
)
def facet(
    deps: Deps, request: Request, dataset: DatasetName, name: FieldName, snapshot: SnapshotNumber = None
) -> Response:
    """A number for each row, uint16 little endian: which of the values in `facets.json`; 65534 others, 65535 none."""
    data = deps.maps.find(deps.state.output(dataset), snapshot)
    found = next((one for one in deps.facets.all(dataset, data) if one.name == name), None)
    if found is None:
        detail = f"Records of dataset {dataset!r} can't be listed by {name[:100]!r}; facets.json names the fields."
        raise Problem(404, "unknown-field", detail)
    return _binary(request, found.codes.astype("<u2").tobytes())


@router.get("/{dataset}/snapshots.json", response_class=Json, summary="Snapshots that can be read")
def snapshots(deps: Deps, dataset: DatasetName) -> Json:
    """The snapshots of the dataset that were not removed yet, the oldest first."""
    found = snapshots_of(deps.state.output(dataset))
    rows = [{"snapshot": one.number, "created": one.manifest.created, "rows": one.manifest.rows} for one in found]
    return Json({"snapshots": rows}, headers={"Cache-Control": "no-store"})


@router.get(
    "/{dataset}/fresh.bin",
    response_class=Response,
    responses=content("application/octet-stream"),
    summary="Which rows are new",
)
def fresh(
    deps: Deps, request: Request, dataset: DatasetName, since: Earlier, snapshot: SnapshotNumber = None
) -> Response:
    """A byte for each row: 1 where snapshot `since` does not have the record."""
    output = deps.state.output(dataset)
    data = deps.maps.find(output, snapshot)
    earlier = snapshot_numbered(output, since)
    ids = np.char.decode(data.ids, "ascii").tolist()
    return _binary(request, new_since(earlier, ids).astype(np.uint8).tobytes())


@router.get(
    "/{dataset}/tagged.bin",
    response_class=Response,
    responses=content("application/octet-stream"),
    summary="Which rows have a tag",
)
def tagged(
    deps: Deps, request: Request, dataset: DatasetName, tag: TagName, snapshot: SnapshotNumber = None
) -> Response:
    """A byte for each row: 1 where the record has the tag."""
    data = deps.maps.find(deps.state.output(dataset), snapshot)
    return _binary(request, _tagged(deps, dataset, data, tag).astype(np.uint8).tobytes())


def _tagged(deps: Dependencies, dataset: str, data: MapData, tag: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    number = deps.state.dataset_id(dataset)
    ids = deps.state.with_store(lambda store: store.tags.ids(number, [tag]) if number is not None else [])
    rows = data.index.rows_of(ids)
    found = np.zeros(data.rows, np.bool_)
    found[rows[rows >= 0]] = True
    return found


def _binary(request: Request, raw: bytes) -> Response:
    headers = {"Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        raw = gzip.compress(raw, compresslevel=1, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return Response(raw, media_type="application/octet-stream", headers=headers)
