"""Pages of other origins: those that the settings name may call `/api/*` and read its answers, no others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

shared_path: Final = "/api/"
csrf_header: Final = "X-CSRF-Token"
allowed_methods: Final = "GET, POST, DELETE"
allowed_headers: Final = f"Authorization, Content-Type, {csrf_header}"
exposed_headers: Final = (
    "Content-Disposition, Retry-After, X-Runatlas-Column, X-Runatlas-Guarded-Cells, X-Runatlas-Rows"
)
max_age_s: Final = 600


def is_shared_with(origin: str | None, path: str, origins: Sequence[str]) -> bool:
    """May pages of this origin call this path?

    >>> is_shared_with("http://localhost:3000", "/api/upload", ["http://localhost:3000"])
    True
    >>> is_shared_with("http://localhost:3000", "/load", ["http://localhost:3000"])
    False
    """
    return origin is not None and path.startswith(shared_path) and origin in origins


class Cors:
    """ASGI middleware in front of the access control: answers preflight requests, which carry no token, of named origins."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._origins or not scope["path"].startswith(shared_path):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        is_shared = is_shared_with(origin, scope["path"], self._origins)
        if is_shared and scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await _preflight(origin or "")(scope, receive, send)
            return

        async def send_shared(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered = MutableHeaders(scope=message)
                answered.add_vary_header("Origin")
                if is_shared:
                    answered["Access-Control-Allow-Origin"] = origin or ""
                    answered["Access-Control-Allow-Credentials"] = "true"
                    answered["Access-Control-Expose-Headers"] = exposed_headers
            await send(message)

        await self._app(scope, receive, send_shared)


def _preflight(origin: str) -> Response:
    return Response(
        status_code=204,
        headers={
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Credentials": "true",
            "Access-Control-Allow-Methods": allowed_methods,
            "Access-Control-Allow-Headers": allowed_headers,
            "Access-Control-Max-Age": str(max_age_s),
            "Vary": "Origin",
        },
    )
