"""Health, datasets, records, metrics."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from api.dependencies import Deps
from api.health import dataset_json, health_json
from api.inputs import DatasetName, RecordId
from api.metrics import content_type, metrics_text
from api.responses import Json, content

router = APIRouter(tags=["data"])


@router.get("/health", response_class=Json, summary="Health check")
async def health(deps: Deps) -> Json:
    """Health check. Answers 200 at once while the process runs; `reasons` explain a `degraded` status.

    Database and Prefect are checked in the background; `age_s` is the age of these results in seconds.
    """
    await deps.monitor.refresh()
    drift_warn, has_model = deps.settings.project.drift_warn, deps.searches.has_model
    return Json(health_json(deps.monitor.store, deps.monitor.prefect, drift_warn, model_loaded=has_model))


@router.get("/datasets", summary="List the datasets")
def datasets(deps: Deps) -> dict[str, Any]:
    """Every dataset with its numbers and the links to its maps."""
    known = {name: dataset_json(status) for name, status in deps.state.status().items()}
    names = sorted({*known, *deps.settings.datasets})
    return {"datasets": {name: {**known.get(name, {}), "links": links(name)} for name in names}}


def links(name: str) -> dict[str, str]:
    """Where the maps of a dataset are."""
    return {"map": f"/map/{name}", "atlas": f"/atlas/{name}/", "picture": f"/map/{name}.png"}


@router.get("/datasets/{dataset}/records/{record_id:path}", response_class=Json, summary="Get a record")
def record(deps: Deps, dataset: DatasetName, record_id: RecordId) -> Json:
    """One record with its whole text and all extra fields, by its id, or by its key where its dataset has keys.

    A key is percent-encoded in the path, slashes included. `vector` says from which text (SHA-256) and by which model
    the record's vector was made, `versions` what has been stored under its key.
    """
    return Json(deps.state.record(dataset, record_id), headers={"Cache-Control": "no-cache"})


@router.get("/metrics", response_class=Response, responses=content("text/plain"), summary="Prometheus metrics")
def metrics(deps: Deps) -> Response:
    """Prometheus metrics, computed from the database at each scrape."""
    return Response(metrics_text(deps.state), media_type=content_type)
