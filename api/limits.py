"""The size limit of request bodies, but for those of receivers, which have limits of their own."""

from __future__ import annotations

import re
from collections.abc import Collection

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import Problem, problem_response

_RECEIVERS = re.compile(r"/v1/traces|/datasets/[^/]+/records")


class BodyLimit:
    """ASGI middleware that refuses bodies above `max_bytes`, by their declared length or while they are received.

    Those of `own_limit` paths are left to their routes.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, own_limit: Collection[str] = ()) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._own_limit = own_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["type"] == "http" else ""
        is_received = path and scope["method"] == "POST" and _RECEIVERS.fullmatch(path)
        if not path or is_received or path in self._own_limit:
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        if length.isascii() and length.isdigit() and (len(length) > 18 or int(length) > self._max_bytes):
            problem = Problem(413, "body-too-large", self._detail())
            await problem_response(problem, scope["path"])(scope, receive, send)
            return
        await self._app(scope, self._counting(receive), send)

    def _counting(self, receive: Receive) -> Receive:
        size_bytes = 0

        async def receive_and_count() -> Message:
            nonlocal size_bytes
            message = await receive()
            size_bytes += len(message.get("body", b""))
            if size_bytes > self._max_bytes:
                raise HTTPException(413, self._detail())
            return message

        return receive_and_count

    def _detail(self) -> str:
        return f"The body is larger than {self._max_bytes:,} bytes, the limit set by api.max_body_bytes."
