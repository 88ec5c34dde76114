"""`python -m api.up.prefect_app`: Prefect's own server, protected against pages of other sites and callers without its key.

Prefect checks the key (`PREFECT_SERVER_API_AUTH_STRING`) on every call and web socket below `/api`; its pages hold no data.
What it does not check is checked here, in front of it: the Host header, requests that a page of another site makes the
browser send, and framing. `/sign-in#KEY` stores the key in the browser, where Prefect's UI expects it: local storage
belongs to one origin, so unlike a cookie it is never sent to a server on another port of this machine.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import socket
from collections.abc import Sequence
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.hosts import host_may_be_ours, host_name, is_allowed, is_loopback, safe_methods, sent_by_another_site
from api.security_headers import with_security_headers

sign_in_path = "/sign-in"
shutdown_within_s = 5  # for requests in progress
refused_websocket = {"type": "websocket.close", "code": 1008, "reason": "refused"}  # before it is accepted: a 403

_sign_in_script = """
const message = document.querySelector("p");
const key = decodeURIComponent(location.hash.slice(1));
history.replaceState(null, "", location.pathname);
const basic = btoa(key);
fetch("/api/admin/version", {headers: {Authorization: `Basic ${basic}`}}).then((answer) => {
  if (answer.ok) {
    localStorage.setItem("prefect-password", basic);
    location.replace("/");
  } else {
    message.textContent = "This link is not valid. Open the link that `runatlas up` printed last.";
  }
}).catch(() => { message.textContent = "The Prefect server does not respond. Is `runatlas up` running?"; });
"""
_sign_in_page = f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Signing in</title>
<p>Signing in …</p><script>{_sign_in_script}</script></html>"""
_script_hash = base64.b64encode(hashlib.sha256(_sign_in_script.encode()).digest()).decode()
_sign_in_policy = (
    f"default-src 'none'; script-src 'sha256-{_script_hash}'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


def sign_in_url(server: str, key: str) -> str:
    """The address that signs a browser in; the part after `#` stays in the browser.

    >>> sign_in_url("http://127.0.0.1:4200", "runatlas:a b")
    'http://127.0.0.1:4200/sign-in#runatlas%3Aa%20b'
    """
    return f"{server}{sign_in_path}#{quote(key, safe='')}"


class PrefectGuard:
    """ASGI middleware in front of Prefect's application; web sockets are checked like HTTP requests."""

    def __init__(self, app: ASGIApp, *, bound_to: str, allowed_hosts: Sequence[str] = ()) -> None:
        self._app = app
        self._bound_to = bound_to
        self._allowed_hosts = allowed_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None and scope["type"] == "http" and scope["path"] == sign_in_path:
            refusal = _sign_in()
        if refusal is None:
            guarded_send = with_security_headers(send) if scope["type"] == "http" else send
            await self._app(scope, receive, guarded_send)
        elif scope["type"] == "websocket":
            await send(refused_websocket)
        else:
            await refusal(scope, receive, with_security_headers(send))

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if not self._knows_host(headers.get("host", "")):
            detail = (
                "This Prefect server does not accept that host name. Use 127.0.0.1, or add the host to "
                "RUNATLAS_PREFECT__ALLOWED_HOSTS."
            )
            return JSONResponse({"detail": detail}, 421)
        is_link_to_page = scope["type"] == "http" and scope["method"] in safe_methods and not _is_api(scope["path"])
        if sent_by_another_site(headers) and not is_link_to_page:
            return JSONResponse({"detail": "Requests from pages of other sites are not allowed."}, 403)
        return None

    def _knows_host(self, header: str) -> bool:
        """Beyond loopback any name is accepted: a rebound name is another origin, whose storage does not hold the key."""
        if not is_loopback(self._bound_to) or host_may_be_ours(header, self._bound_to):
            return True
        return is_allowed(host_name(header), self._allowed_hosts)


def _is_api(path: str) -> bool:
    return path == "/api" or path.startswith("/api/")


def _sign_in() -> Response:
    return HTMLResponse(
        _sign_in_page, headers={"Cache-Control": "no-store", "Content-Security-Policy": _sign_in_policy}
    )


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(prog="python -m api.up.prefect_app", description="The guarded Prefect server.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4200)
    parser.add_argument(
        "--fd", type=int, help="file descriptor of a listening socket to serve, instead of host and port"
    )
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help="a further host name to accept"
    )
    arguments = parser.parse_args()

    import uvicorn
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    server = get_current_settings().server
    if server.api.auth_string is None or not server.api.auth_string.get_secret_value():
        parser.exit(
            2, "Set PREFECT_SERVER_API_AUTH_STRING. Without it, anybody who reaches this server could run code.\n"
        )
    guarded = PrefectGuard(create_app(final=True), bound_to=arguments.host, allowed_hosts=arguments.allow_host)
    config = uvicorn.Config(
        guarded,
        host=arguments.host,
        port=arguments.port,
        log_level=server.logging_level.lower(),
        timeout_keep_alive=server.api.keepalive_timeout,
        ws_ping_interval=server.api.websocket_ping_interval,
        ws_ping_timeout=server.api.websocket_ping_timeout,
        timeout_graceful_shutdown=shutdown_within_s,
    )
    uvicorn.Server(config).run(sockets=None if arguments.fd is None else [socket.socket(fileno=arguments.fd)])


if __name__ == "__main__":
    main()
