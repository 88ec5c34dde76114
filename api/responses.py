"""Responses that several routes share: JSON by orjson, and files that are revalidated at each use."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import orjson
from fastapi import HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.background import BackgroundTask
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

PARQUET: Final = "application/vnd.apache.parquet"
ABANDONED_S: Final = 86_400  # age of a file that nobody is still sending
static_folder = Path(__file__).parent / "static"


class Json(JSONResponse):
    """JSON by orjson: fast for long lists, times in ISO 8601, NaN as null."""

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_UTC_Z)


class StaticAssets(StaticFiles):
    """Our scripts and styles, revalidated at each use, because they change with the version."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


def content(media_type: str) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI `responses` of a route that returns something else than JSON."""
    return {200: {"description": "The content.", "content": {media_type: {"schema": {"type": "string"}}}}}


def file_in(folder: Path, path: str) -> Path:
    """The file at `path` below `folder`. Raises 404 if there is none, or if the path leads out of the folder."""
    root = folder.resolve()
    try:
        file = (root / path).resolve()
        is_inside = file.is_relative_to(root) and file.is_file()
    except (OSError, ValueError) as error:  # a name that no file can have
        raise HTTPException(404) from error
    if not is_inside:
        raise HTTPException(404)
    return file


def revalidated(request: Request, file: Path, tag: str) -> Response:
    """The file under an ETag that changes with the snapshot; 304 if the client has it. Ranges are supported."""
    headers = {"Cache-Control": "no-store" if file.suffix == ".json" else "no-cache", "ETag": tag}
    if request.headers.get("if-none-match") == tag and file.suffix != ".json":
        return Response(status_code=304, headers=headers)
    return FileResponse(file, headers=headers)


def attachment(name: str) -> dict[str, str]:
    """The header that makes a browser save a response under this name (RFC 6266)."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "-_. ") else "_" for c in name)
    exact = "" if plain == name else f"; filename*=UTF-8''{quote(name)}"
    return {"Content-Disposition": f'attachment; filename="{plain}"{exact}'}


def parquet_file(write: Callable[[Path], object], folder: Path, headers: Mapping[str, str]) -> FileResponse:
    """A Parquet file, which can't be streamed: `write(path)` makes it in `folder`, and it is deleted once it is sent.

    What a process that was killed left there is deleted too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".export-*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > ABANDONED_S:
                left.unlink()
    target = folder / f".export-{uuid.uuid4().hex}"
    try:
        write(target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    done = BackgroundTask(target.unlink, missing_ok=True)
    return FileResponse(target, media_type=PARQUET, headers=headers, background=done)
