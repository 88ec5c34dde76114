"""Response headers that keep answers from being framed, sniffed or embedded, and pages from running foreign scripts."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import Message, Send

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
atlas_policy = (  # Embedding Atlas compiles WebAssembly and starts workers; other hosts stay out of reach
    "default-src 'self' data: blob:; script-src 'self' 'wasm-unsafe-eval' 'unsafe-eval' blob:; worker-src 'self' blob:; "
    "style-src 'self' 'unsafe-inline'; connect-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'self'"
)


def with_policy(response: Response, policy: str = page_policy) -> Response:
    """The same response with a Content-Security-Policy."""
    response.headers["Content-Security-Policy"] = policy
    return response


def with_security_headers(send: Send) -> Send:
    """`send`, adding the security headers that a response does not set itself."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in security_headers.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers
