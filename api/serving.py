"""How the API is served, whoever serves it. The access log names paths and never queries, which may hold secrets."""

from __future__ import annotations

import copy
import logging

import uvicorn
from uvicorn.config import LOGGING_CONFIG

from api.app import create_app
from components.settings import Settings

end_within_s = 3  # what is being answered when it is stopped


class WithoutQuery(logging.Filter):
    """Cuts the query off the path in a line of uvicorn's access log."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(arg.partition("?")[0] if isinstance(arg, str) else arg for arg in record.args)
        return True


def server_config(settings: Settings, *, log_level: str) -> uvicorn.Config:
    """The application of these settings, as uvicorn serves it."""
    log_config = copy.deepcopy(LOGGING_CONFIG)
    log_config["filters"] = {"without_query": {"()": WithoutQuery}}
    log_config["handlers"]["access"]["filters"] = ["without_query"]
    return uvicorn.Config(
        create_app(settings),
        host=settings.api.host,
        port=settings.api.port,
        log_level=log_level,
        log_config=log_config,
        timeout_graceful_shutdown=end_within_s,
        proxy_headers=False,  # the guard asks who really holds the other end of the connection
    )
