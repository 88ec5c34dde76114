"""The command `mcp`: the maps for an agent of yours."""

from __future__ import annotations

from components.settings import load_settings


def mcp() -> None:
    """Serve the maps to an agent over the Model Context Protocol, on standard input and output."""
    from api.mcp_server import serve_stdio  # the protocol's library: 0.5 s
    from api.search_cache import SearchCache
    from api.state import State

    settings = load_settings()
    state = State(settings)
    try:
        serve_stdio(state, SearchCache(settings, state))
    finally:
        state.close()
