"""Host names and origins that a request may carry: a browser sends requests here for pages of other sites too."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers

safe_methods = frozenset({"GET", "HEAD", "OPTIONS"})


def is_loopback(host: str) -> bool:
    """Does a server bound to this name or address accept connections from this machine only?

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_name(authority: str) -> str | None:
    """The name in a Host header or an origin's authority, lower case; None for a malformed one.

    >>> host_name("Logs.Example:8443"), host_name("[::1]:8000"), host_name("[::1")
    ('logs.example', '::1', None)
    """
    try:
        parts = urlsplit(f"//{authority}")
        _ = parts.port  # raises ValueError unless it is a number
    except ValueError:
        return None
    return (parts.hostname or "").rstrip(".")


def is_allowed(name: str | None, allowed: Sequence[str]) -> bool:
    """Does the name match one of the patterns in `api.allowed_hosts`?

    >>> is_allowed("a.tunnel.example", ["*.tunnel.example"]), is_allowed("tunnel.example", ["*.tunnel.example"])
    (True, False)
    """
    if not name:
        return False
    patterns = [pattern.lower().rstrip(".") for pattern in allowed]
    return any(name == one or (one.startswith("*.") and name.endswith(one[1:])) for one in patterns)


def host_may_be_ours(header: str, bound_to: str) -> bool:
    """Can this Host header name a server on loopback?

    DNS rebinding points a public name at 127.0.0.1, and the browser sends that name. IP addresses, names without a dot
    and `*.localhost` can't be registered by an attacker. Starlette's TrustedHostMiddleware only knows fixed patterns.

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
    """Did a page of another origin make the browser send this? Pages from `allowed` hosts count as our own."""
    if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        return True
    origin = headers.get("origin")
    if origin is None:
        return False
    authority = origin.partition("://")[2]
    return authority != headers.get("host") and not is_allowed(host_name(authority), allowed)
