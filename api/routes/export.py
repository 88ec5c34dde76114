"""Chosen records as a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.responses import Response, StreamingResponse
from pydantic import Field

from api.dependencies import Dependencies, Deps
from api.filters import FilterParameters
from api.inputs import DatasetName
from api.problems import Problem
from api.responses import attachment, content, parquet_file
from api.selection import Chosen, chosen_ids
from components import record_export
from components.contracts import NO_TOPIC
from components.errors import NotFound
from components.selections import select
from components.snapshot.read import open_snapshot

router = APIRouter(tags=["data"])

MEDIA = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/x-ndjson",
    "ids": "text/plain; charset=utf-8",
}


class Export(Chosen):
    """Which records, and as what."""

    format: Annotated[record_export.Format, Field(description="csv, jsonl, parquet, or the ids alone.")] = "csv"


@router.post(
    "/datasets/{dataset}/export",
    response_class=Response,
    responses={200: {"description": "The file.", "content": {"text/csv": {"schema": {"type": "string"}}}}},
    summary="Download chosen records",
)
def export(deps: Deps, dataset: DatasetName, body: Export) -> Response:
    """The chosen records with their tags, as a file that is sent while it is read.

    In CSV, cells that a spreadsheet would run as formulas come behind a `'`. Ids that the dataset does not have are an error.
    """
    number = deps.state.dataset_id(dataset)
    if number is None:
        raise NotFound(f"Nothing was loaded into dataset {dataset!r} yet.")
    ids = chosen_ids(deps, dataset, body)
    if body.ids is not None:
        _expect_known(deps, dataset, number, ids)
    name = f"{dataset}.{'txt' if body.format == 'ids' else body.format}"
    headers = {**attachment(name), "Cache-Control": "no-store"}
    batches = _batches(deps, dataset, number, ids)
    if body.format == "parquet":
        return parquet_file(partial(record_export.write_parquet, batches), deps.settings.cache / "exports", headers)
    return StreamingResponse(record_export.blocks(batches, body.format), media_type=MEDIA[body.format], headers=headers)


@router.get(
    "/map/{dataset}/export.html",
    response_class=Response,
    responses=content("text/html"),
    summary="The map as one file",
)
def export_html(deps: Deps, dataset: DatasetName, filters: FilterParameters) -> Response:
    """The map with the records that pass the filters, as one HTML file that opens from disk without a network.

    Secrets of known shapes are redacted; the page says how many, and what was cut or left out.
    """
    snapshot, number = open_snapshot(deps.state.output(dataset)), deps.state.dataset_id(dataset)
    chosen = deps.state.with_store(lambda store: select(store, number, snapshot, filters))
    headers = {
        **attachment(f"{dataset}.html"),
        "Cache-Control": "no-store",
        "Content-Security-Policy": "sandbox",  # it is meant for the disk, and no page of this server
    }
    return Response(chosen.map_file().html, media_type="text/html; charset=utf-8", headers=headers)


def _expect_known(deps: Dependencies, dataset: str, number: int, ids: Sequence[str]) -> None:
    unknown = deps.state.with_store(lambda store: store.tags.unknown(number, ids))
    if unknown:
        raise Problem(404, "unknown-record", f"Dataset {dataset!r} has no record {unknown[0][:100]!r}.")


def _batches(deps: Dependencies, dataset: str, number: int, ids: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
    try:
        data = deps.maps.newest(deps.state.output(dataset))
    except NotFound:
        data = None

    def topics_of(chunk: Sequence[str]) -> Sequence[int]:
        if data is None:
            return [NO_TOPIC] * len(chunk)
        rows = data.index.rows_of(chunk).tolist()
        return [int(data.topic[row]) if row >= 0 else NO_TOPIC for row in rows]

    return deps.state.with_store(lambda store: record_export.export_rows(store, number, ids, topics_of))
