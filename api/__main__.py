"""`python -m api`: the HTTP API as its own process, started by `runatlas up` or where the other services run elsewhere."""

from __future__ import annotations

import argparse
import socket

import uvicorn

from api.json_logs import set_up_logging
from api.serving import server_config
from api.up.environment import bypass_proxy
from components.errors import BadSetting
from components.private import private_umask
from components.settings import disable_telemetry, load_settings


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(prog="python -m api", description="Serve the HTTP API.")
    parser.add_argument(
        "--fd", type=int, help="file descriptor of a listening socket to serve, instead of host and port"
    )
    arguments = parser.parse_args()
    bypass_proxy()
    disable_telemetry()
    try:
        settings = load_settings()
        set_up_logging(settings.log_format)
        sockets = None if arguments.fd is None else [socket.socket(fileno=arguments.fd)]
        with private_umask(settings):
            config = server_config(settings, log_level="info" if sockets is None else "warning")
            uvicorn.Server(config).run(sockets=sockets)
    except BadSetting as error:
        parser.exit(2, f"runatlas: {error}\n")


if __name__ == "__main__":
    main()
