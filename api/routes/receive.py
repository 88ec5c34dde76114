"""Receive records: spans as OpenTelemetry sends them, and rows. They are stored first, and embedded by the next index."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from api.dependencies import Deps
from api.inputs import MAX_NAME_CHARS, NAME_PATTERN, DatasetName
from api.otlp import CODES, JSON, PROTOBUF, failure, media_type_of, success
from api.problems import Problem, as_problem
from api.problems import media_type as problem_type
from api.receiving import Taken
from api.responses import Json
from components.errors import BadSetting, RunAtlasError
from components.receive.received import HTTP, OTLP, Received, received_rows, received_spans
from components.settings import Settings
from components.sources.records import RecordMaker

router = APIRouter(tags=["receive"])

dataset_header = "X-Runatlas-Dataset"
default_dataset = "traces"
LINES = frozenset({"application/x-ndjson", "application/jsonl", "application/json-lines"})
max_errors = 100  # that an answer lists
_ANY = {"type": "string", "format": "binary"}
_SPANS = {
    "description": "An ExportTraceServiceRequest.",
    "anyOf": [
        {"type": "object", "maxProperties": 0},
        {
            "type": "object",
            "required": ["resourceSpans"],
            "properties": {"resourceSpans": {"type": "array", "items": {}}},
        },
    ],
}
_STATUS = {
    "type": "object",
    "required": ["code", "message"],
    "properties": {"code": {"type": "integer"}, "message": {"type": "string"}},
}
_ROWS = {
    "description": "Rows, each with a text and, if it has one, a key; other columns as those of generic logs.",
    "anyOf": [
        {"type": "array", "items": {}},
        {"type": "object", "required": ["records"], "properties": {"records": {"type": "array", "items": {}}}},
    ],
}


def _described(content: dict[str, Any], **more: Any) -> dict[str, Any]:
    body = {"required": True, "content": {name: {"schema": schema} for name, schema in content.items()}}
    return {"requestBody": body, **more}


def _status_answer(description: str) -> dict[str, Any]:
    """An error of the protocol; what is refused before the route is asked answers with a problem document."""
    problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
    content = {JSON: {"schema": _STATUS}, PROTOBUF: {"schema": _ANY}, problem_type: problem}
    return {"description": description, "content": content}


_refusals = {
    400: "The body can't be read, or the dataset has no valid name; sending it again can't help.",
    413: "The body is larger than receive.max_body_bytes, or unpacks to more than receive.max_unpacked_bytes.",
    415: "The body is neither protobuf nor JSON.",
    429: "Too much is being received; `Retry-After` states when to try again.",
    503: "The database does not answer; `Retry-After` states when to try again.",
}


@router.post(
    "/v1/traces",
    summary="Receive spans (OTLP)",
    response_class=Response,
    responses={
        200: {
            "description": "Stored, but for the spans that a partial success counts.",
            "content": {JSON: {"schema": {"type": "object"}}, PROTOBUF: {"schema": _ANY}},
        },
        **{status: _status_answer(text) for status, text in _refusals.items()},
    },
    openapi_extra=_described(
        {JSON: _SPANS, PROTOBUF: _ANY},
        parameters=[
            {
                "name": dataset_header,
                "in": "header",
                "required": False,
                "description": "Name of the dataset, which is created if it is new.",
                "schema": {
                    "type": "string",
                    "default": default_dataset,
                    "minLength": 1,
                    "maxLength": MAX_NAME_CHARS,
                    "pattern": NAME_PATTERN,
                },
            }
        ],
    ),
)
async def traces(request: Request, deps: Deps) -> Response:
    """Spans from an OpenTelemetry SDK or collector, in protobuf or JSON, also gzipped; stored when the answer is 200.

    A span received again is one record, and its later report counts.
    """
    media_type = media_type_of(request.headers.get("content-type", ""))
    if media_type is None:
        return failure(415, f"Content-Type must be {PROTOBUF} or {JSON}.", None, {})

    def parse(body: bytes, _: Settings, maker: RecordMaker) -> Received:
        return received_spans(body, maker, is_json=media_type == JSON)

    dataset = request.headers.get(dataset_header, default_dataset)
    try:
        taken = await deps.receiving.take(request, dataset, OTLP, parse)
    except (RunAtlasError, Problem) as error:
        problem = as_problem(error)
        status = 400 if isinstance(error, BadSetting) else problem.status
        if status not in CODES:
            raise
        return failure(status, problem.detail, media_type, dict(problem.headers))
    return success(taken.received.rejected, media_type)


@router.post(
    "/datasets/{dataset}/records",
    summary="Receive rows",
    response_class=Json,
    responses={
        status: {"description": text, "content": {problem_type: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
        for status, text in _refusals.items()
        if status in {415, 429}
    },
    openapi_extra=_described({JSON: _ROWS, "application/x-ndjson": _ANY}),
)
async def records(request: Request, deps: Deps, dataset: DatasetName) -> Json:
    """Rows as a JSON list, an object with `records`, or JSON lines, also gzipped; stored when the answer is 200.

    A row's `key` makes it one record however often it is sent; with other content it is a new version of that record. A
    row without a key has its content for one. Rows that can't be read are counted, and the others are kept.
    """
    named = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if named not in LINES and named != JSON:
        raise Problem(415, "unsupported-media-type", f"Content-Type must be {JSON} or application/x-ndjson.")

    def parse(body: bytes, settings: Settings, maker: RecordMaker) -> Received:
        return received_rows(body, maker, is_lines=named in LINES, columns=settings.dataset(dataset).columns)

    return Json(_summary(dataset, await deps.receiving.take(request, dataset, HTTP, parse)))


def _summary(dataset: str, taken: Taken) -> dict[str, Any]:
    received, kept = taken.received, taken.kept
    return {
        "dataset": dataset,
        "received": received.n_items,
        "new": kept.new,
        "replaced": kept.superseded,
        "existing": kept.existing,
        "skipped": received.n_skipped,
        "rejected": len(received.rejected),
        "errors": [{"at": one.at, "reason": one.defect.reason} for one in received.rejected[:max_errors]],
    }
