"""The size limit of request bodies, but for those of receivers, which have limits of their own, and of chosen records."""

from __future__ import annotations

import re
from collections.abc import Collection

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import Problem, problem_response

_RECEIVERS = re.compile(r"/v1/traces|/datasets/[^/]+/records")
_SELECTIONS = re.compile(r"/datasets/[^/]+/(?:tags|export)")
MAX_SELECTION_BYTES = 48 << 20  # a million ids of records


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
        limit = max(self._max_bytes, MAX_SELECTION_BYTES) if _SELECTIONS.fullmatch(path) else self._max_bytes
        length = Headers(scope=scope).get("content-length", "")
        if length.isascii() and length.isdigit() and (len(length) > 18 or int(length) > limit):
            problem = Problem(413, "body-too-large", _detail(limit))
            await problem_response(problem, scope["path"])(scope, receive, send)
            return
        await self._app(scope, _counting(receive, limit), send)


def _counting(receive: Receive, limit: int) -> Receive:
    size_bytes = 0

    async def receive_and_count() -> Message:
        nonlocal size_bytes
        message = await receive()
        size_bytes += len(message.get("body", b""))
        if size_bytes > limit:
            raise HTTPException(413, _detail(limit))
        return message

    return receive_and_count


def _detail(limit: int) -> str:
    remedy = (
        "choose the records by filters instead"
        if limit == MAX_SELECTION_BYTES
        else "the limit set by api.max_body_bytes"
    )
    return f"The body is larger than {limit:,} bytes, {remedy}."
