"""The configuration that the API is served with. Its access log holds paths without queries, which may hold secrets."""

from __future__ import annotations

import copy
import logging

import uvicorn
from uvicorn.config import LOGGING_CONFIG

from api.app import create_app
from api.json_logs import JsonLines
from components.settings import Settings

shutdown_within_s = 3  # for requests in progress


class WithoutQuery(logging.Filter):
    """Removes the query from the path in a line of uvicorn's access log."""

    def filter(self, record: logging.LogRecord) -> bool:
        """True: every line is kept."""
        if isinstance(record.args, tuple):
            record.args = tuple(arg.partition("?")[0] if isinstance(arg, str) else arg for arg in record.args)
        return True


def server_config(settings: Settings, *, log_level: str) -> uvicorn.Config:
    """The uvicorn configuration for the application of these settings."""
    log_config = copy.deepcopy(LOGGING_CONFIG)
    log_config["filters"] = {"without_query": {"()": WithoutQuery}}
    log_config["handlers"]["access"]["filters"] = ["without_query"]
    if settings.log_format == "json":
        log_config["formatters"] = {name: {"()": JsonLines} for name in log_config["formatters"]}
    return uvicorn.Config(
        create_app(settings),
        host=settings.api.host,
        port=settings.api.port,
        log_level=log_level,
        log_config=log_config,
        timeout_graceful_shutdown=shutdown_within_s,
        proxy_headers=False,  # authentication needs the real peer address
    )
