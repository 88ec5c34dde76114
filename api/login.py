"""Browser login: a form takes the API token by POST, and the browser keeps a cookie that is derived from it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from html import escape
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, quote, urlencode

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Receive, Scope

from api.public_path import root_of
from api.security_headers import page_policy, security_headers

cookie_name = "runatlas"
login_path = "/login"
max_form_bytes = 8_192
challenge = {"WWW-Authenticate": 'Bearer realm="runatlas"'}

_login_page = """<!doctype html><html lang="en"><meta charset="utf-8"><title>runatlas</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="{root}static/icon.svg"><link rel="stylesheet" href="{root}static/page.css">
<main class="sheet narrow"><h1>runatlas</h1><p>Enter the token of this server (RUNATLAS_API_TOKEN).</p>
{message}<form method="post" action="{root}login"><input type="hidden" name="next" value="{next}">
<input type="password" name="token" aria-label="token" autocomplete="current-password" autofocus>
<button>Sign in</button></form></main></html>"""


def equal_in_constant_time(given: str, expected: str) -> bool:
    """Are they equal? The time that it takes does not depend on the answer."""
    digests = (hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest() for text in (given, expected))
    return hmac.compare_digest(*digests)


def cookie_of(token: str) -> str:
    """The cookie's value: proves that its holder knew the token, and does not reveal it."""
    return hmac.new(token.encode(), b"runatlas cookie 1", hashlib.sha256).hexdigest()


def csrf_token_of(token: str) -> str:
    """What a page has to send with a write that a cookie authorises: only pages that may read our answers get it."""
    return hmac.new(token.encode(), b"runatlas csrf 1", hashlib.sha256).hexdigest()


def has_csrf_token(headers: Headers, token: str) -> bool:
    """Does the request carry the CSRF token of this token?"""
    return equal_in_constant_time(headers.get("x-csrf-token", ""), csrf_token_of(token))


def has_cookie(headers: Headers, token: str) -> bool:
    """Does the request carry the cookie of this token?"""
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(cookie_name)
    except CookieError:  # set by another server on this host
        return False
    return morsel is not None and equal_in_constant_time(morsel.value, cookie_of(token))


def login_page(scope: Scope) -> Response:
    """The login form (401) that leads back to the requested address, without a `token` in its query."""
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    wanted = _address(scope["path"], [(name, value) for name, value in query if name != "token"])
    return _form(wanted, root=root_of(scope["path"]))


async def log_in(receive: Receive, token: str) -> Response:
    """A redirect to the requested page that sets the cookie, or the form again after a wrong token."""
    form = dict(parse_qsl((await _body(receive)).decode("utf-8", "replace"), keep_blank_values=True))
    wanted = form.get("next", "/")
    target = wanted if is_local_address(wanted) else "/"
    if not equal_in_constant_time(form.get("token", ""), token):
        return _form(target, "<p>The token is wrong.</p>", root="./")
    response = RedirectResponse(f".{target}", 303, headers={"Cache-Control": "no-store"})
    response.set_cookie(cookie_name, cookie_of(token), httponly=True, samesite="lax", path="/")
    return response


def is_local_address(address: str) -> bool:
    r"""Does a browser resolve this address to this server?

    >>> is_local_address("/map/default?a=1"), is_local_address("//evil.example"), is_local_address("/\\evil.example")
    (True, False, False)
    """
    return address.startswith("/") and address[1:2] not in {"/", "\\"} and address.isprintable()


def _form(next: str, message: str = "", *, root: str) -> Response:
    """The token goes by POST: addresses are written to logs and kept in browser histories."""
    headers = {"Cache-Control": "no-store", "Content-Security-Policy": page_policy, **security_headers, **challenge}
    return HTMLResponse(_login_page.format(next=escape(next), message=message, root=root), 401, headers=headers)


def _address(path: str, query: Sequence[tuple[str, str]]) -> str:
    return quote(path) + ("?" + urlencode(query) if query else "")


async def _body(receive: Receive) -> bytes:
    """The request's body, cut at `max_form_bytes`."""
    body, more = b"", True
    while more and len(body) <= max_form_bytes:
        message = await receive()
        body += message.get("body", b"")
        more = bool(message.get("more_body", False))
    return body[:max_form_bytes]
