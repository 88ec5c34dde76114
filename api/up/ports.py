"""Listening sockets, and the addresses that reach them."""

from __future__ import annotations

import socket

from components.errors import BadSetting


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on this port, or on a free one where it is in use. Raises `BadSetting` for a bad host."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for attempt in (port, 0):
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, attempt))
            listener.listen(128)
        except OSError as error:
            listener.close()
            if isinstance(error, socket.gaierror) or attempt == 0:
                raise BadSetting(f"Cannot listen on {host!r}: {error.strerror}.") from error
        else:
            return listener
    raise AssertionError


def url_of(host: str, port: int) -> str:
    """The address that a browser on this machine can open.

    >>> url_of("0.0.0.0", 8000), url_of("::1", 8000)
    ('http://127.0.0.1:8000', 'http://[::1]:8000')
    """
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{name}:{port}"
