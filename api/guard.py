"""Who may ask: the token, the Host header, and requests that another site's page sends."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from http.cookies import SimpleCookie
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import Problem, problem_response
from components.errors import BadSetting
from components.settings import Settings

cookie_name = "runatlas"
open_paths = frozenset({"/health"})
safe_methods = frozenset({"GET", "HEAD", "OPTIONS"})
security_headers = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "SAMEORIGIN",
    "Cross-Origin-Resource-Policy": "same-origin",
}
page_policy = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)

_locked_page = """<!doctype html><html lang="en"><meta charset="utf-8"><title>runatlas</title>
<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="/static/page.css">
<main class="sheet narrow"><h1>runatlas</h1><p>This server asks for its token (RUNATLAS_API_TOKEN).</p>
<form><input type="password" name="token" aria-label="token" autocomplete="current-password" autofocus>
<button>Open</button></form></main></html>"""


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_token_beyond_loopback(settings: Settings) -> None:
    """Raises `BadSetting` where other machines could reach the API and no token keeps them out."""
    host = settings.api.host
    if settings.api_token or is_loopback(host):
        return
    raise BadSetting(
        f"The API would listen on {host!r}, where other machines reach it, and no token protects it: set "
        "RUNATLAS_API_TOKEN, for example RUNATLAS_API_TOKEN=$(openssl rand -hex 24), or RUNATLAS_API__HOST=127.0.0.1."
    )


def host_may_be_ours(header: str, bound_to: str) -> bool:
    """Can this Host header name a server on loopback?

    A page that rebinds its own public name to 127.0.0.1 sends that name; addresses, names without a dot and
    `*.localhost` can't be bought.

    >>> host_may_be_ours("127.0.0.1:8000", "127.0.0.1"), host_may_be_ours("evil.example:8000", "127.0.0.1")
    (True, False)
    """
    name = (urlsplit(f"//{header}").hostname or "").rstrip(".")
    if name == bound_to.lower() or "." not in name or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def sent_by_another_site(headers: Headers) -> bool:
    """Did a page of another origin make the browser send this?"""
    if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        return True
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("host")


def cookie_of(token: str) -> str:
    """What the browser keeps instead of the token itself."""
    return hmac.new(token.encode(), b"runatlas cookie 1", hashlib.sha256).hexdigest()


def same(given: str, wanted: str) -> bool:
    """Are they equal? Takes as long whatever the answer."""
    return hmac.compare_digest(
        hashlib.sha256(given.encode("utf-8", "surrogateescape")).digest(), hashlib.sha256(wanted.encode()).digest()
    )


class Guard:
    """ASGI middleware in front of everything; plain ASGI, so that ranges and streams pass untouched."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._token = settings.api_token or None  # an empty one protects nothing
        self._bound_to = settings.api.host
        self._checks_host = self._token is None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, with_security_headers(send))

    def _refusal(self, scope: Scope) -> Response | None:
        headers, path, method = Headers(scope=scope), scope["path"], scope["method"]
        if self._checks_host and not host_may_be_ours(headers.get("host", ""), self._bound_to):
            detail = "This server is bound to loopback and does not answer to that host name. Use 127.0.0.1."
            return problem_response(Problem(421, "misdirected-request", detail), path)
        if method not in safe_methods and sent_by_another_site(headers):
            return problem_response(Problem(403, "cross-site", "Pages of other sites can't start anything here."), path)
        if self._token is None or path in open_paths:
            return None
        return self._token_refusal(scope, headers, self._token)

    def _token_refusal(self, scope: Scope, headers: Headers, token: str) -> Response | None:
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        offered = dict(query).get("token")
        is_safe = scope["method"] in safe_methods
        if is_safe and offered is not None and same(offered, token):
            return _remembering(scope["path"], [(k, v) for k, v in query if k != "token"], token)
        if _bearer_is(headers, token) or (is_safe and _cookie_is(headers, token)):
            return None
        if (is_safe and "text/html" in headers.get("accept", "")) or scope["path"] == "/static/page.css":
            return _page_or_style(scope["path"])
        detail = "This call needs the token: send `Authorization: Bearer <RUNATLAS_API_TOKEN>`."
        return problem_response(
            Problem(401, "unauthorized", detail, headers={"WWW-Authenticate": 'Bearer realm="runatlas"'}), scope["path"]
        )


def _page_or_style(path: str) -> Response | None:
    """The style sheet holds no secret and the page that asks for the token wants it."""
    if path == "/static/page.css":
        return None
    headers = {"Cache-Control": "no-store", "Content-Security-Policy": page_policy, **security_headers}
    return HTMLResponse(_locked_page, 401, headers={"WWW-Authenticate": 'Bearer realm="runatlas"', **headers})


def _bearer_is(headers: Headers, token: str) -> bool:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and same(given.strip(), token)


def _cookie_is(headers: Headers, token: str) -> bool:
    morsel = SimpleCookie(headers.get("cookie", "")).get(cookie_name)
    return morsel is not None and same(morsel.value, cookie_of(token))


def _remembering(path: str, query: list[tuple[str, str]], token: str) -> Response:
    """Back to the same address without the token in it, and a cookie that stands for it."""
    target = quote(path if not path.startswith("//") else "/")
    if query:
        target += "?" + urlencode(query)
    response = RedirectResponse(target, 303, headers={"Cache-Control": "no-store"})
    response.set_cookie(cookie_name, cookie_of(token), httponly=True, samesite="lax", path="/")
    return response


def with_security_headers(send: Send) -> Send:
    """`send`, with the headers added that keep an answer from being framed, sniffed or embedded elsewhere."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in security_headers.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers
