"""Access control in front of every call: host name, user, origin, token."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.cors import is_shared_with
from api.hosts import host_may_be_ours, host_name, is_allowed, is_loopback, safe_methods, sent_by_another_site
from api.login import challenge, equal_in_constant_time, has_cookie, has_csrf_token, log_in, login_page, login_path
from api.peers import is_of_another_user
from api.problems import Problem, problem_response
from api.security_headers import with_security_headers
from components.errors import BadSetting
from components.settings import Settings

open_paths = frozenset({"/health"})  # need no token
login_files = frozenset({"/static/page.css", "/static/icon.svg"})  # the login page uses them


def require_token_beyond_loopback(settings: Settings) -> None:
    """Raises `BadSetting` if other machines could reach the API and there is no token."""
    host = settings.api.host
    if settings.api_token or is_loopback(host):
        return
    raise BadSetting(
        f"The API would listen on {host!r}, where other machines can reach it, without a token: set "
        "RUNATLAS_API_TOKEN, for example RUNATLAS_API_TOKEN=$(openssl rand -hex 24), or RUNATLAS_API__HOST=127.0.0.1."
    )


class Guard:
    """ASGI middleware that refuses requests without access; plain ASGI, so ranges and streams pass unchanged.

    With a token, the token decides. Without one, the host name, the user at the other end and the origin decide.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._token = settings.api_token or None  # an empty one protects nothing
        self._bound_to = settings.api.host
        self._allowed = settings.api.hosts
        self._origins = settings.survey.cors_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer: Response | None = None
        problem = self._problem(scope)
        if problem is not None:
            answer = problem_response(problem, scope["path"])
        elif self._token is not None:
            answer = await self._token_answer(scope, receive, self._token)
        if answer is not None:
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, with_security_headers(send))

    def _problem(self, scope: Scope) -> Problem | None:
        """Why the request is refused whatever token it carries."""
        headers = Headers(scope=scope)
        name = host_name(headers.get("host", ""))
        if name is None:
            return Problem(400, "bad-request", "The Host header is malformed.")
        if not scope["query_string"].isascii():
            return Problem(400, "bad-request", "The query is not percent-encoded.")
        if self._token is None:
            if not host_may_be_ours(headers.get("host", ""), self._bound_to) and not is_allowed(name, self._allowed):
                return _unknown_host(name)
            if not self._allowed and is_of_another_user(scope.get("client"), _port(scope)):
                return _another_user()
        if scope["method"] not in safe_methods and sent_by_another_site(headers, self._allowed):
            if is_shared_with(headers.get("origin"), scope["path"], self._origins):
                return None
            return _cross_site()
        return None

    async def _token_answer(self, scope: Scope, receive: Receive, token: str) -> Response | None:
        """The login, or the refusal of a request without the token; None if the request may pass."""
        path, method, headers = scope["path"], scope["method"], Headers(scope=scope)
        if path == login_path and method == "POST":
            return await log_in(receive, token)
        is_safe = method in safe_methods  # by itself a cookie only reads: other sites' forms would send it along
        if path in open_paths or _has_bearer(headers, token):
            return None
        if has_cookie(headers, token) and (is_safe or has_csrf_token(headers, token)):
            return None
        if path in login_files:
            return None
        if is_safe and "text/html" in headers.get("accept", ""):
            return login_page(scope)
        detail = "This call needs the token: send `Authorization: Bearer <RUNATLAS_API_TOKEN>`."
        if has_cookie(headers, token):
            detail += " A page that is signed in sends the header X-CSRF-Token with what GET /api/csrf gives."
        return problem_response(Problem(401, "unauthorized", detail, headers=challenge), path)


def _has_bearer(headers: Headers, token: str) -> bool:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and equal_in_constant_time(given.strip(), token)


def _port(scope: Scope) -> int | None:
    server = scope.get("server")
    return server[1] if server else None


def _unknown_host(name: str) -> Problem:
    shown = name[:100]
    detail = (
        f"This server is bound to loopback and does not accept the host name {shown!r}. Use 127.0.0.1. If your proxy or "
        f"tunnel forwards that name, allow it: api.allowed_hosts = [{shown!r}] in runatlas.toml, or "
        f"RUNATLAS_API__ALLOWED_HOSTS='[\"{shown}\"]'."
    )
    return Problem(421, "misdirected-request", detail)


def _another_user() -> Problem:
    detail = (
        "Without a token this server accepts only requests of the user who started it: set RUNATLAS_API_TOKEN on the "
        "server, and send it with `Authorization: Bearer …`."
    )
    return Problem(403, "another-user", detail)


def _cross_site() -> Problem:
    detail = (
        "Requests from pages of other sites are refused. If your proxy or tunnel serves this page, name its host in "
        "api.allowed_hosts (RUNATLAS_API__ALLOWED_HOSTS)."
    )
    return Problem(403, "cross-site", detail)
