"""The one place that makes HTTP clients: a request to this machine never goes through a proxy.

A proxy that the environment names (`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`) can't reach the loopback interface of this
machine, and must not see what is sent there. It is used for all other hosts that `NO_PROXY` does not exempt.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from components.errors import BadSetting

if TYPE_CHECKING:
    import httpx

LOOPBACK: Final = ("localhost", ".localhost", "127.0.0.1", "127.0.0.0/8", "::1")  # as entries of NO_PROXY
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def open_client(url: str, *, timeout_s: float, max_connections: int | None = None) -> httpx.Client:
    """A client for requests to the host of `url`, direct or through the proxy that the environment names for it.

    Raises `BadSetting` where that proxy can't be used.
    """
    import httpx

    limits = httpx.Limits(max_connections=max_connections)
    try:
        transport = httpx.HTTPTransport(limits=limits, proxy=proxy_for(url))
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise BadSetting(
            f"The proxy that the environment names for {urlsplit(url).hostname} can't be used (it has to be an http:// or "
            "https:// address; `pip install httpx[socks]` adds socks5://): correct HTTP_PROXY, HTTPS_PROXY or ALL_PROXY, "
            "or name the host in NO_PROXY."
        ) from error
    return httpx.Client(transport=transport, timeout=timeout_s)


def answers(url: str, *, timeout_s: float) -> bool:
    """Does a GET of this URL give status 200 in time?"""
    import httpx

    try:
        with open_client(url, timeout_s=timeout_s) as client:
            return client.get(url).status_code == 200
    except httpx.HTTPError:
        return False


def proxy_for(url: str) -> str | None:
    """The proxy that the environment names for this URL; None where the request goes directly."""
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(url)
    host = parts.hostname or ""
    known = getproxies()
    proxy = known.get(parts.scheme) or known.get("all")
    if not proxy or is_loopback(host) or _is_exempt(host, known.get("no", "")):
        return None
    if proxy_bypass(f"{host}:{parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)}"):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def is_loopback(host: str) -> bool:
    """Does this name or address mean the machine itself?

    >>> [is_loopback(host) for host in ("127.0.0.9", "::1", "app.localhost", "0.0.0.0", "127.example.com")]
    [True, True, True, True, False]
    """
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(name)
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address is not None and (address.is_loopback or address.is_unspecified)


def without_proxy(environment: Mapping[str, str], hosts: Iterable[str] = ()) -> dict[str, str]:
    """`NO_PROXY` and `no_proxy` as they are, with the loopback names and `hosts` added.

    For libraries and child processes that read the environment themselves.

    >>> without_proxy({"NO_PROXY": "example.com"}, ["127.0.0.2"])["no_proxy"]
    'example.com,localhost,.localhost,127.0.0.1,127.0.0.0/8,::1,127.0.0.2'
    """
    set_now = ",".join(environment.get(name, "") for name in ("no_proxy", "NO_PROXY")).split(",")
    names = dict.fromkeys(name.strip() for name in (*set_now, *LOOPBACK, *hosts))
    joined = "*" if "*" in names else ",".join(name for name in names if name)
    return {"NO_PROXY": joined, "no_proxy": joined}


def _is_exempt(host: str, no_proxy: str) -> bool:
    """What the standard library does not know of `NO_PROXY`: networks, and `*` among other entries."""
    address = _address(host)
    for entry in (entry.strip() for entry in no_proxy.split(",")):
        if entry == "*":
            return True
        if address is not None and "/" in entry:
            try:
                if address in ip_network(entry, strict=False):
                    return True
            except ValueError:
                continue  # no network: a notation of other programs
    return False


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))  # 127.1 is an address to every resolver
    except OSError:
        return None
