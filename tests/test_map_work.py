"""Work on the map page as a person does it: find, read, compare, keep, share."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from api_world import settings_at
from browser import Browser, a_browser, is_there, waited
from served import served

from api.app import create_app
from components.pipeline import Pipeline
from components.settings import Settings

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not is_there, reason="Chromium is not installed")]

n_runs, n_late = 24, 4
unusual = "\u202eright to left\u202c, zero\u200bwidth, مرحبا, <img src=x onerror=alert(1)>"
themes = ("parse the invoice table", "restart the database server", "draw a chart of sales")
is_drawn = "window.runatlas?.store.snapshot.value && window.runatlas.stage.drawn >= window.runatlas.stage.drawer.shown"


def write_run(folder: Path, number: int, length: int = 8) -> None:
    """A run about one of the themes; the failed ones end with an error of their own."""
    outcome, theme = ("fail" if number % 3 == 0 else "pass"), themes[number % len(themes)]
    lines = []
    for n in range(length):
        kind = ("user", "assistant", "tool_call", "tool_result")[n % 4]
        text = f"{theme}: step {n} of it, {('please do so', 'I shall do so', 'command to run', 'output of it')[n % 4]} {number}"
        item = {
            "type": kind,
            "text": text,
            "iteration": n // 4,
            "timestamp": f"2026-02-{1 + number:02d}T10:00:{n:02d}Z",
        }
        item |= {"outcome": outcome, "model": f"model-{number % 2}"} | ({"tool": "bash"} if kind == "tool_call" else {})
        lines.append(item)
    if outcome == "fail":
        lines[-1] |= {"type": "error", "text": f"The disk quota was exceeded in run {number}", "failed": True}
    if number == 1:
        lines[1]["text"] = unusual
        lines[2]["text"] = "long " * 30_000 + "end of it"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"run-{number:02d}.jsonl").write_text("".join(json.dumps(item) + "\n" for item in lines), "utf-8")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Two snapshots; the second has runs that the first does not."""
    root = tmp_path_factory.mktemp("work")
    settings = settings_at(root / "home")
    with Pipeline(settings) as pipeline:
        for number in range(n_runs):
            write_run(root / "logs", number)
        pipeline.load([str(root / "logs")])
        pipeline.index()
        for number in range(n_runs, n_runs + n_late):
            write_run(root / "logs", number)
        pipeline.load()
        pipeline.index()
    return settings


@pytest.fixture(scope="module")
def client(settings: Settings) -> Iterator[httpx.Client]:
    with served(create_app(settings)) as opened:
        yield opened


@pytest.fixture(scope="module")
def address(client: httpx.Client) -> str:
    return f"{str(client.base_url).rstrip('/')}/map/default"


@pytest.fixture
def browser(browser: Browser) -> Iterator[Browser]:
    """As everywhere; and after each test, nothing of a log has become markup."""
    yield browser
    assert browser.run("return document.querySelectorAll('#page img, #tip img').length") == 0


def open_map(browser: Browser, address: str, place: str = "") -> None:
    browser.open("about:blank")
    browser.open(address + place)
    browser.wait_for("document.body.dataset.ready === 'yes'")
    browser.wait_for(is_drawn)


def shows(browser: Browser, n: int) -> None:
    browser.wait_for(f"window.runatlas.store.passing.value.rows.length === {n}")


def values_of(browser: Browser, column: str) -> dict[str, int]:
    """Live counts in the list of filters."""
    found = browser.run(
        """const facet = [...document.querySelectorAll(".facet")].find((one) => one.querySelector("h2").textContent === arguments[0]);
        return [...facet.querySelectorAll(".value")].map((one) => [one.querySelector("bdi").textContent, one.querySelector("em").textContent])""",
        column,
    )
    return {name: int(count.replace(",", "")) for name, count in found}


def test_filters_of_every_column_have_live_counts(browser: Browser, address: str) -> None:
    open_map(browser, address, "#tab=filters")
    browser.wait_for("document.querySelectorAll('.facet').length >= 7")
    browser.press("summary:has-text('Model')")
    browser.wait_for("[...document.querySelectorAll('.facet')].some((one) => one.innerText.includes('model-1'))")
    assert values_of(browser, "Outcome") == {"pass": 144, "fail": 80}
    browser.press(".facet .value:has-text('fail')")
    shows(browser, 80)
    assert values_of(browser, "Outcome") == {"pass": 144, "fail": 80}, (
        "of the column's own filter nothing is taken away"
    )
    assert sum(values_of(browser, "Model").values()) == 80
    assert values_of(browser, "Type")["error"] == 10
    browser.press(".facet .value:has-text('error')")
    shows(browser, 10)
    assert browser.run("return [...document.querySelectorAll('.chips .chip')].map((one) => one.innerText)") != []
    browser.press_role("button", "Remove filter Outcome: fail")
    browser.press_role("button", "Clear all")
    shows(browser, 224)


def test_what_is_new_since_the_first_snapshot_is_shown(browser: Browser, address: str) -> None:
    open_map(browser, address, "#tab=filters")
    browser.wait_for("document.querySelector('.facet.new option[value=\"1\"]')")
    browser.choose("New since", "1")
    shows(browser, 8 * n_late)
    browser.press("#tools button:has-text('Runs')")
    browser.wait_for(f"document.querySelectorAll('.runs tbody tr').length === {n_late}")


def test_a_search_lists_its_hits_and_opens_them(browser: Browser, address: str) -> None:
    open_map(browser, address)
    for mode in ("Both", "Words", "Meaning"):
        browser.press_role("button", mode)
        browser.fill("searchbox", "Search", "disk quota exceeded")
        browser.wait_for("document.querySelector('#reader .hits .text')?.textContent.includes('quota was exceeded')")
    browser.press_role("button", "Words")
    browser.wait_for("document.querySelector('.search .found').textContent === '10 found'")
    browser.press("#reader .hits button")
    browser.wait_for("document.querySelector('#reader pre')?.textContent.includes('quota')")
    assert browser.run("return document.querySelector('#reader mark').textContent") == "disk"


def test_a_whole_run_is_read_from_the_list_of_runs(browser: Browser, address: str) -> None:
    open_map(browser, address)
    browser.press("#tools button:has-text('Runs')")
    browser.wait_for(f"document.querySelectorAll('.runs tbody tr').length === {n_runs + n_late}")
    browser.press(".runs thead button:has-text('Errors')")
    browser.wait_for("document.querySelector('.runs tbody tr')?.innerText.includes('fail')")
    browser.fill("searchbox", "Find a run by name", "run-03")
    browser.wait_for("document.querySelectorAll('.runs tbody tr').length === 1")
    browser.press(".runs tbody th button")
    browser.wait_for("document.querySelectorAll('.run .step').length === 8")
    folded = "document.querySelectorAll('.run .step .line').length"
    assert browser.run(f"return {folded}") == 3, "two calls and a result are folded"
    assert browser.run("return document.querySelectorAll('.run [data-error=true]').length") == 1
    browser.press_role("button", "Unfold all")
    assert browser.run(f"return {folded}") == 0
    browser.fill("searchbox", "Find in run", "quota")
    browser.wait_for("document.querySelector('.find [role=status]').textContent === '1 found'")
    assert browser.text_of(".run mark") == "quota"
    browser.press(".run .step:nth-child(4) .plain")
    browser.wait_for("document.querySelector('.run .step:nth-child(4)').getAttribute('aria-current') === 'true'")
    row = browser.run("return window.runatlas.store.row.value")
    browser.keys("n")
    browser.wait_for(f"window.runatlas.store.row.value !== {row}")
    browser.wait_for("document.querySelector('.run .step:nth-child(5)').getAttribute('aria-current') === 'true'")
    browser.wait_for("location.hash.includes('panel=run')")


def test_unusual_and_long_texts_stay_texts(browser: Browser, address: str) -> None:
    open_map(browser, address, "#run=run-01.jsonl&panel=run")
    browser.wait_for("document.querySelectorAll('.run .step').length === 8")
    assert "<img src=x" in browser.run("return document.querySelector('.run .step:nth-child(2) pre').textContent")
    browser.press(".run .step:nth-child(3) .link")
    browser.wait_for("document.querySelector('.run .step:nth-child(3) pre')?.textContent.includes('end of it')")


def test_ten_records_are_tagged_found_by_their_tag_and_saved(
    browser: Browser, client: httpx.Client, address: str
) -> None:
    open_map(browser, address, "#f.type=error&panel=selection")
    shows(browser, 10)
    browser.fill("combobox", "Tag", "disk full")
    browser.fill("textbox", "Note", "look at the quota")
    browser.press(".tagging button:has-text('Tag')")
    browser.wait_for("document.querySelector('.toast')?.innerText.includes('10 records tagged')")
    assert client.get("/datasets/default/tags").json()["tags"][0]["count"] == 10
    browser.press_role("button", "Clear all")
    browser.press_role("button", "Tags")
    browser.press(".content .value:has-text('disk full')")
    shows(browser, 10)
    assert "disk full" in browser.text_of(".chips")
    browser.press("#reader .hits button")
    browser.wait_for("document.querySelector('#reader .chip.tag')?.innerText.includes('look at the quota')")
    browser.press_role("button", "Remove tag disk full")
    browser.wait_for("!document.querySelector('#reader .chip.tag')")
    shows(browser, 9)
    assert client.request("DELETE", "/datasets/default/tags", json={"tag": "disk full"}).is_success


def test_what_is_shown_is_saved_as_a_file_and_the_map_as_one_page(browser: Browser, address: str) -> None:
    open_map(browser, address, "#f.type=error&panel=selection")
    shows(browser, 10)
    browser.press_role("button", "CSV")
    saved = browser.downloads / "default.csv"
    waited(saved.exists, what="the file", within_s=30)
    with saved.open(encoding="utf-8", newline="") as file:
        assert sum("quota" in row["text"] for row in csv.DictReader(file)) == 10
    browser.press_role("button", "Ids")
    waited((browser.downloads / "default.txt").exists, what="the ids", within_s=30)
    browser.press_role("button", "Share")
    browser.press("#share a:has-text('Map as one file')")
    page = waited(lambda: next(browser.downloads.glob("*.html"), None), what="the page", within_s=30)
    browser.open(page.as_uri())
    browser.wait_for("document.body.innerText.includes('10')")
    browser.open("about:blank")


def test_two_tabs_that_tag_at_once_lose_nothing(client: httpx.Client, tmp_path: Path, address: str) -> None:
    with a_browser(tmp_path / "a") as one, a_browser(tmp_path / "b") as other:
        for browser, tag in ((one, "first"), (other, "second")):
            open_map(browser, address, "#f.type=error&panel=selection")
            shows(browser, 10)
            browser.fill("combobox", "Tag", tag)
        for browser in (one, other):
            browser.press(".tagging button:has-text('Tag')")
        for browser in (one, other):
            browser.wait_for("document.querySelector('.toast')?.innerText.includes('10 records tagged')")
    counts = {one["tag"]: one["count"] for one in client.get("/datasets/default/tags").json()["tags"]}
    assert counts == {"first": 10, "second": 10}
    for tag in counts:
        client.request("DELETE", "/datasets/default/tags", json={"tag": tag})


def test_the_topics_are_an_outline_that_shows_filters_and_renames(browser: Browser, address: str) -> None:
    open_map(browser, address)
    browser.wait_for("document.querySelector('.tree .topic .name')")
    browser.wait_for("window.runatlas.stage.labels.value.length > 0")
    labels = browser.run("return window.runatlas.stage.labels.value.length")
    name, count = browser.run(
        "const one = document.querySelector('.tree .topic'); return [one.querySelector('.name').innerText, Number(one.querySelector('em').innerText)]"
    )
    browser.press(".tree .topic .name")
    shows(browser, count)
    assert name in browser.text_of(".chips")
    assert browser.run("return window.runatlas.stage.labels.value.length") <= labels
    browser.press(".tree .topic .edit")
    browser.fill("textbox", "Name", "Things about disks")
    browser.press(".edit-topic button:has-text('Rename')")
    browser.wait_for("document.querySelector('.toast')?.innerText.includes('tored')")


def test_failed_runs_are_compared_with_passed_ones(browser: Browser, address: str) -> None:
    open_map(browser, address, "#tab=compare")
    browser.wait_for("document.querySelector('.comparing button')?.innerText === 'Failed against passed'")
    browser.press_role("button", "Failed against passed")
    browser.press_role("button", "Compare", within=".comparing")
    browser.wait_for("document.querySelector('.verdict h3')", within_s=90)
    assert browser.run("return window.runatlas.store.colour.value") == "difference"
    browser.wait_for("new Set(window.runatlas.store.difference.value).size > 3")
    first = browser.text_of("#reader .hits button")
    assert "more in" in first
    browser.press_role("button", "Next to read")
    browser.wait_for("document.querySelector('#reader .hits [aria-current]')")
    browser.wait_for("window.runatlas.store.row.value >= 0")
    browser.wait_for("location.hash.includes('compare=')")
    link = browser.run("return location.hash")
    open_map(browser, address, link)
    browser.wait_for("document.querySelector('.verdict h3')")


def test_a_link_on_the_page_works_with_a_token(settings: Settings, window: Browser) -> None:
    locked = settings.model_copy(update={"api_token": "open sesame"})
    with served(create_app(locked)) as client:
        window.open(f"{str(client.base_url).rstrip('/')}/map/default")
        window.wait_for("document.querySelector('input[name=token]')")
        window.type("input[name=token]", "open sesame")
        window.press("form button")
        window.wait_for("document.body.dataset.ready === 'yes'")
        window.run("window.runatlas.store.want('type', ['error']); window.runatlas.store.panel.value = 'selection'")
        shows(window, 10)
        window.fill("combobox", "Tag", "with a token")
        window.press(".tagging button:has-text('Tag')")
        window.wait_for("document.querySelector('.toast')?.innerText.includes('10 records tagged')")
        client.headers["Authorization"] = "Bearer open sesame"
        assert client.request("DELETE", "/datasets/default/tags", json={"tag": "with a token"}).is_success
        window.open("about:blank")
    window.complaints()  # the login page is a 401


def test_a_filter_that_is_pressed_keeps_the_keyboard_focus(browser: Browser, address: str) -> None:
    open_map(browser, address, "#tab=filters")
    browser.wait_for("document.querySelectorAll('.facet .value').length > 4")
    browser.run("document.querySelector('.facet .value').focus()")
    browser.keys("Enter")
    browser.wait_for("window.runatlas.store.isFiltered.value")
    time.sleep(0.2)
    assert browser.run("return document.activeElement.className") == "value"
    waited(
        lambda: browser.run("return document.querySelector('.facet .value').ariaPressed") == "true",
        what="pressed",
        within_s=5,
    )
