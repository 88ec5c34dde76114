"""The HTTP API: one FastAPI application, made from settings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.routing import Route

from api.auth import Guard, require_token_beyond_loopback
from api.cors import Cors
from api.dependencies import Dependencies, open_dependencies
from api.limits import BodyLimit
from api.mcp_server import HttpEndpoint
from api.openapi import describe
from api.problems import install_problems
from api.public_path import PublicPath
from api.responses import StaticAssets, static_folder
from api.routes import (
    compare,
    dataset_runs,
    datasets,
    export,
    facets,
    pages,
    receive,
    runs,
    search,
    survey,
    tags,
    terrain,
    topics,
)
from api.routes import map as map_routes
from components.settings import Settings

about = (
    "Loads the logs of LLM-agent runs, places them on a map, and publishes it. Errors are RFC 9457 problem documents. "
    "If RUNATLAS_API_TOKEN is set, every call except /health needs `Authorization: Bearer`."
)


def create_app(settings: Settings) -> FastAPI:
    """The application. It starts without database and Prefect, and connects to them at the first use.

    Raises `BadSetting` if other machines could reach it without a token.
    """
    require_token_beyond_loopback(settings)
    deps = open_dependencies(settings)
    mcp = HttpEndpoint(deps.state, deps.searches)
    app = FastAPI(
        title="runatlas",
        version=version("runatlas"),
        description=about,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan(deps, mcp),
    )
    app.state.dependencies = deps
    install_problems(app)
    app.add_middleware(BodyLimit, max_bytes=settings.api.max_body_bytes, own_limit=("/api/upload",))
    app.add_middleware(Guard, settings=settings)
    app.add_middleware(Cors, origins=settings.survey.cors_origins)
    if settings.api.public_path:
        app.add_middleware(PublicPath, path=settings.api.public_path)
    data = (datasets, dataset_runs, receive, search, topics, tags, export, compare)
    for routes in (*data, survey, terrain, runs, facets, map_routes, pages):
        app.include_router(routes.router)
    describe(app, is_locked=settings.api_token is not None, public_url=settings.api.public_url)
    app.router.routes.append(Route("/mcp", mcp, methods=["POST"], include_in_schema=False))
    app.mount("/static", StaticAssets(directory=static_folder))
    return app


def _lifespan(deps: Dependencies, mcp: HttpEndpoint) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await deps.monitor.start()
        async with mcp.running():
            yield
        deps.monitor.close()
        await run_in_threadpool(deps.receiving.close)
        deps.surveys.close()
        await deps.prefect.close()
        deps.state.close()

    return lifespan
