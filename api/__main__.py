"""`python -m api`: the HTTP API in a process of its own, below `runatlas up` or where the other parts run elsewhere."""

from __future__ import annotations

import argparse
import socket

import uvicorn

from api.home import reach_loopback_directly
from api.serving import server_config
from components.errors import BadSetting
from components.private import private_umask
from components.settings import disable_telemetry, load_settings


def main() -> None:
    """Serves until it is stopped."""
    parser = argparse.ArgumentParser(prog="python -m api", description="The HTTP API alone.")
    parser.add_argument("--fd", type=int, help="a listening socket that is handed down, instead of host and port")
    asked = parser.parse_args()
    reach_loopback_directly()
    disable_telemetry()
    try:
        settings = load_settings()
        sockets = None if asked.fd is None else [socket.socket(fileno=asked.fd)]
        with private_umask(settings):
            config = server_config(settings, log_level="info" if sockets is None else "warning")
            uvicorn.Server(config).run(sockets=sockets)
    except BadSetting as error:
        parser.exit(2, f"runatlas: {error}\n")


if __name__ == "__main__":
    main()
