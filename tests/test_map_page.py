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
from page_tools import installed_tools, needs_node
from served import served

from api.app import create_app
from components.pipeline import Pipeline
from components.settings import Settings

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not is_there, reason="Chromium is not installed")]

is_ready = "document.body.dataset.ready === 'yes'"
is_drawn = "window.runatlas.store.snapshot.value && window.runatlas.stage.drawn >= window.runatlas.stage.drawer.shown"
view_in_address = """(() => {
  const { x, y, magnification } = window.runatlas.stage.view;
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
    time.sleep(0.3)


def n_coloured(picture: np.ndarray) -> int:
    """Coloured pixels in the part of the window that shows the map alone."""
    part = picture[60:640, 510:1400].astype(int)
    return int((part.max(axis=2) - part.min(axis=2) > 60).sum())


def position_of(browser: Browser, row: int) -> tuple[float, float]:
    """Where a point is in the window."""
    x, y = browser.run(
        """const {store, stage} = window.runatlas, {x, y} = store.snapshot.value, box = stage.element.getBoundingClientRect();
        const at = stage.view.toScreen(x[arguments[0]], y[arguments[0]]); return [at[0] + box.left, at[1] + box.top]""",
        row,
    )
    return x, y


def lone_row(browser: Browser) -> int:
    """The row whose point is farthest from its nearest neighbour, and not below a panel."""
    return browser.run(
        """const {store, stage} = window.runatlas, {x, y, n} = store.snapshot.value; const at = [];
        for (let i = 0; i < n; i++) at.push(stage.view.toScreen(x[i], y[i]));
        const far = at.map((a, i) => a[0] < 220 || a[1] < 60 ? 0 : Math.min(...at.map((b, j) => i === j ? 1e9 : Math.hypot(a[0] - b[0], a[1] - b[1]))));
        return far.indexOf(Math.max(...far));"""
    )


def n_shown(browser: Browser) -> int:
    return browser.run("return window.runatlas.store.passing.value.rows.length")


def test_points_are_drawn_with_webgl(browser: Browser, address: str) -> None:
    open_map(browser, address)
    assert browser.run("return window.runatlas.stage.drawer.kind") == "webgl2"
    assert n_coloured(browser.picture()) > 300
    assert browser.text_of("#count") == "52 records"


def test_points_are_drawn_without_webgl_too(browser: Browser, address: str) -> None:
    open_map(browser, address, "?plain")
    assert browser.run("return window.runatlas.stage.drawer.kind") == "canvas2d"
    assert n_coloured(browser.picture()) > 300


def test_a_point_shows_its_text_and_markup_in_it_stays_text(browser: Browser, address: str) -> None:
    open_map(browser, address)
    (row,) = browser.run("return (await (await fetch('default/search?q=onerror%20%22of%20a%22')).json()).rows")
    browser.run(
        "const {store, stage} = window.runatlas, {x, y} = store.snapshot.value; Object.assign(stage.view, {scale: stage.view.scale * 40, x: x[arguments[0]], y: y[arguments[0]]}); stage.moved()",
        row,
    )
    browser.move(*position_of(browser, row))
    tip = browser.wait_for("!document.querySelector('#tip').hidden && document.querySelector('#tip').innerText")
    assert evil in tip
    browser.click(*position_of(browser, row))
    read = browser.wait_for("document.querySelector('#reader pre') && document.querySelector('#reader').innerText")
    assert evil in read
    browser.wait_for("document.querySelector('#reader .steps')?.innerText.includes('of 40 in its run')")
    assert browser.run("return document.querySelector('#tip').hidden"), "after a click the tooltip is gone"
    assert browser.run("return document.querySelectorAll('#tip img, #reader img').length") == 0


def test_the_steps_of_a_run_can_be_visited(browser: Browser, address: str) -> None:
    open_map(browser, address)
    browser.click(*position_of(browser, lone_row(browser)))
    browser.wait_for("window.runatlas.store.path.value.length > 1 && document.querySelector('#reader .steps')")
    first = browser.run("return window.runatlas.store.row.value")
    browser.press("#reader .steps button:not([disabled])")  # previous, or next at the first step
    browser.wait_for(f"window.runatlas.store.row.value !== {first}")
    browser.keys("Escape")
    browser.wait_for("document.querySelector('#reader').hidden")


def test_words_are_searched_and_marked(browser: Browser, address: str) -> None:
    open_map(browser, address)
    browser.press_role("button", "Words")
    browser.fill("searchbox", "Search", "traceback")
    browser.wait_for("document.querySelector('.search .found')?.textContent === '13 found'")
    browser.wait_for("document.querySelectorAll('#reader .hits li').length === 13")
    assert browser.run("return document.querySelector('#reader .hits mark').textContent") == "Traceback"
    assert browser.run("return window.runatlas.stage.drawer.ringed") == 13
    browser.press_role("button", "Clear search")
    browser.wait_for("document.querySelector('#reader').hidden")


def test_records_are_searched_by_meaning_and_by_likeness(browser: Browser, address: str) -> None:
    open_map(browser, address)
    browser.press_role("button", "Meaning")
    browser.fill("searchbox", "Search", "Please step 0 of a: the (weird) thing 0")
    browser.wait_for("document.querySelector('.search .found')?.textContent === '52 found'")
    browser.wait_for("document.querySelector('#reader .hits .text')?.textContent.startsWith('Please step 0 of a')")
    browser.press("#reader .hits button")
    browser.press_role("button", "More like this")
    browser.wait_for("document.querySelector('#reader h2')?.textContent === 'More like this'")
    browser.wait_for("document.querySelector('.search .found')?.textContent === '51 found'")
    assert not browser.text_of("#reader .hits .text").startswith("Please step 0 of a:")
    browser.press_role("button", "Clear search")


def test_a_filter_stays_visible_whatever_the_colour_is(browser: Browser, address: str) -> None:
    open_map(browser, address)
    before = n_coloured(browser.picture())
    browser.press("#colours .value")
    browser.wait_for("window.runatlas.store.passing.value.rows.length === 13")
    waited(lambda: 0 < n_coloured(browser.picture()) < 0.9 * before, what="fewer points", within_s=30)
    assert "13 of 52 shown" in browser.text_of(".chips")
    browser.choose("Colour", "source")
    assert browser.run("return document.querySelectorAll('.chips .chip').length") == 1
    live = browser.run("return [...document.querySelectorAll('#colours .value em')].map((one) => one.textContent)")
    assert live == ["10", "3"], "counts of sources under the filter on types"
    browser.press_role("button", "Clear all")
    browser.wait_for("window.runatlas.store.passing.value.rows.length === 52")
    browser.choose("Colour", "type")
    again = pytest.approx(before, rel=0.02)
    waited(lambda: n_coloured(browser.picture()) == again, what="all points again", within_s=30)


def test_wheel_and_drag_move_the_view_and_the_address_keeps_it(browser: Browser, address: str) -> None:
    open_map(browser, address)
    browser.wheel(800, 400, -300)
    browser.drag((800, 400), (900, 450))
    saved = browser.wait_for(view_in_address)
    view = browser.run("const v = window.runatlas.stage.view; return [v.x, v.y, v.magnification]")
    assert view[2] > 1.2
    open_map(browser, address, saved)
    again = browser.run("const v = window.runatlas.stage.view; return [v.x, v.y, v.magnification]")
    assert again == pytest.approx(view, rel=1e-3)


def test_a_link_shows_a_colleague_the_same(browser: Browser, address: str) -> None:
    open_map(browser, address)
    browser.press("#colours .value")
    browser.press_role("button", "Words")
    browser.fill("searchbox", "Search", "step")
    browser.wait_for("document.querySelector('#reader .hits button')")
    browser.press("#reader .hits button")
    browser.wait_for("document.querySelector('#reader pre')")
    place = "JSON.stringify({...window.runatlas.store.place.value, at: null})"
    browser.wait_for("location.hash.includes('id=') && location.hash.includes('f.type=')")
    time.sleep(0.4)
    link, before = browser.run("return location.hash"), browser.run(f"return {place}")
    open_map(browser, address, link)
    browser.wait_for("document.querySelector('#reader pre')")
    assert browser.run(f"return {place}") == before
    open_map(browser, address, "#at=a,b&f.type=error&area=1,2&id=nobody&panel=nothing&time=9~1&new=-3")
    assert n_shown(browser) == 13, "what is damaged in an address is left out"
    browser.wait_for("performance.getEntriesByType('resource').some((one) => one.name.includes('id=nobody'))")
    browser.complaints()  # the record is a 404


def test_points_are_selected_by_drawing_and_by_clicks(browser: Browser, address: str) -> None:
    open_map(browser, address)
    inside = browser.run(
        """const {store, stage} = window.runatlas, {x, y} = store.snapshot.value, box = stage.element.getBoundingClientRect(); let n = 0;
        for (let i = 0; i < x.length; i++) { const [a, b] = stage.view.toScreen(x[i], y[i]).map((v, k) => v + (k ? box.top : box.left)); n += a > 520 && a < 1390 && b > 80 && b < 640; }
        return n"""
    )
    browser.press_role("button", "Select")
    browser.drag((520, 80), (1390, 80), (1390, 640), (520, 640), (520, 90))
    n = browser.wait_for("window.runatlas.store.selection.value.rows.length")
    assert abs(n - inside) <= 1
    browser.press_role("button", "Show only these")
    browser.wait_for(f"window.runatlas.store.passing.value.rows.length === {n}")
    assert "Selection" in browser.text_of(".chips")
    time.sleep(0.4)
    link = browser.run("return location.hash")
    open_map(browser, address, link)
    assert n_shown(browser) == n
    browser.press_role("button", "Clear the selection")
    browser.wait_for("window.runatlas.store.passing.value.rows.length === 52")


def test_the_command_palette_searches_filters_and_goes(browser: Browser, address: str) -> None:
    open_map(browser, address)
    browser.keys("/")
    browser.fill("combobox", "Search, filter, or command", "tool_call")
    browser.wait_for(
        "[...document.querySelectorAll('.commands li')].some((one) => one.textContent === 'tool_callFilter by type')"
    )
    for _ in range(20):
        if "Filter by type" in browser.text_of(".commands [aria-selected=true]"):
            break
        browser.keys("ArrowDown")
    browser.keys("Enter")
    browser.wait_for("window.runatlas.store.passing.value.rows.length === 13")
    browser.keys("Control", "k")
    browser.wait_for("document.querySelector('dialog').open")
    browser.fill("combobox", "Search, filter, or command", "clear all")
    browser.wait_for("document.querySelectorAll('.commands li').length > 0")
    browser.press(".commands li:has-text('Clear all filters')")
    browser.wait_for("window.runatlas.store.passing.value.rows.length === 52")
    browser.keys("/")
    browser.fill("combobox", "Search, filter, or command", "table")
    browser.press(".commands li:has-text('Table of what is shown')")
    browser.wait_for("document.querySelector('.counts tbody')?.innerText.includes('13')")


def test_topics_are_an_outline_that_filters(browser: Browser, address: str) -> None:
    open_map(browser, address)
    browser.wait_for("document.querySelector('.tree .name, .content .pad')")
    assert browser.text_of(".content") != ""


def test_the_page_asks_for_the_token_once(world: Settings, browser: Browser) -> None:
    settings = world.model_copy(update={"api_token": "open sesame"})
    with served(create_app(settings)) as client:
        browser.open(f"{str(client.base_url).rstrip('/')}/map/default")
        browser.wait_for("document.querySelector('input[name=token]') !== null")
        browser.complaints()  # the login page is a 401
        browser.type("input[name=token]", "open sesame")
        browser.press("form button")
        browser.wait_for(is_ready)
        browser.wait_for(is_drawn)
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


def test_an_unknown_record_and_an_unknown_dataset_are_explained(window: Browser, address: str) -> None:
    open_map(window, address, f"#panel=record&id={'0' * 32}")
    window.wait_for("document.querySelector('#reader')?.innerText.includes('This record is gone')")
    window.open(f"{address}/map/nobody")
    window.wait_for("document.querySelector('#message').innerText.includes('There is no dataset “nobody”')")
    assert window.picture()[200, 700].min() > 200, "the message is dark: it needs a light ground"
    window.press("#message a")
    window.wait_for("document.querySelector('.cards')")
    window.complaints()  # the record and the dataset are 404s


def test_a_server_that_is_gone_is_said_to_be(world: Settings, window: Browser) -> None:
    with served(create_app(world)) as client:
        open_map(window, str(client.base_url).rstrip("/"))
    window.wait_for("document.querySelector('#side .head').innerText.includes('does not answer')")
    assert n_coloured(window.picture()) > 300, "the map stays"
    window.open("about:blank")
    window.complaints()


def test_a_new_snapshot_appears_automatically_and_the_view_stays(
    world: Settings, browser: Browser, address: str
) -> None:
    open_map(browser, address)
    browser.wheel(800, 400, -200)
    browser.wait_for(view_in_address)
    view = browser.run("const v = window.runatlas.stage.view; return [v.x, v.y, v.scale]")
    with Pipeline(world) as pipeline:
        write_run(world.home.parent / "logs", "c", 8)
        pipeline.load()
        pipeline.index()
    browser.wait_for("window.runatlas.store.snapshot.value.summary.snapshot === 3")
    browser.wait_for("document.querySelector('.fresh').textContent === '8 new since snapshot 2'")
    assert browser.run("return window.runatlas.store.snapshot.value.n") == 60
    assert browser.run("const v = window.runatlas.stage.view; return [v.x, v.y, v.scale]") == view
    browser.press_role("button", "Show only new")
    browser.wait_for("window.runatlas.store.passing.value.rows.length === 8")


def test_on_a_phone_the_map_stays_uncovered_and_panels_are_sheets(tmp_path: Path, address: str) -> None:
    with a_browser(tmp_path, width=390, height=844, touch=True) as browser:
        open_map(browser, address)
        boxes = "['#middle', '#side'].map((one) => { const b = document.querySelector(one).getBoundingClientRect(); return [b.top, b.bottom, b.width] })"
        middle, side = browser.run(f"return {boxes}")
        assert middle[1] <= side[0] + 1
        assert middle[2] == side[2] == browser.run("return innerWidth")
        assert browser.run("return document.documentElement.scrollWidth") <= 390
        before = browser.run("return window.runatlas.stage.view.x")
        browser.touch(((100, 250), (250, 250)))
        assert browser.run("return window.runatlas.stage.view.x") < before
        browser.press_role("button", "Runs")
        browser.wait_for("!document.querySelector('#reader').hidden")
        reader = browser.run(
            "const b = document.querySelector('#reader').getBoundingClientRect(); return [b.top, b.width]"
        )
        assert reader[0] >= middle[1] - 1
        browser.press_role("button", "Close the panel")
        browser.wait_for("document.querySelector('#reader').hidden")


def test_a_dark_window_gets_a_dark_map(tmp_path: Path, address: str) -> None:
    with a_browser(tmp_path, dark=True) as browser:
        open_map(browser, address)
        assert browser.picture()[600, 400].max() < 60


@pytest.mark.slow
@needs_node
@pytest.mark.parametrize("is_dark", [False, True])
def test_axe_finds_no_barrier(tmp_path: Path, address: str, is_dark: bool) -> None:
    axe = (installed_tools(tmp_path) / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")
    check = f"{axe}; window.axe = axe; const done = arguments[arguments.length - 1]; window.axe.run().then((found) => done(found.violations.map((one) => [one.id, one.nodes.map((node) => node.html.slice(0, 200))])))"
    with a_browser(tmp_path / "chromium", dark=is_dark) as browser:
        for place in (
            "",
            "#tab=filters&f.type=error&panel=selection",
            "#tab=compare&panel=table",
            "#q=step&panel=results",
        ):
            open_map(browser, address, place)
            assert browser.run_async(check) == [], place
        browser.keys("/")
        browser.wait_for("document.querySelector('dialog').open")
        assert browser.run_async(check) == []
