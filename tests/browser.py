"""A headless Chromium driven by Playwright, for pages that are walked as a person does."""

from __future__ import annotations

import io
import queue
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image
from playwright.sync_api import BrowserContext, Download, Locator, Page, sync_playwright
from playwright.sync_api import Error as PlaywrightError

chromium = shutil.which("chromium")
is_there = chromium is not None

Answer = TypeVar("Answer")

flags = [
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--hide-scrollbars",
    "--disable-gpu-sandbox",
]
bar_height = 143  # pixels that a window of this size has above its page; pictures stay comparable with earlier ones


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Browser:
    """One window. Its requests and console messages are recorded.

    Playwright runs in a thread of its own, since it occupies the event loop of the thread that it runs in; between calls
    it goes on handling events, downloads for instance.
    """

    def __init__(
        self,
        folder: Path,
        *,
        width: int,
        height: int,
        dark: bool,
        touch: bool = False,
        more_flags: Sequence[str] = (),
    ) -> None:
        self.requests: list[str] = []
        self.downloads = folder / "downloads"
        self._complaints: list[str] = []
        self._wanted: queue.Queue[tuple[Callable[[Page], Any], Future[Any]] | None] = queue.Queue()
        self._opened: Future[None] = Future()
        options = {
            "viewport": {"width": width, "height": height - (0 if touch else bar_height)},
            "color_scheme": "dark" if dark else "light",
            "has_touch": True,
            "is_mobile": touch,
            "accept_downloads": True,
        }
        self._thread = threading.Thread(target=self._serve, args=(folder, options, [*flags, *more_flags]))
        self._thread.start()
        self._opened.result(60)

    def close(self) -> None:
        self._wanted.put(None)
        self._thread.join(60)

    def do(self, act: Callable[[Page], Answer]) -> Answer:
        """What a function of the page returns; it runs in Playwright's thread."""
        answer: Future[Answer] = Future()
        self._wanted.put((act, answer))
        return answer.result(180)

    def open(self, url: str) -> None:
        self.do(lambda page: page.goto(url, wait_until="domcontentloaded"))

    def run(self, script: str, *arguments: Any) -> Any:
        """The value that a function body returns in the page."""
        body = f"(async (list) => (async function () {{ {script} }}).apply(null, list))"
        return self.do(lambda page: page.evaluate(body, list(arguments)))

    def run_async(self, script: str, *arguments: Any) -> Any:
        """The value that a function body in the page passes to the callback, its last argument."""
        body = f"(list) => new Promise((done) => {{ (function () {{ {script} }}).apply(null, [...list, done]) }})"
        return self.do(lambda page: page.evaluate(body, list(arguments)))

    def wait_for(self, script: str, *, within_s: float = 90.0) -> Any:
        """The first truthy value of an expression."""
        return waited(lambda: self._now(script), what=script, within_s=within_s)

    def _now(self, script: str) -> Any:
        """The value of an expression; nothing while another page is being opened."""
        try:
            return self.run(f"return {script}")
        except AssertionError as error:
            if "context was destroyed" in str(error) or "properties of null" in str(error):  # it is not there yet
                return None
            raise

    def move(self, x: float, y: float) -> None:
        self.do(lambda page: page.mouse.move(x, y, steps=2))

    def click(self, x: float, y: float) -> None:
        self.do(lambda page: page.mouse.click(x, y))

    def drag(self, *way: tuple[float, float]) -> None:
        def act(page: Page) -> None:
            page.mouse.move(*way[0])
            page.mouse.down()
            for x, y in way[1:]:
                page.mouse.move(x, y, steps=6)
            page.mouse.up()

        self.do(act)

    def wheel(self, x: float, y: float, by: int) -> None:
        def act(page: Page) -> None:
            page.mouse.move(x, y)
            page.mouse.wheel(0, by)

        self.do(act)

    def type(self, selector: str, text: str) -> None:
        self.do(lambda page: page.locator(selector).first.press_sequentially(text))

    def press(self, selector: str) -> None:
        self.do(lambda page: page.locator(selector).first.click())

    def keys(self, *names: str) -> None:
        """Press and release keys at the focused element, all held while the next ones go down."""
        self.do(lambda page: page.keyboard.press("+".join("Equal" if name == "+" else name for name in names)))

    def touch(self, *ways: tuple[tuple[float, float], tuple[float, float]]) -> None:
        """Fingers that go down together, each moves from its start to its end, and that go up together."""

        def act(page: Page) -> None:
            session = page.context.new_cdp_session(page)
            for k in range(5):
                points = [
                    {"x": round(x + (to_x - x) * k / 4), "y": round(y + (to_y - y) * k / 4), "id": finger}
                    for finger, ((x, y), (to_x, to_y)) in enumerate(ways)
                ]
                kind = "touchMove" if k else "touchStart"
                session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
                page.wait_for_timeout(40)
            session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

        self.do(act)

    def press_role(self, role: Any, name: str, *, within: str | None = None, exact: bool = True) -> None:
        """Click the element of this role and accessible name."""
        self.do(lambda page: self._by_role(page, role, name, within=within, exact=exact).click())

    def fill(self, role: Any, name: str, text: str, *, within: str | None = None) -> None:
        """Type over what the field of this role and name has."""
        self.do(lambda page: self._by_role(page, role, name, within=within, exact=True).fill(text))

    def choose(self, name: str, value: str) -> None:
        """Choose the option with this value in the box of this name."""
        self.do(lambda page: page.get_by_role("combobox", name=name, exact=True).select_option(value))

    def text_of(self, selector: str) -> str:
        return self.do(lambda page: page.locator(selector).first.inner_text())

    def picture(self, to: Path | None = None) -> np.ndarray[Any, Any]:
        """The window as (height, width, 3) uint8."""
        raw = self.do(lambda page: page.screenshot(animations="disabled"))
        if to is not None:
            to.write_bytes(raw)
        return np.asarray(Image.open(io.BytesIO(raw)).convert("RGB"))

    def complaints(self) -> list[str]:
        """Console messages of level warning and above, and uncaught errors, since the last call."""
        self.do(lambda page: page.wait_for_timeout(20))
        found, self._complaints = self._complaints, []
        return found

    def asked_for(self) -> list[str]:
        """Every address that the pages requested so far."""
        self.do(lambda page: page.wait_for_timeout(20))
        return self.requests

    @staticmethod
    def _by_role(page: Page, role: Any, name: str, *, within: str | None, exact: bool) -> Locator:
        scope = page.locator(within) if within else page
        return scope.get_by_role(role, name=name, exact=exact).first

    def _serve(self, folder: Path, options: dict[str, Any], arguments: Sequence[str]) -> None:
        try:
            with sync_playwright() as playwright:
                context = playwright.chromium.launch_persistent_context(
                    folder, executable_path=chromium, headless=True, chromium_sandbox=False, args=arguments, **options
                )
                page = self._watched(context)
                self._opened.set_result(None)
                while True:
                    try:
                        wanted = self._wanted.get(timeout=0.001)
                    except queue.Empty:
                        page.wait_for_timeout(15)
                        continue
                    if wanted is None:
                        break
                    _answer(page, *wanted)
                context.close()
        except Exception as error:
            if self._opened.done():
                raise
            self._opened.set_exception(error)

    def _watched(self, context: BrowserContext) -> Page:
        page = context.pages[0]
        page.set_default_timeout(90_000)
        context.on("request", lambda request: self.requests.append(request.url))
        page.on("download", self._save)
        page.on("pageerror", lambda error: self._complaints.append(str(error)))
        page.on(
            "console",
            lambda one: (
                self._complaints.append(f"{one.location.get('url', '')} {one.text}")
                if one.type in {"warning", "error"}
                else None
            ),
        )
        return page

    def _save(self, download: Download) -> None:
        self.downloads.mkdir(exist_ok=True)
        arriving = self.downloads / f".{download.suggested_filename}"
        download.save_as(arriving)
        arriving.replace(self.downloads / download.suggested_filename)  # who sees it sees it whole


def _answer(page: Page, act: Callable[[Page], Any], answer: Future[Any]) -> None:
    try:
        answer.set_result(act(page))
    except PlaywrightError as error:
        answer.set_exception(AssertionError(str(error)))


@contextmanager
def a_browser(
    folder: Path,
    *,
    width: int = 1440,
    height: int = 900,
    dark: bool = False,
    touch: bool = False,
    more_flags: Sequence[str] = (),
) -> Iterator[Browser]:
    """A new browser, closed at the end. With `touch` it is a phone's, without a mouse."""
    browser = Browser(folder, width=width, height=height, dark=dark, touch=touch, more_flags=more_flags)
    try:
        yield browser
    finally:
        browser.close()


def waited(look: Callable[[], Any], *, what: str, within_s: float) -> Any:
    """The first truthy value of `look()`; polled."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        found = look()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {within_s:.0f} s: {what}")
