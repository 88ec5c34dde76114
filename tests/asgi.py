"""Requests that no HTTP client would send: passed to the application byte for byte, as a server does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_from_bytes, unquote

from starlette.types import ASGIApp, Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")

    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    app: ASGIApp,
    path: str | bytes,
    *,
    method: str = "GET",
    query: bytes = b"",
    headers: Iterable[tuple[bytes, bytes]] = (),
    body: Iterable[bytes] = (b"",),
) -> Answer:
    """What the application answers; its exceptions are raised here."""
    raw = quote_from_bytes(path if isinstance(path, bytes) else path.encode("utf-8", "surrogateescape"))
    names = [(name.lower(), value) for name, value in headers]
    if not any(name == b"host" for name, _ in names):
        names.append((b"host", b"127.0.0.1:8000"))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(raw),
        "raw_path": raw.encode(),
        "query_string": query,
        "headers": names,
        "client": ("client.example", 1),
        "server": ("127.0.0.1", 8000),
        "root_path": "",
    }
    chunks = list(body)
    sent: list[Message] = []

    async def receive() -> Message:
        if chunks:
            return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    async def run() -> None:
        await app(scope, receive, send)

    asyncio.run(run())
    start = next(message for message in sent if message["type"] == "http.response.start")
    fields = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in start["headers"]}
    content = b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body")
    return Answer(status=start["status"], headers=fields, body=content)
