"""Every refusal as an RFC 9457 problem document: what happened, where, and the way out; never a path or a secret."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException as StarletteHTTPException

from components.errors import BadSetting, NotFound, RunAtlasError, SchemaTooNew, TransientError

media_type = "application/problem+json"

_credentials = re.compile(r"(?<=://)[^\s/@'\"]+@")
_path = re.compile(r"(?<![\w.:/~-])(?:[A-Za-z]:\\|/)(?:[^\s'\"/\\,;)]+[/\\])+([^\s'\"/\\,;)]*)")


class Problem(Exception):
    """A refusal that a door raises itself. `more` are further members of the document."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[Mapping[str, str]] = (),
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail = status, kind, detail
        self.headers, self.errors = headers or {}, errors


def without_places(text: str) -> str:
    """`text` as it may leave the machine: absolute paths cut to their last name, credentials in URLs gone.

    >>> without_places("postgresql://me:secret@db/x: no /home/me/logs/a.jsonl")
    'postgresql://…@db/x: no …/a.jsonl'
    """
    return _path.sub(r"…/\1", _credentials.sub("…@", text))


def document(problem: Problem, path: str) -> dict[str, Any]:
    """The members of the problem document."""
    members: dict[str, Any] = {
        "type": f"urn:runatlas:problem:{problem.kind}",
        "title": problem.kind.replace("-", " ").capitalize(),
        "status": problem.status,
        "detail": without_places(problem.detail),
        "instance": path,
    }
    if problem.errors:
        members["errors"] = list(problem.errors)
    return members


def problem_response(problem: Problem, path: str) -> Response:
    return JSONResponse(
        document(problem, path),
        status_code=problem.status,
        media_type=media_type,
        headers={"Cache-Control": "no-store", **problem.headers},
    )


def as_problem(error: Exception) -> Problem:
    """What a caller should know of an error that came from inside."""
    match error:
        case Problem():
            return error
        case NotFound():
            return Problem(404, "not-found", str(error))
        case BadSetting():
            return Problem(422, "unusable-value", str(error))
        case TransientError():
            wait_s = max(1, round(error.retry_after_s or 2))
            return Problem(503, "try-again", str(error), headers={"Retry-After": str(wait_s)})
        case SchemaTooNew():
            return Problem(503, "database-too-new", str(error))
        case RunAtlasError():
            return Problem(500, "failed", str(error))
        case SQLAlchemyError():
            return database_down()
    return Problem(500, "internal-error", "Something went wrong here; the server's log has the details.")


def database_down() -> Problem:
    return Problem(
        503,
        "database-unreachable",
        "The database does not answer. Check RUNATLAS_DATABASE_URL and that it runs; `runatlas doctor` says more.",
        headers={"Retry-After": "5"},
    )


def refused_input(error: RequestValidationError) -> Problem:
    """A 422 that names each field, what is wrong with it, and what would be right."""
    errors = [{"field": _field(item["loc"]), "message": _message(item)} for item in error.errors()]
    told = "; ".join(f"{item['field']}: {item['message']}" for item in errors)
    return Problem(422, "invalid-request", f"{told}. GET /docs describes every call.", errors=errors)


def _field(loc: Sequence[str | int]) -> str:
    parts = [str(part) for part in loc if part not in {"body", "query", "path", "header"}]
    return ".".join(parts) or (str(loc[0]) if loc else "request")


def _message(item: Mapping[str, Any]) -> str:
    if item["type"] == "extra_forbidden":
        return "there is no such field here"
    if item["type"] == "json_invalid":
        return "the body is not valid JSON"
    return str(item["msg"])


def _http_problem(error: StarletteHTTPException, request: Request) -> Problem:
    phrase = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    allowed = Headers(headers=dict(error.headers or {})).get("allow", "see GET /docs")
    details = {
        404: f"There is nothing at {request.url.path}. GET / lists the datasets, GET /docs every call.",
        405: f"{request.method} is not possible here; allowed: {allowed}.",
    }
    detail = details.get(error.status_code, str(error.detail))
    return Problem(error.status_code, phrase, detail, headers=error.headers or {})


def install_problems(app: FastAPI) -> None:
    """Make every error of `app` leave as a problem document."""

    def answer_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, StarletteHTTPException)
        return problem_response(_http_problem(error, request), request.url.path)

    def answer_input(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return problem_response(refused_input(error), request.url.path)

    def answer(request: Request, error: Exception) -> Response:
        return problem_response(as_problem(error), request.url.path)

    app.add_exception_handler(StarletteHTTPException, answer_http)
    app.add_exception_handler(RequestValidationError, answer_input)
    for kind in (Problem, RunAtlasError, SQLAlchemyError, Exception):
        app.add_exception_handler(kind, answer)
