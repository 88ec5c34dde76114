"""`runatlas view`: opens the map of a running server, or serves it here."""

from __future__ import annotations

import httpx
import typer
import uvicorn

from api.json_logs import message_line
from api.serving import server_config
from api.up.browser import open_page
from api.up.home import running_instance
from api.up.ports import listen, url_of
from components.http_client import open_client
from components.pipeline import Pipeline
from components.settings import Settings


def open_map(settings: Settings, dataset: str, *, light: bool) -> None:
    """Open the map of the newest snapshot. Raises `NotFound` where there is none."""
    with Pipeline(settings) as pipeline:
        pipeline.snapshot(dataset)
    page = f"map/{dataset}" if light else f"atlas/{dataset}/"
    if server := _running_server(settings, dataset):
        typer.echo(f"{server}/{page}")
        open_page(f"{server}/{page}")
    else:
        _serve(settings, page)


def _serve(settings: Settings, page: str) -> None:
    with listen(settings.api.host, settings.api.port) as listener:
        url = f"{url_of(settings.api.host, listener.getsockname()[1])}/{page}"
        typer.echo(url)
        typer.echo(message_line("Serving the map. Press Ctrl-C to stop."), err=True)
        open_page(url)
        uvicorn.Server(server_config(settings, log_level="warning")).run(sockets=[listener])


def _running_server(settings: Settings, dataset: str) -> str | None:
    """The address of an API that serves this dataset: that of `up` on this home, or one at the configured address."""
    if instance := running_instance(settings.home):
        return str(instance["api"])
    url = url_of(settings.api.host, settings.api.port)
    try:
        with open_client(url, timeout_s=2) as client:
            datasets = client.get(f"{url}/health").json()["datasets"]
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return None
    return url if dataset in datasets else None
