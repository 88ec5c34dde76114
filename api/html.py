"""HTML that is made here: the page frame, and the list of datasets."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote

from fastapi.responses import HTMLResponse, Response

from api.security_headers import with_policy

if TYPE_CHECKING:
    from components.store import DatasetStatus

_frame = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="{root}static/icon.svg">
<link rel="stylesheet" href="{root}static/page.css">{head}</head><body><main class="sheet {kind}">{body}</main></body></html>"""


def html_page(title: str, body: str, *, root: str, head: str = "", kind: str = "") -> Response:
    """A page of our own. `body` and `head` are HTML; `kind` is a class of its main element.

    `root` is the relative address of the start page: a proxy may serve all of it below any path.
    """
    text = _frame.format(title=escape(title), root=root, head=head, body=body, kind=kind)
    return with_policy(HTMLResponse(text, headers={"Cache-Control": "no-store"}))


def datasets_page(datasets: Mapping[str, DatasetStatus]) -> Response:
    """The start page: a card per dataset."""
    cards = "".join(_card(name, status) for name, status in sorted(datasets.items()))
    empty = "<p>No dataset yet. Create the first map: <code>runatlas load FOLDER &amp;&amp; runatlas index</code></p>"
    content = f'<div class="cards">{cards}</div>' if cards else empty
    links = '<a href="terrain">Survey of a table</a> · <a href="docs">HTTP API</a> · <a href="health">Health check</a>'
    return html_page("runatlas", f"<h1>runatlas</h1><p>Your datasets. {links}</p>{content}", root="./")


def _card(name: str, status: DatasetStatus) -> str:
    at, shown = quote(name), escape(name)
    numbers = [f"{status.records:,} records"]
    if status.unindexed:
        numbers.append(f"{status.unindexed:,} pending")
    if status.failed:
        numbers.append(f"{status.failed:,} failed")
    numbers.append(f"snapshot {status.snapshot}" if status.snapshot else "no map yet")
    picture = f'<img src="map/{at}.png" alt="map of {shown}" loading="lazy">' if status.snapshot else ""
    links = f'<a href="map/{at}">Map</a><a href="atlas/{at}/">Embedding Atlas</a><a href="map/{at}.png">Picture</a>'
    return (
        f'<article class="card"><a class="picture" href="map/{at}">{picture}</a><div class="facts"><h2>{shown}</h2>'
        f'<span class="quiet">{" · ".join(numbers)}</span><div class="links">{links}</div></div></article>'
    )
