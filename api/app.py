"""The HTTP door: one application, made from settings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from api.auth import Guard, require_token_beyond_loopback
from api.dependencies import Dependencies, open_dependencies
from api.limits import BodyLimit
from api.openapi import describe
from api.problems import install_problems
from api.routes import datasets, pages, runs
from api.routes import map as map_routes
from components.settings import Settings

about = (
    "Loads the logs of LLM-agent runs, places them on a map that stays still, and publishes it. Errors are RFC 9457 "
    "problem documents. With RUNATLAS_API_TOKEN set, every call but /health needs `Authorization: Bearer`."
)


class OwnFiles(StaticFiles):
    """Our scripts and styles, asked about again at each use: they change with the version."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


def create_app(settings: Settings) -> FastAPI:
    """The application; opens database and Prefect client at the first need, so it starts without either.

    Raises `BadSetting` where it would serve other machines without a token.
    """
    require_token_beyond_loopback(settings)
    deps = open_dependencies(settings)
    app = FastAPI(
        title="runatlas",
        version=version("runatlas"),
        description=about,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan(deps),
    )
    app.state.dependencies = deps
    install_problems(app)
    app.add_middleware(BodyLimit, max_bytes=settings.api.max_body_bytes)
    app.add_middleware(Guard, settings=settings)
    for router in (datasets.router, runs.router, map_routes.router, pages.router):
        app.include_router(router)
    describe(app, is_locked=settings.api_token is not None)
    app.mount("/static", OwnFiles(directory=pages.static))
    return app


def _lifespan(deps: Dependencies) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await deps.monitor.start()
        yield
        deps.monitor.close()
        await deps.prefect.close()
        deps.state.close()

    return lifespan
