"""Errors as RFC 9457 problem documents: what happened, where, and how to fix it; without paths and secrets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.errors import (
    BadBody,
    BadQuery,
    BadSetting,
    BadUpload,
    BodyTooLarge,
    ModelChanged,
    NotFound,
    RunAtlasError,
    SchemaTooNew,
    TooManyRequests,
    TransientError,
)
from components.redact import public_text
from components.settings import reason_of
from components.surveys import NotCompleted

media_type = "application/problem+json"


class Problem(Exception):
    """An error that the API raises itself. `errors` name the fields that are wrong, `more` are further members."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[Mapping[str, str]] = (),
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail = status, kind, detail
        self.headers, self.errors, self.more = headers or {}, errors, more or {}


def document(problem: Problem, path: str) -> dict[str, Any]:
    """The members of the document; `path` is the requested one."""
    members: dict[str, Any] = {
        "type": f"urn:runatlas:problem:{problem.kind}",
        "title": problem.kind.replace("-", " ").capitalize(),
        "status": problem.status,
        "detail": public_text(problem.detail),
        "instance": path,
    }
    members |= problem.more
    if problem.errors:
        members["errors"] = list(problem.errors)
    return members


class _Document(JSONResponse):
    """JSON that can always be encoded: lone surrogates, which a request may contain, are replaced."""

    media_type = media_type

    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")


def problem_response(problem: Problem, path: str) -> Response:
    """The response that sends the document."""
    return _Document(
        document(problem, path),
        status_code=problem.status,
        headers={"Cache-Control": "no-store", **problem.headers},
    )


def as_problem(error: Exception) -> Problem:
    """The problem that describes an internal error to a caller."""
    match error:
        case Problem():
            return error
        case NotFound():
            return Problem(404, "not-found", str(error))
        case BadSetting():
            return Problem(422, "unusable-value", str(error))
        case BodyTooLarge():
            return Problem(413, "body-too-large", str(error))
        case BadBody():
            return Problem(400, "unreadable-body", str(error))
        case BadUpload():
            fields = [{"field": "text_column", "message": "no such column"}] if error.is_about_column else []
            kind = "invalid-request" if error.is_about_column else "unusable-file"
            return Problem(422 if error.is_about_column else 400, kind, str(error), errors=fields)
        case NotCompleted():
            stage = {"stage": error.state.stage, "progress": error.state.progress}
            return Problem(409, "not-completed", str(error), more={"survey": error.state.status, **stage})
        case BadQuery():
            return Problem(422, "unusable-query", str(error))
        case ModelChanged():
            return Problem(409, "model-changed", str(error))
        case TooManyRequests():
            return Problem(429, "too-many-requests", str(error), headers=_retry_after(error))
        case TransientError():
            return Problem(503, "try-again", str(error), headers=_retry_after(error))
        case SchemaTooNew():
            return Problem(503, "database-too-new", str(error))
        case RunAtlasError():
            return Problem(500, "failed", str(error))
        case SQLAlchemyError():
            return database_down()
    return Problem(500, "internal-error", "Internal error; the server's log has the details.")


def _retry_after(error: TransientError) -> dict[str, str]:
    return {"Retry-After": str(max(1, round(error.retry_after_s or 2)))}


def database_down() -> Problem:
    """503: the database does not answer."""
    return Problem(
        503,
        "database-unreachable",
        "The database does not answer. Check that it is running, and RUNATLAS_DATABASE_URL; details: `runatlas doctor`.",
        headers={"Retry-After": "5"},
    )


def refused_input(error: RequestValidationError) -> Problem:
    """422: names each invalid field and what is wrong with it."""
    errors = [{"field": _field(item), "message": _message(item)} for item in error.errors()]
    listed = "; ".join(f"{item['field']}: {item['message']}" for item in errors)
    return Problem(422, "invalid-request", f"{listed}. GET /docs describes every call.", errors=errors)


def _field(item: Mapping[str, Any]) -> str:
    loc: Sequence[str | int] = item["loc"]
    if item["type"] == "json_invalid":  # with the offset of the error
        return "body"
    parts = [str(part) for part in loc if part not in {"body", "query", "path", "header"}]
    return ".".join(parts) or (str(loc[0]) if loc else "request")


def _message(item: Mapping[str, Any]) -> str:
    if item["type"] == "extra_forbidden":
        return "unknown field"
    if item["type"] == "json_invalid":
        return "the body is not valid JSON"
    if item["loc"] == ("body",) and isinstance(item.get("input"), bytes):  # not read, since it is said to be a form
        return "it was not sent as JSON; add the header Content-Type: application/json"
    return reason_of(str(item["msg"]))


def path_of(request: Request) -> str:
    """The requested path. `request.url` fails on a query that is not UTF-8."""
    return str(request.scope["path"])


_methods = ("DELETE", "GET", "PATCH", "POST", "PUT")
_kinds = {413: "body-too-large", 416: "range-not-satisfiable"}


def _http_problem(error: StarletteHTTPException, request: Request) -> Problem:
    phrase = _kinds.get(error.status_code) or HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = _allowed(request) or Headers(headers=headers).get("allow", "")
    allowed = headers.get("Allow") or "see GET /docs"
    details = {
        404: f"Nothing found at {path_of(request)}. GET / lists the datasets, GET /docs all calls.",
        405: f"{request.method} is not supported here; allowed: {allowed}.",
    }
    detail = details.get(error.status_code, str(error.detail))
    return Problem(error.status_code, phrase, detail, headers=headers)


def _allowed(request: Request) -> str:
    """The methods of all routes of the path; the router itself names those of the first one alone."""
    asked = [(method, {**request.scope, "method": method}) for method in _methods]
    matches = {
        method for method, scope in asked for route in request.app.routes if route.matches(scope)[0] is Match.FULL
    }
    return ", ".join(sorted(matches))


class PlainErrors:
    """ASGI middleware: turns plain-text errors of libraries, such as for a malformed range, into problem documents."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        held: list[Message] = []  # the start of a plain-text error

        async def send_problems(message: Message) -> None:
            if message["type"] == "http.response.start" and _is_plain_error(message):
                held.append(message)
                return
            if not held:
                await send(message)
            elif not message.get("more_body", False):
                await _problem_of(held[0], message, scope)(scope, receive, send)

        await self._app(scope, receive, send_problems)


def _is_plain_error(message: Message) -> bool:
    is_plain = Headers(scope=message).get("content-type", "").startswith("text/plain")
    return message["status"] >= HTTPStatus.BAD_REQUEST and is_plain


def _problem_of(start: Message, body: Message, scope: Scope) -> Response:
    status = int(start["status"])
    text = body.get("body", b"").decode("utf-8", "replace") or HTTPStatus(status).phrase
    kept = {name: value for name, value in Headers(scope=start).items() if name in {"content-range", "allow"}}
    kind = _kinds.get(status) or HTTPStatus(status).phrase.lower().replace(" ", "-")
    return problem_response(Problem(status, kind, f"{text.rstrip('.')}.", headers=kept), scope["path"])


def install_problems(app: FastAPI) -> None:
    """Makes `app` answer every error with a problem document."""
    app.add_middleware(PlainErrors)

    def answer_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, StarletteHTTPException)
        return problem_response(_http_problem(error, request), path_of(request))

    def answer_input(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return problem_response(refused_input(error), path_of(request))

    def answer(request: Request, error: Exception) -> Response:
        return problem_response(as_problem(error), path_of(request))

    app.add_exception_handler(StarletteHTTPException, answer_http)
    app.add_exception_handler(RequestValidationError, answer_input)
    for kind in (Problem, RunAtlasError, SQLAlchemyError, Exception):
        app.add_exception_handler(kind, answer)
