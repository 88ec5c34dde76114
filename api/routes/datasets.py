"""What there is: health, datasets, records, metrics."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from api.dependencies import Deps
from api.health import dataset_json
from api.inputs import DatasetName, RecordId
from api.map_data import to_json
from api.metrics import content_type, metrics_text

router = APIRouter(tags=["data"])


class Json(JSONResponse):
    """JSON made by orjson: quick for long lists, ISO times."""

    def render(self, content: Any) -> bytes:
        return to_json(content)


def sends(media_type: str) -> dict[int | str, dict[str, Any]]:
    """What a route that makes its response itself declares in OpenAPI."""
    return {200: {"description": "As asked for.", "content": {media_type: {"schema": {"type": "string"}}}}}


@router.get("/health", response_class=Json)
async def health(deps: Deps) -> Json:
    """How things stand. Always 200 while this process lives, and always at once; `reasons` say what is wrong.

    Database and Prefect are asked in the background; `age_s` says how many seconds old their answers are.
    """
    await deps.monitor.look()
    return Json(deps.monitor.health())


@router.get("/datasets")
def datasets(deps: Deps) -> dict[str, Any]:
    """Every dataset, where it stands, and where to look at it."""
    known = {name: dataset_json(status) for name, status in deps.state.status().items()}
    names = sorted({*known, *deps.settings.datasets})
    return {"datasets": {name: {**known.get(name, {}), "links": links(name)} for name in names}}


def links(name: str) -> dict[str, str]:
    return {"map": f"/map/{name}", "atlas": f"/atlas/{name}/", "picture": f"/map/{name}.png"}


@router.get("/datasets/{dataset}/records/{record_id}", response_class=Json)
def record(deps: Deps, dataset: DatasetName, record_id: RecordId) -> Json:
    """One whole record."""
    return Json(deps.state.record(dataset, record_id), headers={"Cache-Control": "no-cache"})


@router.get("/metrics", response_class=Response, responses=sends("text/plain"))
def metrics(deps: Deps) -> Response:
    """For Prometheus: computed from the database at each scrape."""
    return Response(metrics_text(deps.state), media_type=content_type)
