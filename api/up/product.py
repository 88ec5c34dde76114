"""One start of `up`: settings, bound ports, addresses and the terminal, prepared before Prefect is imported."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from api.auth import require_token_beyond_loopback
from api.up.environment import bypass_proxy, export_settings
from api.up.ports import listen, url_of
from api.up.prefect_app import sign_in_url
from api.up.prefect_server import adopt_environment
from components.settings import DEFAULT_DATASET, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """One start of the product: its settings, its addresses, and the terminal that it was started from."""

    settings: Settings
    prefect: str  # address of the UI; the API is below /api
    prefect_socket: socket.socket | None  # bound; None: an external Prefect server is used
    api: str
    api_socket: socket.socket  # bound
    lock: TextIO
    terminal: TextIO
    started_s: float  # time.monotonic()
    demo: bool
    open_browser: bool

    @property
    def logs(self) -> Path:
        """The folder of the log files."""
        return self.settings.home / "logs"

    @property
    def dataset(self) -> str:
        """The dataset whose map is offered when everything is ready."""
        return "demo" if self.demo else next(iter(self.settings.datasets), DEFAULT_DATASET)

    @property
    def prefect_sign_in(self) -> str:
        """The address of the Prefect UI that signs the browser in. It holds the key: for the terminal, not for logs."""
        if self.prefect_socket is None:
            return self.prefect
        return sign_in_url(self.prefect, os.environ["PREFECT_API_AUTH_STRING"])

    def say(self, text: str) -> None:
        """Print a line on the terminal, if it is still there."""
        with suppress(OSError, ValueError):
            self.terminal.write(f"{text}\n")

    def maps_of(self, dataset: str) -> str:
        """The addresses of both maps of a dataset."""
        return f"{self.api}/atlas/{dataset}/  (without WebGPU: {self.api}/map/{dataset})"


def prepare(
    settings: Settings, lock: TextIO, terminal: TextIO, started_s: float, *, demo: bool, open_browser: bool
) -> Product:
    """Bind the ports, and set the environment of this process and its children. Must precede Prefect's import."""
    require_token_beyond_loopback(settings)
    api_socket = _listen(settings.api.host, settings.api.port, "the API", terminal)
    prefect, prefect_socket = _prefect(settings, terminal)
    bypass_proxy(settings.api.host)
    os.environ["PREFECT_API_URL"] = f"{prefect}/api"
    effective = settings.model_copy(
        update={
            "api": settings.api.model_copy(update={"port": api_socket.getsockname()[1]}),
            "prefect": settings.prefect.model_copy(update={"api_url": f"{prefect}/api"}),
        }
    )
    export_settings(effective)
    return Product(
        settings=effective,
        prefect=prefect,
        prefect_socket=prefect_socket,
        api=url_of(effective.api.host, effective.api.port),
        api_socket=api_socket,
        lock=lock,
        terminal=terminal,
        started_s=started_s,
        demo=demo,
        open_browser=open_browser,
    )


def _prefect(settings: Settings, terminal: TextIO) -> tuple[str, socket.socket | None]:
    """The address of the Prefect server, and the socket that it is to serve where it is ours."""
    given = settings.prefect
    if given.api_url:
        return given.api_url.rstrip("/").removesuffix("/api"), None
    listener = _listen(given.host, given.port, "the Prefect server", terminal)
    address = url_of(given.host, listener.getsockname()[1])
    adopt_environment(settings.home / "prefect", address)
    bypass_proxy(given.host)  # bound here, so it is this machine whatever its name
    return address, listener


def _listen(host: str, port: int, service: str, terminal: TextIO) -> socket.socket:
    listener = listen(host, port)
    actual = listener.getsockname()[1]
    if port not in {actual, 0}:
        terminal.write(f"Port {port} is in use; {service} listens on port {actual} instead.\n")
    return listener
