"""The command `mcp`: the maps for an agent of yours."""

from __future__ import annotations

from components.settings import load_settings


def mcp() -> None:
    """Serve the maps to an agent over the Model Context Protocol, on standard input and output."""
    from api.mcp_server import serve_stdio

    serve_stdio(load_settings())
