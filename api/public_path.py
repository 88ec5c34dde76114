"""The path below which a proxy serves this product on its public address."""

from __future__ import annotations

from urllib.parse import quote

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class PublicPath:
    """ASGI middleware: takes the path of `api.public_url` off requests that a proxy forwards with it.

    A proxy may as well take it off itself: all links of the pages are relative.
    """

    def __init__(self, app: ASGIApp, path: str) -> None:
        self._app = app
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == self._path:  # relative links start from the last slash
            query = f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else ""
            await RedirectResponse(f"{quote(self._path)}/{query}", 308)(scope, receive, send)
            return
        if scope["type"] == "http" and scope["path"].startswith(f"{self._path}/"):
            raw, spelled = scope.get("raw_path") or b"", quote(self._path).encode()
            path = scope["path"][len(self._path) :]
            rest = raw[len(spelled) :] if raw.startswith(spelled) else quote(path).encode()
            scope = {**scope, "path": path, "raw_path": rest}
        await self._app(scope, receive, send)


def root_of(path: str) -> str:
    """The relative address of the start page, seen from a page at this path.

    >>> root_of("/"), root_of("/terrain"), root_of("/atlas/default/")
    ('./', './', '../../')
    """
    return "../" * (path.count("/") - 1) or "./"
