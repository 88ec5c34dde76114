"""`/docs` in a real browser: Swagger UI lists the calls, sends them, and uses the token; no other host is contacted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from api_world import settings_at
from browser import Browser, a_browser, is_there
from served import served

from api.app import create_app

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not is_there, reason="Chromium is not installed")]

calls = "document.querySelectorAll('.opblock').length"
result = "document.querySelector('.live-responses-table tbody .response-col_status')?.innerText"


@contextmanager
def docs(tmp_path: Path, **settings: str) -> Iterator[tuple[Browser, str]]:
    """A browser, and the address of an API with these settings."""
    app = create_app(settings_at(tmp_path / "home", **settings))
    with served(app) as client, a_browser(tmp_path / "chromium") as browser:
        yield browser, str(client.base_url).rstrip("/")
        assert [line for line in browser.complaints() if "Failed to load resource" not in line] == []
        hosts = {urlsplit(url).hostname for url in browser.asked_for() if url.startswith(("http", "ws"))}
        assert hosts <= {"127.0.0.1"}


def try_call(browser: Browser, path: str) -> str:
    """The status that the page shows after this call was tried out."""
    block = f".opblock:has([data-path='{path}'])"
    browser.wait_for(f'document.querySelector("{block}")')
    browser.press(f"{block} .opblock-summary-control")
    browser.wait_for(f'document.querySelector("{block} .execute")')
    for _ in range(3):  # the page may be moving under the pointer while it unfolds the call
        browser.press(f"{block} .execute")
        with suppress(AssertionError):
            return str(browser.wait_for(result, within_s=10)).split()[0]
    raise AssertionError(f"{path} was not sent")


def test_every_call_is_listed_and_health_can_be_tried(tmp_path: Path) -> None:
    with docs(tmp_path) as (browser, address):
        browser.open(f"{address}/docs")
        browser.wait_for(calls)
        described = browser.run("return await (await fetch('openapi.json')).json()")["paths"]
        assert browser.run(f"return {calls}") == sum(len(methods) for methods in described.values())
        assert try_call(browser, "/health") == "200"


def test_a_call_that_changes_something_is_sent_with_the_token(tmp_path: Path) -> None:
    with docs(tmp_path, api_token="open sesame") as (browser, address):
        browser.open(f"{address}/docs")
        browser.wait_for("document.querySelector('input[name=token]')")
        browser.type("input[name=token]", "open sesame")
        browser.press("form button")
        browser.wait_for(calls)
        browser.press(".btn.authorize")
        browser.type(".auth-container input", "open sesame")
        browser.press(".auth-btn-wrapper .authorize")
        browser.press(".modal-ux .close-modal")
        assert try_call(browser, "/index") == "503", "the token is accepted; Prefect is not running here"
