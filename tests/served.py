"""An application on a real socket, and a client for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn
from browser import free_port
from fastapi import FastAPI


@contextmanager
def served(app: FastAPI, *, timeout: float = 30, **client: Any) -> Iterator[httpx.Client]:
    """A client of the application, which listens on loopback until the block ends."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="critical", ws="none", access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until = time.monotonic() + 180
        while not server.started:
            assert thread.is_alive() and time.monotonic() < until, "the server did not start"  # noqa: PT018
            time.sleep(0.02)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=timeout, **client) as opened:
            yield opened
    finally:
        server.should_exit = True
        thread.join(20)
