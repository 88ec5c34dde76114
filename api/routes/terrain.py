"""The pages of uploaded tables: one to drop a table on, and one per terrain. They use the calls of `/api/`."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response

from api.responses import content, static_folder
from api.routes.survey import UploadId
from api.security_headers import with_policy

router = APIRouter(prefix="/terrain", tags=["survey"])


@router.get("", response_class=Response, responses=content("text/html"), summary="Page to upload a table")
def upload() -> Response:
    """The page to drop a CSV on; it goes on to the terrain of the table."""
    return _page("upload.html")


@router.get("/{id}", response_class=Response, responses=content("text/html"), summary="Terrain page")
def terrain(id: UploadId) -> Response:  # noqa: ARG001 - the page reads it from its address
    """The topics of an uploaded table as hills, to turn and to rebalance. Shows progress until the terrain is built."""
    return _page("terrain.html")


def _page(name: str) -> Response:
    return with_policy(FileResponse(static_folder / name, headers={"Cache-Control": "no-cache"}))
