"""The terrain pages in a real browser: a table is dropped, waited for, seen, rebalanced, and downloaded."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from api_world import evil, settings_at
from browser import Browser, a_browser, is_there, waited
from page_tools import installed_tools, needs_node
from served import served

from api.app import create_app
from components.pipeline import Pipeline
from components.settings import Settings

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not is_there, reason="Chromium is not installed")]

sizes = {  # each text makes a hill, since its rows are equal
    "Where is the card that I ordered?": 80,
    "The cash machine kept my money": 45,
    "My refund has not arrived yet": 30,
    f"Markup stays text: {evil}": 22,
    "Which currencies do you support?": 14,
    "Close my account, please": 11,
}
is_ready = "document.body.dataset.ready === 'yes' && !document.querySelector('#page').hidden"
is_at_rest = "!window.runatlas.stage.request"
weights = "window.runatlas.store.weights.value"


def table() -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["number", "text"])
    rows = [text for text, n in sizes.items() for _ in range(n)]
    writer.writerows([(i, rows[i * 37 % len(rows)]) for i in range(len(rows))])
    return text.getvalue()


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return settings_at(tmp_path_factory.mktemp("terrain") / "home", survey={"uploads_per_minute": 100})


@pytest.fixture(scope="module")
def client(settings: Settings) -> Iterator[httpx.Client]:
    with served(create_app(settings)) as client:
        yield client


@pytest.fixture(scope="module")
def address(client: httpx.Client) -> str:
    return str(client.base_url).rstrip("/")


@pytest.fixture(scope="module")
def upload(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The id of a finished survey."""
    file = tmp_path_factory.mktemp("table") / "questions.csv"
    file.write_text(table(), "utf-8")
    with Pipeline(settings) as pipeline:
        return pipeline.survey(file).dataset


def open_terrain(browser: Browser, address: str, upload: str, query: str = "") -> None:
    """The page of a terrain, at rest, all weights 1."""
    browser.open("about:blank")
    browser.open(f"{address}/terrain/{upload}{query}")
    browser.wait_for(is_ready)
    browser.run("window.runatlas.store.reset()")
    browser.wait_for(is_at_rest)


def drop(browser: Browser, name: str, text: str) -> None:
    """Drops a file on the page, as the browser does when a user lets it go there."""
    browser.run(
        """const data = new DataTransfer(); data.items.add(new File([arguments[1]], arguments[0], {type: "text/csv"}));
        for (const kind of ["dragenter", "dragover", "drop"])
          document.querySelector(".drop").dispatchEvent(new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true}));""",
        name,
        text,
    )


def peak(browser: Browser, hill: int) -> tuple[float, float]:
    """Where the handle of a peak is in the window."""
    x, y = browser.run(
        """const box = document.querySelector(`.peak[data-hill="${arguments[0]}"]`).getBoundingClientRect();
        return [box.x + box.width / 2, box.y + box.height / 2]""",
        hill,
    )
    return x, y


def press(browser: Browser, text: str) -> None:
    """Clicks the button with this text."""
    x, y = browser.run(
        """const found = [...document.querySelectorAll("button")].find((one) => one.textContent.trim() === arguments[0]);
        found.scrollIntoView({block: "nearest"}); const box = found.getBoundingClientRect();
        return [box.x + box.width / 2, box.y + box.height / 2]""",
        text,
    )
    browser.click(x, y)


def camera(browser: Browser) -> dict[str, float]:
    browser.wait_for(is_at_rest)
    return browser.run("const {yaw, pitch, distance} = window.runatlas.stage.camera; return {yaw, pitch, distance}")


def stored(client: httpx.Client, upload: str) -> list[float]:
    return [hill["weight"] for hill in client.get(f"/api/terrain/{upload}").json()["hills"]]


def figures(browser: Browser) -> list[str]:
    return browser.run("return [...document.querySelectorAll('.meter b')].map((one) => one.textContent)")


def test_a_dropped_table_becomes_a_terrain_that_is_changed_undone_and_downloaded(
    browser: Browser, client: httpx.Client, address: str
) -> None:
    browser.open(f"{address}/terrain")
    browser.wait_for("document.body.dataset.ready === 'yes'")
    drop(browser, "questions.csv", table())
    browser.wait_for("location.pathname.includes('/terrain/upload-')")
    browser.wait_for("document.querySelector('[role=progressbar]') || document.body.dataset.ready === 'yes'")
    browser.wait_for(is_ready, within_s=180)
    browser.wait_for(is_at_rest)
    upload = browser.run("return location.pathname.split('/').at(-1)")
    assert browser.run("return document.querySelector('h1').textContent") == "questions.csv"
    assert browser.run("return document.querySelectorAll('.peak').length") == len(sizes)

    x, y = peak(browser, 0)
    before = figures(browser)
    browser.drag((x, y), (x, y + 60))
    browser.wait_for(f"{weights}[0] < 0.95 && {weights}[0] > 0.05")
    assert figures(browser) != before
    lowered = browser.run(f"return {weights}[0]")
    waited(lambda: stored(client, upload)[0] == lowered, what="the weight is stored", within_s=10)
    served_gini = client.get(f"/api/terrain/{upload}").json()["metrics"]["gini"]
    assert figures(browser)[1] == f"{served_gini:.2f}"

    press(browser, "Undo")
    waited(lambda: stored(client, upload)[0] == 1, what="the step is undone on the server", within_s=10)
    press(browser, "Redo")
    browser.wait_for(f"{weights}[0] === {lowered}")
    press(browser, "Flatten all")
    browser.wait_for("document.querySelectorAll('.meter b')[1].textContent === '0.00'")
    assert figures(browser) == ["100%", "0.00"]

    press(browser, "All rows, weighted")  # waits until the weights are stored
    file = browser.downloads / "questions-weighted.csv"
    waited(file.exists, what="the download", within_s=30)
    rows = list(csv.DictReader(io.StringIO(file.read_text("utf-8"))))
    assert len(rows) == sum(sizes.values())
    mean = sum(sizes.values()) / len(sizes)
    for text, n in sizes.items():
        given = [float(row["weight"]) for row in rows if row["text"] == text]
        assert given == pytest.approx([mean / n] * n, rel=1e-3)
    press(browser, "Balanced sample")
    sample = browser.downloads / "questions-resampled.csv"
    waited(sample.exists, what="the sample", within_s=30)
    taken = [row["text"] for row in csv.DictReader(io.StringIO(sample.read_text("utf-8")))]
    counts = [taken.count(text) for text in sizes]
    assert sum(counts) == sum(sizes.values())
    assert max(counts) - min(counts) <= 1


def test_the_mouse_turns_tilts_moves_and_zooms(browser: Browser, address: str, upload: str) -> None:
    open_terrain(browser, address, upload)
    first = camera(browser)
    browser.drag((120, 600), (220, 560))
    turned = camera(browser)
    assert turned["yaw"] < first["yaw"] - 0.3
    assert turned["pitch"] < first["pitch"] - 0.1
    browser.wheel(500, 400, -300)
    assert camera(browser)["distance"] < 0.8 * first["distance"]
    browser.press("#zoom [data-by=whole]")
    assert camera(browser) == pytest.approx(first, abs=0.01)
    browser.press("#zoom [data-by=above]")
    assert camera(browser)["pitch"] > 1.5


def test_fingers_turn_pinch_and_lift_a_peak(browser: Browser, address: str, upload: str) -> None:
    open_terrain(browser, address, upload)
    first = camera(browser)
    browser.touch(((120, 600), (220, 600)))
    assert camera(browser)["yaw"] < first["yaw"] - 0.3
    browser.touch(((450, 400), (350, 400)), ((550, 400), (650, 400)))
    assert camera(browser)["distance"] < 0.7 * first["distance"]
    browser.press("#zoom [data-by=whole]")
    browser.wait_for(is_at_rest)
    x, y = peak(browser, 0)
    browser.touch(((x, y), (x, y + 50)))
    browser.wait_for(f"{weights}[0] < 0.95")
    assert browser.run("return window.runatlas.store.canUndo.value")


def test_keys_turn_zoom_lift_peaks_and_undo(browser: Browser, client: httpx.Client, address: str, upload: str) -> None:
    open_terrain(browser, address, upload)
    first = camera(browser)
    browser.run("document.querySelector('#stage').focus()")
    for key in ("ArrowRight", "ArrowUp", "+"):
        browser.keys(key)
    now = camera(browser)
    assert (now["yaw"] > first["yaw"], now["pitch"] > first["pitch"], now["distance"] < first["distance"]) == (
        True,
    ) * 3
    browser.keys("0")
    assert camera(browser) == pytest.approx(first, abs=0.01)
    browser.keys("Tab")  # the peaks are one stop
    assert browser.run("return document.activeElement.dataset.hill") == "0"
    browser.keys("ArrowRight")
    assert browser.run("return document.activeElement.getAttribute('aria-label')")
    hill = browser.run("return Number(document.activeElement.dataset.hill)")
    browser.keys("ArrowDown")
    browser.wait_for(f"{weights}[{hill}] < 1")
    assert "weight" in browser.run("return document.activeElement.getAttribute('aria-valuetext')")
    browser.keys("Control", "z")
    browser.wait_for(f"{weights}[{hill}] === 1")
    browser.keys("Control", "Shift", "z")
    browser.wait_for(f"{weights}[{hill}] < 1")


def test_a_hill_under_the_pointer_shows_its_name_size_and_samples_and_markup_stays_text(
    browser: Browser, address: str, upload: str
) -> None:
    open_terrain(browser, address, upload)
    hill = browser.run("return window.runatlas.store.hills.findIndex((one) => one.samples[0].startsWith('Markup'))")
    x, y = peak(browser, hill)
    browser.move(x, y + 12)  # the slope, not the handle
    tip = browser.wait_for("!document.querySelector('#tip').hidden && document.querySelector('#tip').innerText")
    assert evil in tip
    assert "22 rows" in tip
    browser.click(x, y)
    detail = browser.wait_for("document.querySelector('.detail')?.innerText")
    assert evil in detail
    assert browser.run("return document.querySelectorAll('#page img').length") == 0
    browser.move(5, 500)
    browser.wait_for("document.querySelector('#tip').hidden")


def test_the_table_says_what_the_terrain_shows(browser: Browser, address: str, upload: str) -> None:
    open_terrain(browser, address, upload)
    rows = browser.run(
        "return [...document.querySelectorAll('#panel tbody tr')].map((row) => [row.cells[0].innerText.trim(), Number(row.cells[2].innerText)])"
    )
    assert [n for _, n in rows] == sorted(sizes.values(), reverse=True)
    assert all(name for name, _ in rows)
    browser.run("document.querySelector('#panel input[type=range]').focus()")
    browser.keys("ArrowLeft")
    browser.wait_for(f"{weights}[0] < 1")
    said = browser.run("return document.querySelector('#panel input[type=range]').getAttribute('aria-valuetext')")
    assert "rows, weight \u00d70.9" in said
    assert browser.run("return document.querySelector('.peak').getAttribute('aria-valuetext')").startswith("79 of 80")


def test_the_terrain_is_compared_with_before(browser: Browser, address: str, upload: str) -> None:
    open_terrain(browser, address, upload)
    original = browser.run("return Array.from(window.runatlas.stage.heights)")
    press(browser, "Flatten all")
    browser.wait_for(is_at_rest)
    assert browser.run("return Array.from(window.runatlas.stage.heights)") != pytest.approx(original, rel=0.05)
    press(browser, "Before")
    browser.wait_for(is_at_rest)
    assert browser.run("return Array.from(window.runatlas.stage.heights)") == pytest.approx(original, rel=1e-3)
    colours = "Array.from(window.runatlas.stage.drawing.colours).join()"
    own = browser.run(f"return {colours}")
    press(browser, "Change")
    browser.wait_for(is_at_rest)
    browser.wait_for(f"{colours} !== {own!r}")
    assert browser.run("return document.querySelectorAll('#lines circle:not([hidden])').length") >= len(sizes) - 1


def test_the_ground_is_drawn_again_after_the_graphics_context_was_lost(
    browser: Browser, address: str, upload: str
) -> None:
    open_terrain(browser, address, upload)
    colourful = "(() => { const p = window.runatlas.stage; p.paint(0.5); const gl = p.drawing.gl, a = new Uint8Array(4); gl.readPixels(p.canvas.width / 2, p.canvas.height / 2, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, a); return a.join() })()"
    before = browser.run(f"return {colourful}")
    browser.run(
        "window.lose = window.runatlas.stage.drawing.gl.getExtension('WEBGL_lose_context'); window.lose.loseContext()"
    )
    browser.wait_for("window.runatlas.stage.drawing.gl.isContextLost()")
    browser.run("setTimeout(() => window.lose.restoreContext(), 50)")
    browser.wait_for("!window.runatlas.stage.drawing.gl.isContextLost()")
    browser.wait_for(is_at_rest)
    assert browser.run(f"return {colourful}") == before


def test_without_webgl_the_terrain_is_seen_from_above_and_can_be_changed(
    browser: Browser, address: str, upload: str
) -> None:
    open_terrain(browser, address, upload, "?plain")
    assert browser.run("return window.runatlas.stage.drawing.kind") == "canvas2d"
    picture = browser.picture()[100:600, 100:1000].astype(int)
    assert ((picture.max(axis=2) - picture.min(axis=2)) > 60).sum() > 1_000
    x, y = peak(browser, 0)
    browser.drag((x, y), (x, y + 60))
    browser.wait_for(f"{weights}[0] < 0.95")


def test_a_refused_table_and_an_unknown_terrain_are_explained(browser: Browser, address: str) -> None:
    browser.open(f"{address}/terrain")
    browser.wait_for("document.body.dataset.ready === 'yes'")
    drop(browser, "short.csv", "text\n" + "one row\n" * 49)
    message = browser.wait_for("document.querySelector('[role=alert]')?.innerText")
    assert "50" in message
    assert browser.run("return document.querySelector('input[type=file]') !== null"), "another file can be chosen"
    browser.open(f"{address}/terrain/upload-0000000000000000")
    browser.wait_for("document.querySelector('[role=alert] h1')?.innerText === 'There is no such terrain'")
    browser.complaints()  # the console names the requests that were refused


def test_a_change_that_cannot_be_stored_is_said_to_be_unsaved(
    browser: Browser, client: httpx.Client, settings: Settings, address: str, tmp_path: Path
) -> None:
    file = tmp_path / "gone.csv"
    file.write_text(table(), "utf-8")
    with Pipeline(settings) as pipeline:
        upload = pipeline.survey(file).dataset
    open_terrain(browser, address, upload)
    assert client.delete(f"/api/datasets/{upload}").status_code == 204
    press(browser, "Flatten all")
    browser.wait_for("document.querySelector('.saved').innerText.startsWith('Not saved:')")
    browser.complaints()  # the console names the request that was refused
    browser.run("window.runatlas.store.reset()")


def test_with_a_token_the_page_signs_in_once_and_may_write(settings: Settings, window: Browser, upload: str) -> None:
    locked = settings.model_copy(update={"api_token": "open sesame"})
    with served(create_app(locked)) as client:
        window.open(f"{str(client.base_url).rstrip('/')}/terrain/{upload}")
        window.wait_for("document.querySelector('input[name=token]') !== null")
        window.type("input[name=token]", "open sesame")
        window.press("form button")
        window.wait_for(is_ready)
        window.run("window.runatlas.store.reset(); window.runatlas.store.drag(1, 0.25); window.runatlas.store.settle()")
        window.wait_for("document.querySelector('.saved').innerText === 'All changes are saved'")
        client.headers["Authorization"] = "Bearer open sesame"
        assert stored(client, upload)[1] == 0.25
        window.open(f"{str(client.base_url).rstrip('/')}/terrain")
        window.wait_for("document.body.dataset.ready === 'yes'")
        drop(window, "questions.csv", table())
        window.wait_for("location.pathname.includes('/terrain/upload-')")
        window.open("about:blank")
    window.complaints()  # the login page is a 401


def test_on_a_phone_everything_is_within_reach(tmp_path: Path, address: str, upload: str) -> None:
    with a_browser(tmp_path, width=500, height=900) as browser:
        open_terrain(browser, address, upload)
        width = browser.run("return innerWidth")
        assert browser.run("return document.documentElement.scrollWidth") <= width
        stage, panel = browser.run(
            "return ['#stage', '#panel'].map((one) => { const b = document.querySelector(one).getBoundingClientRect(); return [b.top, b.bottom, b.width] })"
        )
        assert stage[1] <= panel[0] + 1, "the panel lies below the terrain"
        assert stage[2] == panel[2] == width
        before = camera(browser)
        browser.touch(((60, 330), (160, 330)))
        assert camera(browser)["yaw"] < before["yaw"] - 0.3


def test_a_dark_window_gets_a_dark_terrain(tmp_path: Path, address: str, upload: str) -> None:
    with a_browser(tmp_path, dark=True) as browser:
        open_terrain(browser, address, upload)
        time.sleep(0.5)
        picture = browser.picture()
        assert picture[300, 20].max() < 60
        assert picture[300, 1300].max() < 70


@pytest.mark.slow
@needs_node
@pytest.mark.parametrize("is_dark", [False, True])
def test_axe_finds_no_barrier(tmp_path: Path, address: str, upload: str, is_dark: bool) -> None:
    axe = (installed_tools(tmp_path) / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")
    check = f"{axe}; window.axe = axe; const done = arguments[arguments.length - 1]; window.axe.run().then((found) => done(found.violations.map((one) => [one.id, one.nodes[0].html])))"

    with a_browser(tmp_path / "chromium", dark=is_dark) as browser:
        open_terrain(browser, address, upload)
        assert browser.run_async(check) == []
        browser.run("window.runatlas.store.selected.value = 1; window.runatlas.store.flatten()")
        browser.wait_for("document.querySelector('.detail')")
        browser.wait_for(is_at_rest)
        assert browser.run_async(check) == []
        browser.run("window.runatlas.store.reset()")
        browser.wait_for("!document.querySelector('.saved').innerText.startsWith('Saving')")
        browser.open(f"{address}/terrain")
        browser.wait_for("document.body.dataset.ready === 'yes'")
        assert browser.run_async(check) == []
