"""The map page in a real browser: it draws, reacts to the mouse, follows new snapshots, and contacts no other host."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from api_world import evil, make_world, write_run
from browser import Browser, a_browser, is_there, waited
from served import served

from api.app import create_app
from components.pipeline import Pipeline
from components.settings import Settings

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not is_there, reason="Chromium is not installed")]

is_ready = "document.body.dataset.ready === 'yes'"
is_drawn = "window.runatlas.page.points && document.querySelector('#message').hidden"
view_in_address = """(() => {
  const { x, y, magnification } = window.runatlas.view;
  const at = [x, y, magnification].map((value) => value.toPrecision(6)).join(",");
  return new URLSearchParams(location.hash.slice(1)).get("at") === at && location.hash;
})()"""  # the address, once it contains the view


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return make_world(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def address(world: Settings) -> Iterator[str]:
    with served(create_app(world)) as client:
        yield str(client.base_url).rstrip("/")


def open_map(browser: Browser, address: str, query: str = "") -> None:
    browser.open("about:blank")
    browser.open(f"{address}/map/default{query}")
    browser.wait_for(is_ready)
    browser.wait_for(is_drawn)
    time.sleep(0.4)


def n_coloured(picture: np.ndarray) -> int:
    """Coloured pixels in the part of the window that shows the map."""
    part = picture[20:640, 300:1360].astype(int)
    return int((part.max(axis=2) - part.min(axis=2) > 60).sum())


def position_of(browser: Browser, row: int) -> tuple[float, float]:
    x, y = browser.run(
        "const {page, view} = window.runatlas; return view.toScreen(page.points.x[arguments[0]], page.points.y[arguments[0]])",
        row,
    )
    return x, y


def lone_row(browser: Browser) -> int:
    """The row whose point is farthest from its nearest neighbour."""
    return browser.run(
        """const {points} = window.runatlas.page; const {view} = window.runatlas; const at = [];
        for (let i = 0; i < points.n; i++) at.push(view.toScreen(points.x[i], points.y[i]));
        const far = at.map((a, i) => Math.min(...at.map((b, j) => i === j ? 1e9 : Math.hypot(a[0] - b[0], a[1] - b[1]))));
        return far.indexOf(Math.max(...far));"""
    )


def test_points_are_drawn_with_webgl(browser: Browser, address: str) -> None:
    open_map(browser, address)
    assert browser.run("return window.runatlas.drawer.kind") == "webgl2"
    assert n_coloured(browser.picture()) > 300
    assert browser.run("return document.querySelector('#count').textContent") == "52 records"


def test_points_are_drawn_without_webgl_too(browser: Browser, address: str) -> None:
    open_map(browser, address, "?plain")
    assert browser.run("return window.runatlas.drawer.kind") == "canvas2d"
    assert n_coloured(browser.picture()) > 300


def test_a_point_shows_its_text_and_markup_in_it_stays_text(browser: Browser, address: str) -> None:
    open_map(browser, address)
    (row,) = browser.run("return (await (await fetch('default/search?q=onerror%20%22of%20a%22')).json()).rows")
    browser.run(
        "const {page, view} = window.runatlas; view.scale *= 40; view.x = page.points.x[arguments[0]]; view.y = page.points.y[arguments[0]]",
        row,
    )
    browser.move(*position_of(browser, row))
    tip = browser.wait_for("!document.querySelector('#tip').hidden && document.querySelector('#tip').innerText")
    assert evil in tip
    browser.click(*position_of(browser, row))
    read = browser.wait_for("!document.querySelector('#reader').hidden && document.querySelector('#reader').innerText")
    assert evil in read
    assert "of 40 in its run" in read
    assert browser.run("return document.querySelectorAll('#tip img, #reader img, #hits img').length") == 0


def test_the_steps_of_a_run_can_be_visited(browser: Browser, address: str) -> None:
    open_map(browser, address)
    browser.click(*position_of(browser, lone_row(browser)))
    browser.wait_for("window.runatlas.page.path.length > 1")
    first = browser.run("return window.runatlas.page.selected")
    before = browser.run("return document.querySelector('#reader .bar span').textContent")
    browser.press("#reader .bar button[title*='in the run']:not([disabled])")  # previous, or next at the first step
    browser.wait_for(f"document.querySelector('#reader .bar span').textContent !== '{before}'")
    assert browser.run("return window.runatlas.page.selected") != first


def test_words_are_searched_and_marked(browser: Browser, address: str) -> None:
    open_map(browser, address)
    browser.type("#search input", "traceback")
    browser.wait_for("document.querySelector('#found span').textContent === '13 found'")
    browser.wait_for("document.querySelectorAll('#hits button').length === 13")
    assert browser.run("return document.querySelector('#hits mark').textContent") == "Traceback"
    assert browser.run("return window.runatlas.page.points.hit.reduce((a, b) => a + b)") == 13


def test_records_are_searched_by_meaning_and_by_likeness(browser: Browser, address: str) -> None:
    open_map(browser, address)
    browser.press("#by button[data-by='meaning']")
    browser.type("#search input", "Please step 0 of a: the (weird) thing 0")
    browser.wait_for("document.querySelector('#found span').textContent === '52 found'")
    browser.wait_for("document.querySelector('#hits .text')?.textContent.startsWith('Please step 0 of a')")
    browser.press("#hits button")
    browser.wait_for("document.querySelector(\"#reader button[title*='closest in meaning']\")")
    browser.press("#reader button[title*='closest in meaning']")
    browser.wait_for("document.querySelector('#reader h2').textContent.startsWith('Like: Please step 0 of a')")
    browser.wait_for("document.querySelector('#found span').textContent === '51 found'")
    assert not browser.run("return document.querySelector('#hits .text').textContent").startswith("Please step 0 of a:")
    browser.press("#found button")
    browser.wait_for("document.querySelector('#found').hidden")


def test_a_click_in_the_legend_filters_by_that_entry(browser: Browser, address: str) -> None:
    open_map(browser, address)
    before = n_coloured(browser.picture())
    browser.press("#legend button")
    waited(lambda: 0 < n_coloured(browser.picture()) < 0.9 * before, what="fewer points", within_s=30)
    browser.press("#legend button")
    again = pytest.approx(before, rel=0.02)
    waited(lambda: n_coloured(browser.picture()) == again, what="all points again", within_s=30)


def test_wheel_and_drag_move_the_view_and_the_address_keeps_it(browser: Browser, address: str) -> None:
    open_map(browser, address)
    browser.wheel(800, 400, -300)
    browser.drag((800, 400), (900, 450))
    saved = browser.wait_for(view_in_address)
    view = browser.run("const v = window.runatlas.view; return [v.x, v.y, v.magnification]")
    assert view[2] > 1.2
    open_map(browser, address, saved)
    again = browser.run("const v = window.runatlas.view; return [v.x, v.y, v.magnification]")
    assert again == pytest.approx(view, rel=1e-3)


def test_the_page_asks_for_the_token_once(world: Settings, browser: Browser) -> None:
    settings = world.model_copy(update={"api_token": "open sesame"})
    with served(create_app(settings)) as client:
        browser.open(f"{str(client.base_url).rstrip('/')}/map/default")
        browser.wait_for("document.querySelector('input[name=token]') !== null")
        browser.complaints()  # the login page is a 401
        browser.type("input[name=token]", "open sesame")
        browser.press("form button")
        browser.wait_for("document.body.dataset.ready === 'yes'")
        browser.complaints()  # and so is its icon
        assert browser.run("return location.pathname + location.search") == "/map/default"
        assert n_coloured(browser.picture()) > 300


def test_embedding_atlas_opens_offline_on_the_newest_snapshot(world: Settings, window: Browser, address: str) -> None:
    window.open(f"{address}/atlas/default/")
    window.wait_for(
        "document.body.innerText.includes('52 / 52') || document.body.innerText.includes('52 points')", within_s=60
    )
    window.wait_for("document.body.innerText.includes('type (VARCHAR)')")
    window.complaints()  # WebGPU is unavailable here, and the console says so
    hosts = {urlsplit(url).hostname for url in window.asked_for() if url.startswith(("http", "ws"))}
    assert hosts <= {"127.0.0.1"}


def test_a_new_snapshot_appears_automatically_and_the_view_stays(
    world: Settings, browser: Browser, address: str
) -> None:
    open_map(browser, address)
    browser.wheel(800, 400, -200)
    browser.wait_for(view_in_address)
    view = browser.run("const v = window.runatlas.view; return [v.x, v.y, v.scale]")
    with Pipeline(world) as pipeline:
        write_run(world.home.parent / "logs", "c", 8)
        pipeline.load()
        pipeline.index()
    browser.wait_for("window.runatlas.page.summary.snapshot === 3")
    browser.wait_for("document.querySelector('#fresh span').textContent === '8 new since #2'")
    assert browser.run("return window.runatlas.page.points.n") == 60
    assert browser.run("const v = window.runatlas.view; return [v.x, v.y, v.scale]") == view


def test_a_dark_window_gets_a_dark_map(tmp_path: Path, address: str) -> None:
    with a_browser(tmp_path, dark=True) as browser:
        open_map(browser, address)
        assert browser.picture()[700, 300].max() < 60
