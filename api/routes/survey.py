"""Uploaded tables: upload one, follow its survey, see the terrain, change weights, download the balanced table."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request
from fastapi import Path as InPath
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from api.cors import csrf_header
from api.dependencies import Dependencies, Deps
from api.inputs import MAX_NUMBER
from api.login import csrf_token_of
from api.multipart import receive_upload
from api.problems import Problem
from api.responses import Json, attachment, parquet_file
from api.survey_runs import start_survey
from components import surveys
from components.dataset_settings import effective_settings
from components.errors import NotFound
from components.removal import drop_dataset
from components.survey import export
from components.survey.terrain import MAX_WEIGHT
from components.wiring import open_credentials

router = APIRouter(prefix="/api", tags=["survey"])

MAX_COLUMN_CHARS: Final = 1_000
upload_body: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary", "description": "A CSV with a header."},
                        "text_column": {
                            "type": "string",
                            "maxLength": MAX_COLUMN_CHARS,
                            "description": "The column to survey; without, the one that looks most like text.",
                        },
                    },
                }
            }
        },
    }
}

UploadId = Annotated[
    str,
    InPath(min_length=1, max_length=100, pattern=r"^[\w-][\w.-]*$", description="The upload's `dataset_id`."),
]
Weight = Annotated[float, Field(ge=0, le=MAX_WEIGHT, allow_inf_nan=False, strict=True)]
HillId = Annotated[str, Field(pattern=r"^[0-9]{1,4}$", max_length=4)]


class Uploaded(BaseModel):
    """An accepted upload. `columns` are names that are safe to show; those in exports are as uploaded."""

    dataset_id: str
    columns: list[str]
    text_column: str
    rows: int
    warnings: list[str]


class Status(BaseModel):
    """How far a survey is."""

    dataset_id: str
    status: Literal["processing", "completed", "failed"]
    progress: int = Field(description="0 to 100.")
    stage: Literal["embedding", "clustering", "analyzing", "building_terrain"]
    error: str | None


class Adjustments(BaseModel):
    """New weights of hills; the other hills keep theirs."""

    model_config = ConfigDict(extra="forbid")
    adjustments: dict[HillId, Weight] = Field(
        description="Hill -> weight: its height over its original height.",
        max_length=1_000,
        json_schema_extra={"additionalProperties": False},  # keys are numbers of hills
    )


class TerrainMetrics(BaseModel):
    """How unequal the hills are by size times weight. `flatness`: exp(entropy) over the number of hills."""

    gini: float
    gini_normalized: float
    flatness: float


@router.get("/csrf", summary="Token for pages")
def csrf(deps: Deps) -> dict[str, str]:
    """The header that a page of this server, or of a named origin, sends with POST and DELETE beside its cookie."""
    token = deps.settings.api_token
    return {"header": csrf_header, "token": csrf_token_of(token) if token else ""}


@router.post("/upload", status_code=202, summary="Upload a table", openapi_extra=upload_body)
async def upload(deps: Deps, request: Request) -> Uploaded:
    """Upload a CSV; a survey of it starts. At least 50 rows; encoding, delimiter and text column are found."""
    await run_in_threadpool(_admit, deps, request)
    received = await run_in_threadpool(surveys.incoming_file, deps.settings)
    try:
        body = await receive_upload(request, received, max_bytes=deps.settings.survey.max_upload_bytes)
        column = body.fields.get("text_column") or request.query_params.get("text_column")
        accepted = await run_in_threadpool(
            deps.state.with_store,
            lambda store: surveys.accept(
                effective_settings(deps.settings, store),
                store,
                received,
                file_name=body.file_name or "",
                text_column=column,
            ),
        )
    finally:
        received.unlink(missing_ok=True)
    await start_survey(deps.prefect, deps.surveys, accepted.dataset_id)
    return Uploaded(**asdict(accepted))


@router.get("/status/{id}", summary="Follow a survey")
def status(deps: Deps, id: UploadId) -> Status:
    """Status, stage and progress of the survey of an upload."""
    found = deps.state.with_store(lambda store: surveys.state_of(store, id))
    return Status(**asdict(found))


@router.get("/terrain/{id}", response_class=Json, summary="See the terrain")
def terrain(deps: Deps, id: UploadId) -> Json:
    """The hills and the surface, `heightData[z][x]`, at their present weights; 409 until the survey is completed.

    `x`, `z` and `radius` of hills count cells of the grid. `noise` are rows that belong to no hill.
    """
    found = deps.state.with_store(lambda store: surveys.terrain_of(store, id))
    return Json(found.as_dict(), headers={"Cache-Control": "no-store"})


@router.post("/adjust/{id}", summary="Change weights")
def adjust(deps: Deps, id: UploadId, body: Adjustments) -> TerrainMetrics:
    """Set the weights of some hills and return the metrics."""
    wanted = {int(hill): weight for hill, weight in body.adjustments.items()}
    found = deps.state.with_store(lambda store: surveys.adjust(store, id, wanted))
    return TerrainMetrics(**asdict(found))


@router.get(
    "/export/{id}",
    response_class=Response,
    responses={200: {"description": "The table.", "content": {"text/csv": {"schema": {"type": "string"}}}}},
    summary="Download the table",
)
def export_table(
    deps: Deps,
    id: UploadId,
    format: Annotated[
        export.Format,
        Query(description="`weighted`: all rows with the weight of their hill; `resampled`: rows by the weights."),
    ] = "weighted",
    file: Annotated[Literal["csv", "parquet"], Query(description="Kind of file.")] = "csv",
    seed: Annotated[int, Query(ge=0, le=MAX_NUMBER, description="Of the choice of rows (`resampled`).")] = 42,
    rows: Annotated[
        int | None,
        Query(ge=1, le=export.MAX_ROWS, description="Rows to take (`resampled`); without, as many as were uploaded."),
    ] = None,
) -> Response:
    """The uploaded table, by the present weights.

    Cells are as they were uploaded, but in CSV those that a spreadsheet would run as formulas come behind a `'`; the header
    `X-Runatlas-Guarded-Cells` counts them, `X-Runatlas-Column` names the added column (`weight` or `source_row`).
    """
    chosen = deps.state.with_store(
        lambda store: surveys.download(deps.settings, store, id, format, rows=rows, seed=seed)
    )
    stem = f"{chosen.name}-{format}"
    headers = {
        "X-Runatlas-Column": chosen.column,
        "X-Runatlas-Rows": str(int(chosen.copies.sum())),
        "Cache-Control": "no-store",
    }
    if file == "parquet":
        return parquet_file(
            partial(export.write_parquet, chosen), deps.settings.uploads, headers | attachment(f"{stem}.parquet")
        )
    blocks = _opened(export.csv_blocks(chosen))
    headers["X-Runatlas-Guarded-Cells"] = str(export.count_guarded(chosen))
    charset = chosen.table.encoding.charset
    return StreamingResponse(
        blocks, media_type=f"text/csv; charset={charset}", headers=headers | attachment(f"{stem}.csv")
    )


@router.delete("/datasets/{id}", status_code=204, summary="Delete an upload")
def delete(deps: Deps, id: UploadId) -> Response:
    """Delete an upload with its file, records, terrain, and the vectors that no other dataset uses; a running survey ends."""

    def drop(store: Any) -> None:
        store.surveys.get(id)  # raises `NotFound` for datasets of logs, which this call does not delete
        drop_dataset(deps.settings, store, id, credentials=open_credentials(deps.settings))

    deps.state.with_store(drop)
    return Response(status_code=204)


# --- parts


def _admit(deps: Dependencies, request: Request) -> None:
    """Raises `Problem` 429 for an address with too many uploads in the last minute."""
    limit = deps.settings.survey.uploads_per_minute
    wait_s = deps.state.with_store(lambda store: store.surveys.admit(_network(request), per_minute=limit))
    if wait_s:
        seconds = int(wait_s) + 1
        detail = f"{limit} uploads a minute are allowed from one address; try again in {seconds} s."
        raise Problem(429, "too-many-uploads", detail, headers={"Retry-After": str(seconds)})


def _network(request: Request) -> str:
    """The address of the client; of IPv6 the network, whose addresses all belong to one user."""
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _opened(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The same blocks, the file opened: from here on its deletion changes nothing."""
    try:
        first = [next(blocks), *([second] if (second := next(blocks, None)) is not None else [])]
    except FileNotFoundError as error:
        raise NotFound("The upload was deleted.") from error

    def all_blocks() -> Iterator[bytes]:
        yield from first
        yield from blocks

    return all_blocks()
