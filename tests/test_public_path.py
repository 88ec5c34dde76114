"""Behind a proxy that serves the product below a path of its public address, whether it takes the path off or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from api_world import settings_at, write_run
from browser import Browser, is_there
from pydantic import ValidationError
from served import served
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.app import create_app
from components.pipeline import Pipeline
from components.settings import ApiSettings, Settings

path = "/logs of/team"
spelled = "/logs%20of/team"
token = "open sesame"


@contextmanager
def proxied(settings: Settings, *, takes_off: bool) -> Iterator[str]:
    """The address of a proxy in front of the API, which passes only what is below `path`."""
    with served(create_app(settings)) as upstream:

        async def forward(request: Request) -> Response:
            raw = request.scope["raw_path"].decode()
            if takes_off:
                raw = raw.removeprefix(spelled) or "/"
            url = httpx.URL(str(upstream.base_url)).copy_with(raw_path=f"{raw}?{request.url.query}".encode())
            headers = {name: value for name, value in request.headers.items() if name not in {"host", "connection"}}
            headers |= {"host": "logs.example"} if "host" in request.headers else {}
            if "origin" in headers:
                headers["origin"] = "https://logs.example"
            async with httpx.AsyncClient() as client:
                answer = await client.request(request.method, url, headers=headers, content=await request.body())
            response = Response(answer.content, answer.status_code)
            left_out = {"content-length", "content-encoding", "transfer-encoding", "connection", "date", "server"}
            response.raw_headers += [
                (name.encode(), value.encode()) for name, value in answer.headers.multi_items() if name not in left_out
            ]
            return response

        methods = ["GET", "HEAD", "POST", "DELETE"]
        proxy = Starlette(routes=[Route(f"{path}{{rest:path}}", forward, methods=methods)])
        with served(proxy) as client:
            yield f"{str(client.base_url).rstrip('/')}{spelled}"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    root = tmp_path_factory.mktemp("public")
    settings = settings_at(root / "home")
    write_run(root / "logs", "a", 12)
    with Pipeline(settings) as pipeline:
        pipeline.load([root / "logs"])
        pipeline.index()
    api = settings.api.model_copy(update={"public_url": f"https://logs.example{spelled}"})
    return settings.model_copy(update={"api": api, "api_token": token})


@pytest.mark.parametrize("takes_off", [True, False])
def test_calls_pass_and_links_lead_below_the_path(settings: Settings, *, takes_off: bool) -> None:
    bearer = {"Authorization": f"Bearer {token}"}
    with (
        proxied(settings, takes_off=takes_off) as address,
        httpx.Client(headers=bearer, follow_redirects=True) as client,
    ):
        assert "default" in client.get(f"{address}/datasets").json()["datasets"]
        start = client.get(f"{address}/")
        assert 'href="/' not in start.text
        assert client.get(f"{address}/atlas/default").url.path.endswith("/team/atlas/default/")
        assert client.get(f"{address}/openapi.json").json()["servers"] == [{"url": settings.api.public_url}]
        assert client.get(f"{address}/nowhere").json()["instance"] == "/nowhere"
        if not takes_off:
            assert client.get(address).url.path.endswith("/team/")


def test_the_host_of_the_public_address_is_allowed_without_a_token(settings: Settings) -> None:
    with served(create_app(settings.model_copy(update={"api_token": None}))) as client:
        assert client.get("/datasets", headers={"Host": "logs.example"}).status_code == 200
        assert client.get("/datasets", headers={"Host": "other.example"}).status_code == 421
        mine = {"Host": "logs.example", "Origin": "https://logs.example"}
        assert client.post("/datasets/default/export", json={"format": "nothing"}, headers=mine).status_code == 422
        other = {**mine, "Origin": "https://other.example"}
        assert client.post("/datasets/default/export", json={"format": "nothing"}, headers=other).status_code == 403


@pytest.mark.browser
@pytest.mark.skipif(not is_there, reason="Chromium is not installed")
@pytest.mark.parametrize("takes_off", [True, False])
def test_the_pages_work_below_the_path(settings: Settings, browser: Browser, *, takes_off: bool) -> None:
    own = f"{token} {takes_off}"  # cookies know no ports: that of the other proxy must not open this one
    with proxied(settings.model_copy(update={"api_token": own}), takes_off=takes_off) as address:
        browser.open(f"{address}/")
        browser.wait_for("document.querySelector('input[name=token]') !== null")
        browser.complaints()  # the login page is a 401
        browser.wait_for("document.styleSheets[0]?.cssRules.length")
        browser.type("input[name=token]", own)
        browser.press("form button")
        browser.wait_for("document.querySelector('.card .picture img')?.naturalWidth > 0")
        browser.press(".card .links a")
        browser.wait_for("document.body.dataset.ready === 'yes'")
        assert browser.run("return location.pathname").endswith("/team/map/default")
        browser.run("window.runatlas.store.search('message', 'both')")
        browser.wait_for("document.querySelectorAll('.hits li, .results li').length > 0")
        browser.open(f"{address}/terrain")
        browser.wait_for("document.querySelector('.drop') !== null")
        browser.open(f"{address}/docs")
        browser.wait_for("document.querySelectorAll('.opblock').length > 20")


@pytest.mark.parametrize(
    "url",
    [
        "logs.example",
        "ftp://logs.example",
        "https://",
        "https://a:b@logs.example",
        "https://x/?q=1",
        "https://x:y/",
        "https://x//y",
    ],
)
def test_an_address_that_is_none_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(ValidationError, match=r"https://example\.com/logs"):
        ApiSettings(public_url=url)


def test_parts_of_an_address() -> None:
    def parts(url: str | None) -> Any:
        api = ApiSettings(public_url=url, allowed_hosts=("a.example",))
        return api.public_url, api.hosts, api.public_path

    assert parts(None) == parts("") == (None, ("a.example",), "")
    assert parts("https://Logs.example/") == ("https://Logs.example", ("a.example", "logs.example"), "")
    assert parts("http://[::1]:8/x%20y/") == ("http://[::1]:8/x%20y", ("a.example", "::1"), "/x y")
