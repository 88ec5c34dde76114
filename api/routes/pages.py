"""The pages: datasets, API documentation, Embedding Atlas; served from this machine, without any other host."""

from __future__ import annotations

from html import escape
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from api.atlas_site import atlas_html
from api.dependencies import Dependencies, Deps
from api.html import datasets_page, html_page
from api.problems import Problem, problem_response
from api.responses import file_in, revalidated, static_folder
from api.security_headers import atlas_policy, with_policy
from components.snapshot.read import Snapshot, open_snapshot
from components.views import embedding_atlas

router = APIRouter(include_in_schema=False)


@router.get("/")
def index(deps: Deps) -> Response:
    """The datasets, each with a picture of its map."""
    return datasets_page(deps.state.status())


@router.get("/docs")
def docs() -> Response:
    """Swagger UI from `static/vendor/`; FastAPI's own page loads it from a CDN."""
    return with_policy(FileResponse(static_folder / "swagger.html", headers={"Cache-Control": "no-cache"}))


@router.get("/favicon.ico")
def icon() -> Response:
    """The icon that browsers request."""
    return FileResponse(static_folder / "icon.svg", headers={"Cache-Control": "max-age=86400"})


@router.get("/atlas/{dataset}")
def atlas_without_slash(dataset: str, request: Request) -> Response:
    """A redirect: the page's own links are relative to the folder."""
    raw_query = request.scope["query_string"].decode("latin-1")  # `request.url` fails on one that is not UTF-8
    query = f"?{quote(raw_query, safe='=&%+;,:@/?')}" if raw_query else ""
    return RedirectResponse(f"./{quote(dataset)}/{query}", 307)


@router.api_route("/atlas/{dataset}/{path:path}", methods=["GET", "HEAD"])
def atlas(deps: Deps, dataset: str, path: str, request: Request) -> Response:
    """Embedding Atlas on the newest snapshot: its page and scripts, and the data folder built for it."""
    snapshot = open_snapshot(deps.state.output(dataset))
    if path in {"", "index.html"}:
        return _atlas_page(deps, dataset, snapshot)
    if not path.startswith("data/"):
        return _atlas_file(path)
    data = deps.atlas.newest_ready(snapshot)
    if data is None:
        raise HTTPException(404)
    return revalidated(request, file_in(data, path.removeprefix("data/")), f'"{data.parent.name}"')


def _atlas_page(deps: Dependencies, dataset: str, snapshot: Snapshot) -> Response:
    if deps.atlas.ready(snapshot) is not None:
        return with_policy(
            HTMLResponse(atlas_html(dataset, snapshot), headers={"Cache-Control": "no-store"}), atlas_policy
        )
    if problem := deps.atlas.problem(snapshot):
        detail = (
            f"The data for Embedding Atlas could not be built: {problem} Use the WebGL map instead: /map/{dataset}."
        )
        return problem_response(Problem(503, "atlas-failed", detail), f"/atlas/{dataset}/")
    text = f"<h1>{escape(dataset)}</h1><p>Preparing {snapshot.manifest.rows:,} records for Embedding Atlas …</p>"
    return html_page(dataset, text, root="../../", head='<meta http-equiv="refresh" content="1">', kind="narrow")


def _atlas_file(path: str) -> Response:
    """A file of Embedding Atlas; the names in `assets/` contain a hash of the content."""
    lifetime = "public, max-age=31536000, immutable" if path.startswith("assets/") else "max-age=3600"
    file = file_in(embedding_atlas.static_folder(), path)
    return with_policy(FileResponse(file, headers={"Cache-Control": lifetime}), atlas_policy)
