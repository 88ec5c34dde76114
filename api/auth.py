"""Who may ask: the token, the Host header, and requests that another site's page sends."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Sequence
from html import escape
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.peers import is_of_another_user
from api.problems import Problem, problem_response
from components.errors import BadSetting
from components.settings import Settings

cookie_name = "runatlas"
login_path = "/login"
most_form_bytes = 8_192
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
{told}<form method="post" action="/login"><input type="hidden" name="next" value="{next}">
<input type="password" name="token" aria-label="token" autocomplete="current-password" autofocus>
<button>Open</button></form></main></html>"""


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_name(authority: str) -> str | None:
    """The name in a Host header or an origin's authority, lower case; None where it is malformed.

    >>> host_name("Logs.Example:8443"), host_name("[::1]:8000"), host_name("[::1")
    ('logs.example', '::1', None)
    """
    try:
        parts = urlsplit(f"//{authority}")
        _ = parts.port  # raises where it is no number
    except ValueError:
        return None
    return (parts.hostname or "").rstrip(".")


def is_allowed(name: str | None, allowed: Sequence[str]) -> bool:
    """Is the name one of `api.allowed_hosts`?

    >>> is_allowed("a.tunnel.example", ["*.tunnel.example"]), is_allowed("tunnel.example", ["*.tunnel.example"])
    (True, False)
    """
    if not name:
        return False
    patterns = [pattern.lower().rstrip(".") for pattern in allowed]
    return any(name == one or (one.startswith("*.") and name.endswith(one[1:])) for one in patterns)


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
    name = host_name(header)
    if name is None:
        return False
    if name == bound_to.lower() or "." not in name or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def sent_by_another_site(headers: Headers, allowed: Sequence[str] = ()) -> bool:
    """Did a page of another origin make the browser send this? Pages that `allowed` hosts serve are ours."""
    if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        return True
    origin = headers.get("origin")
    if origin is None:
        return False
    authority = origin.partition("://")[2]
    return authority != headers.get("host") and not is_allowed(host_name(authority), allowed)


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
        self._allowed = settings.api.allowed_hosts
        self._checks_host = self._token is None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = self._misdirected(scope)
        if answer is None and self._token is not None:
            if scope["path"] == login_path and scope["method"] == "POST":
                answer = await _login(receive, self._token)
            elif scope["path"] not in open_paths:
                answer = self._token_refusal(scope, Headers(scope=scope), self._token)
        if answer is not None:
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, with_security_headers(send))

    def _misdirected(self, scope: Scope) -> Response | None:
        """The refusal of a request that is malformed, or meant for another host, or sent by another site's page."""
        headers, path, method = Headers(scope=scope), scope["path"], scope["method"]
        name = host_name(headers.get("host", ""))
        if name is None:
            return problem_response(Problem(400, "bad-request", "The Host header is malformed."), path)
        if not scope["query_string"].isascii():
            return problem_response(Problem(400, "bad-request", "The query is not percent-encoded."), path)
        if self._checks_host and not self._answers_to(headers.get("host", ""), name):
            return problem_response(Problem(421, "misdirected-request", _unknown_host(name)), path)
        if self._checks_host and not self._allowed and is_of_another_user(scope.get("client"), _port(scope)):
            detail = (
                "Without a token this server answers to the user who started it alone: set RUNATLAS_API_TOKEN there, and send "
                "it with `Authorization: Bearer …`."
            )
            return problem_response(Problem(403, "another-user", detail), path)
        if method not in safe_methods and sent_by_another_site(headers, self._allowed):
            detail = (
                "Pages of other sites can't start anything here. If a proxy or tunnel of yours serves this page, name "
                "its host in api.allowed_hosts (RUNATLAS_API__ALLOWED_HOSTS)."
            )
            return problem_response(Problem(403, "cross-site", detail), path)
        return None

    def _answers_to(self, header: str, name: str) -> bool:
        return host_may_be_ours(header, self._bound_to) or is_allowed(name, self._allowed)

    def _token_refusal(self, scope: Scope, headers: Headers, token: str) -> Response | None:
        is_safe = scope["method"] in safe_methods
        if _bearer_is(headers, token) or (is_safe and _cookie_is(headers, token)):
            return None
        if (is_safe and "text/html" in headers.get("accept", "")) or scope["path"] == "/static/page.css":
            return _page_or_style(scope)
        detail = "This call needs the token: send `Authorization: Bearer <RUNATLAS_API_TOKEN>`."
        return problem_response(
            Problem(401, "unauthorized", detail, headers={"WWW-Authenticate": 'Bearer realm="runatlas"'}), scope["path"]
        )


def _port(scope: Scope) -> int | None:
    server = scope.get("server")
    return server[1] if server else None


def _unknown_host(name: str) -> str:
    shown = name[:100]
    return (
        f"This server is bound to loopback and does not answer to the host name {shown!r}. Use 127.0.0.1, or, if a proxy or "
        f"tunnel of yours forwards that name, allow it: api.allowed_hosts = [{shown!r}] in runatlas.toml, or "
        f"RUNATLAS_API__ALLOWED_HOSTS='[\"{shown}\"]'."
    )


def _page_or_style(scope: Scope) -> Response | None:
    """The style sheet holds no secret and the page that asks for the token wants it."""
    if scope["path"] == "/static/page.css":
        return None
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    return _token_page(_address(scope["path"], [(name, value) for name, value in query if name != "token"]))


def _token_page(next: str, told: str = "") -> Response:
    """The page that asks for the token, by POST: addresses are written to logs and kept by browsers."""
    headers = {"Cache-Control": "no-store", "Content-Security-Policy": page_policy, **security_headers}
    headers["WWW-Authenticate"] = 'Bearer realm="runatlas"'
    return HTMLResponse(_locked_page.format(next=escape(next), told=told), 401, headers=headers)


def _bearer_is(headers: Headers, token: str) -> bool:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and same(given.strip(), token)


def _cookie_is(headers: Headers, token: str) -> bool:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(cookie_name)
    except CookieError:  # of another server on this host
        return False
    return morsel is not None and same(morsel.value, cookie_of(token))


def _address(path: str, query: Sequence[tuple[str, str]]) -> str:
    return quote(path) + ("?" + urlencode(query) if query else "")


def is_our_page(address: str) -> bool:
    r"""Is it an address of this server, as browsers take it?

    >>> is_our_page("/map/default?a=1"), is_our_page("//evil.example"), is_our_page("/\\evil.example")
    (True, False, False)
    """
    return address.startswith("/") and address[1:2] not in {"/", "\\"} and address.isprintable()


async def _login(receive: Receive, token: str) -> Response:
    """Back to the page that was asked for, with a cookie that stands for the token; or the question again."""
    form = dict(parse_qsl((await _body(receive, most_form_bytes)).decode("utf-8", "replace"), keep_blank_values=True))
    wanted = form.get("next", "/")
    target = wanted if is_our_page(wanted) else "/"
    if not same(form.get("token", ""), token):
        return _token_page(target, "<p>That is not the token.</p>")
    response = RedirectResponse(target, 303, headers={"Cache-Control": "no-store"})
    response.set_cookie(cookie_name, cookie_of(token), httponly=True, samesite="lax", path="/")
    return response


async def _body(receive: Receive, most_bytes: int) -> bytes:
    """The body of a request, cut where it is longer than any that is meant."""
    body, more = b"", True
    while more and len(body) <= most_bytes:
        message = await receive()
        body += message.get("body", b"")
        more = bool(message.get("more_body", False))
    return body[:most_bytes]


def with_security_headers(send: Send) -> Send:
    """`send`, with the headers added that keep an answer from being framed, sniffed or embedded elsewhere."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in security_headers.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers
