"""The pages: an index of maps, the calls, Embedding Atlas; all offline, all from this server."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from api.auth import page_policy
from api.dependencies import Dependencies, Deps
from api.map_data import version_of
from api.problems import Problem, problem_response
from components.snapshot.read import open_snapshot

if TYPE_CHECKING:
    from components.store import DatasetStatus

router = APIRouter(include_in_schema=False)
static = Path(__file__).parents[1] / "static"

atlas_policy = (  # its own scripts compile WebAssembly and start workers; nothing may come from or go elsewhere
    "default-src 'self' data: blob:; script-src 'self' 'wasm-unsafe-eval' 'unsafe-eval' blob:; worker-src 'self' blob:; "
    "style-src 'self' 'unsafe-inline'; connect-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'self'"
)

frame = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="/static/icon.svg">
<link rel="stylesheet" href="/static/page.css">{head}</head><body><main class="sheet {kind}">{body}</main></body></html>"""


def with_policy(response: Response, policy: str = page_policy) -> Response:
    response.headers["Content-Security-Policy"] = policy
    return response


def html_page(title: str, body: str, *, head: str = "", kind: str = "", status: int = 200) -> Response:
    text = frame.format(title=escape(title), head=head, body=body, kind=kind)
    return with_policy(HTMLResponse(text, status, headers={"Cache-Control": "no-store"}))


@router.get("/")
def index(deps: Deps) -> Response:
    """The datasets, each with its map."""
    cards = "".join(card(name, status) for name, status in sorted(deps.state.status().items()))
    empty = "<p>No dataset yet. <code>runatlas load FOLDER &amp;&amp; runatlas index</code> makes the first map.</p>"
    told = f'<div class="cards">{cards}</div>' if cards else empty
    body = f'<h1>runatlas</h1><p>Maps of what agents do. <a href="/docs">HTTP calls</a> · <a href="/health">health</a></p>{told}'
    return html_page("runatlas", body)


def card(name: str, status: DatasetStatus) -> str:
    """One dataset: a picture of its map, its numbers, its links."""
    at, shown = quote(name), escape(name)
    numbers = [f"{status.records:,} records"]
    if status.unindexed:
        numbers.append(f"{status.unindexed:,} waiting")
    if status.failed:
        numbers.append(f"{status.failed:,} failed")
    numbers.append(f"snapshot {status.snapshot}" if status.snapshot else "not on a map yet")
    picture = f'<img src="/map/{at}.png" alt="map of {shown}" loading="lazy">' if status.snapshot else ""
    links = f'<a href="/map/{at}">map</a><a href="/atlas/{at}/">Embedding Atlas</a><a href="/map/{at}.png">picture</a>'
    return (
        f'<article class="card"><a class="picture" href="/map/{at}">{picture}</a><div class="facts"><h2>{shown}</h2>'
        f'<span class="quiet">{" · ".join(numbers)}</span><div class="links">{links}</div></div></article>'
    )


@router.get("/docs")
def docs() -> Response:
    """Every call, made from /openapi.json by a page of our own: the usual ones load scripts from a CDN."""
    return with_policy(FileResponse(static / "swagger.html", headers={"Cache-Control": "no-cache"}))


@router.get("/favicon.ico")
def icon() -> Response:
    return FileResponse(static / "icon.svg", headers={"Cache-Control": "max-age=86400"})


# --- Embedding Atlas -----------------------------------------------------------------------------------------------


@router.get("/atlas/{dataset}")
def atlas_without_slash(dataset: str, request: Request) -> Response:
    asked = request.scope["query_string"].decode("latin-1")  # `request.url` fails on one that is not UTF-8
    query = f"?{quote(asked, safe='=&%+;,:@/?')}" if asked else ""
    return RedirectResponse(f"/atlas/{quote(dataset)}/{query}", 307)


@router.api_route("/atlas/{dataset}/{path:path}", methods=["GET", "HEAD"])
def atlas(deps: Deps, dataset: str, path: str, request: Request) -> Response:
    """Embedding Atlas on the newest snapshot: its own page, and the data folder made for it."""
    snapshot = open_snapshot(deps.state.output(dataset))
    if path in {"", "index.html"}:
        return atlas_page(deps, dataset, snapshot)
    if not path.startswith("data/"):
        return atlas_file(path)
    site = deps.atlas.newest_ready(snapshot)
    if site is None:
        raise HTTPException(404)
    return revalidated(request, inside(site, path.removeprefix("data/")), f'"{site.parent.name}"')


def atlas_page(deps: Dependencies, dataset: str, snapshot: Any) -> Response:
    if deps.atlas.ready(snapshot) is None:
        problem = deps.atlas.problem(snapshot)
        if problem:
            detail = f"The page for Embedding Atlas could not be made: {problem} The light map works: /map/{dataset}."
            return problem_response(Problem(503, "atlas-failed", detail), f"/atlas/{dataset}/")
        text = f"<h1>{escape(dataset)}</h1><p>Preparing {snapshot.manifest.rows:,} records for Embedding Atlas …</p>"
        return html_page(dataset, text, head='<meta http-equiv="refresh" content="1">', kind="narrow", status=200)
    from components.views.embedding_atlas import static_folder

    follow = (
        f'<script type="module" src="../../static/atlas.js" data-dataset="{escape(dataset)}" '
        f'data-version="{version_of(snapshot)}"></script>'
    )
    page = (Path(static_folder()) / "index.html").read_text("utf-8").replace("</head>", f"{follow}</head>", 1)
    return with_policy(HTMLResponse(page, headers={"Cache-Control": "no-store"}), atlas_policy)


def atlas_file(path: str) -> Response:
    """A file of Embedding Atlas itself; those in `assets/` have their content's hash in their name."""
    from components.views.embedding_atlas import static_folder

    kept = "public, max-age=31536000, immutable" if path.startswith("assets/") else "max-age=3600"
    return with_policy(FileResponse(inside(Path(static_folder()), path), headers={"Cache-Control": kept}), atlas_policy)


def inside(folder: Path, path: str) -> Path:
    """The file at `path` below `folder`. Raises 404 for what is none or lies elsewhere."""
    root = folder.resolve()
    try:
        file = (root / path).resolve()
        is_inside = file.is_relative_to(root) and file.is_file()
    except (OSError, ValueError) as error:  # a name that no file can have
        raise HTTPException(404) from error
    if not is_inside:
        raise HTTPException(404)
    return file


def revalidated(request: Request, file: Path, tag: str) -> Response:
    """The file, asked about again at each use; its tag changes with the snapshot. Ranges are served."""
    headers = {"Cache-Control": "no-store" if file.suffix == ".json" else "no-cache", "ETag": tag}
    if request.headers.get("if-none-match") == tag and file.suffix != ".json":
        return Response(status_code=304, headers=headers)
    return FileResponse(file, headers=headers)
