"""`python -m api`: the HTTP API in a process of its own, below `runatlas up` or where the other parts run elsewhere."""

from __future__ import annotations

import argparse
import socket

import uvicorn

from api.http import create_app
from components.errors import BadSetting
from components.settings import load_settings

end_within_s = 3  # what is being answered when it is stopped


def main() -> None:
    """Serves until it is stopped."""
    parser = argparse.ArgumentParser(prog="python -m api", description="The HTTP API alone.")
    parser.add_argument("--fd", type=int, help="a listening socket that is handed down, instead of host and port")
    asked = parser.parse_args()
    try:
        settings = load_settings()
        app = create_app(settings)
    except BadSetting as error:
        parser.exit(2, f"runatlas: {error}\n")
    sockets = None if asked.fd is None else [socket.socket(fileno=asked.fd)]
    config = uvicorn.Config(
        app,
        host=settings.api.host,
        port=settings.api.port,
        log_level="info" if sockets is None else "warning",
        timeout_graceful_shutdown=end_within_s,
    )
    uvicorn.Server(config).run(sockets=sockets)


if __name__ == "__main__":
    main()
