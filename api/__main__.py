"""`python -m api`: the HTTP API alone, for installations whose other parts run elsewhere."""

from __future__ import annotations

import uvicorn

from api.http import create_app
from components.settings import load_settings


def main() -> None:
    """Serves until it is stopped."""
    settings = load_settings()
    uvicorn.run(create_app(settings), host=settings.api.host, port=settings.api.port)


if __name__ == "__main__":
    main()
