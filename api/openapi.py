"""What /openapi.json states beside the routes: the token, and the problem documents of all calls."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.problems import media_type

scheme = "bearerToken"
open_calls = frozenset({"/health"})
methods = frozenset({"get", "post", "put", "patch", "delete"})

refusals = {
    400: "The request is malformed.",
    401: "The token is missing or wrong.",
    403: "The request came from a page of another site or, on a server without a token, from another user of the machine.",
    404: "No such dataset, record, row, snapshot or run.",
    405: "The path does not support this method.",
    409: "The Idempotency-Key belongs to a run with other parameters; or the survey of the upload is not completed.",
    413: "The body is larger than api.max_body_bytes.",
    421: "The server does not accept this host name; api.allowed_hosts lists additional ones.",
    422: "A value is invalid; `errors` names the fields.",
    429: "Too many uploads from this address; `Retry-After` states when to try again.",
    500: "Internal error; the server's log has the details.",
    502: "The Prefect server answered with an error.",
    503: "The database or the Prefect server does not answer; `Retry-After` states when to try again.",
}
only_posts = frozenset({409, 413, 502})
only_some = {429: frozenset({"/api/upload"})}
also = {409: frozenset({"/api/terrain/{id}", "/api/export/{id}"})}

problem_schema: dict[str, Any] = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457: what happened, where, and how to fix it.",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {"type": "string", "description": "`urn:runatlas:problem:` followed by the kind."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string", "description": "The requested path."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}


def describe(app: FastAPI, *, is_locked: bool, public_url: str | None = None) -> None:
    """Makes `app` declare its security scheme, which `is_locked` makes mandatory, and the problem documents of each call."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
                servers=[{"url": public_url}] if public_url else None,
            )
            app.openapi_schema = described(schema, is_locked=is_locked)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def described(schema: dict[str, Any], *, is_locked: bool) -> dict[str, Any]:
    """The schema with what all calls have in common."""
    parts = schema.setdefault("components", {})
    known = parts.setdefault("schemas", {})
    for replaced in ("HTTPValidationError", "ValidationError"):
        known.pop(replaced, None)
    known["Problem"] = problem_schema
    parts["securitySchemes"] = {
        scheme: {
            "type": "http",
            "scheme": "bearer",
            "description": "The value of RUNATLAS_API_TOKEN, if the server has one.",
        }
    }
    parts["responses"] = {_name(status): _problem_response(text) for status, text in refusals.items()}
    for path, calls in schema["paths"].items():
        for method, call in calls.items():
            if method in methods:
                _describe(call, path, method, is_locked=is_locked)
    return schema


def _describe(call: dict[str, Any], path: str, method: str, *, is_locked: bool) -> None:
    needed: list[dict[str, list[str]]] = [{scheme: []}] if is_locked else [{scheme: []}, {}]
    call["security"] = [] if path in open_calls else needed
    for status in refusals:
        is_own = status != 422 and str(status) in call["responses"]  # FastAPI adds a 422 of its own
        is_possible = not is_own and path in only_some.get(status, {path})
        if is_possible and (status not in only_posts or method == "post" or path in also.get(status, ())):
            call["responses"][str(status)] = {"$ref": f"#/components/responses/{_name(status)}"}


def _name(status: int) -> str:
    return HTTPStatus(status).name.title().replace("_", "")


def _problem_response(description: str) -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
