"""A headless Chromium driven through chromedriver, with only what the tests need of WebDriver."""

from __future__ import annotations

import base64
import io
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
is_there = bool(chromium and chromedriver)

flags = [
    "--headless",
    "--no-sandbox",
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

special_keys = {  # WebDriver's characters for keys without one
    "Control": "\ue009", "Shift": "\ue008", "Enter": "\ue007", "Escape": "\ue00c", "Tab": "\ue004", "ArrowLeft": "\ue012",
    "ArrowUp": "\ue013", "ArrowRight": "\ue014", "ArrowDown": "\ue015", "Home": "\ue011",
}  # fmt: skip


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Browser:
    """One window. Its requests and console messages are recorded."""

    def __init__(
        self, driver: str, folder: Path, *, width: int, height: int, dark: bool, more_flags: Sequence[str] = ()
    ) -> None:
        self._http = httpx.Client(base_url=driver, timeout=120)
        scheme = ["--force-dark-mode"] if dark else []
        options = {
            "binary": chromium,
            "args": [*flags, *scheme, *more_flags, f"--user-data-dir={folder}", f"--window-size={width},{height}"],
            "prefs": {"download.default_directory": str(folder / "downloads")},
        }
        wanted = {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            "pageLoadStrategy": "eager",
        }
        answer = self._http.post("/session", json={"capabilities": {"alwaysMatch": wanted}}).json()["value"]
        self._session = f"/session/{answer['sessionId']}"
        self.requests: list[str] = []
        self.downloads = folder / "downloads"

    def close(self) -> None:
        self._http.delete(self._session)
        self._http.close()

    def open(self, url: str) -> None:
        self._post("/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """The value that a function body returns in the page."""
        return self._post("/execute/sync", {"script": script, "args": list(arguments)})

    def run_async(self, script: str, *arguments: Any) -> Any:
        """The value that a function body in the page passes to the callback, its last argument."""
        return self._post("/execute/async", {"script": script, "args": list(arguments)})

    def wait_for(self, script: str, *, within_s: float = 30.0) -> Any:
        """The first truthy value of an expression."""
        return waited(lambda: self.run(f"return {script}"), what=script, within_s=within_s)

    def move(self, x: float, y: float) -> None:
        self._pointer([{"type": "pointerMove", "x": round(x), "y": round(y), "duration": 30}])

    def click(self, x: float, y: float) -> None:
        move = {"type": "pointerMove", "x": round(x), "y": round(y), "duration": 30}
        self._pointer([move, {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}])

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        first = {"type": "pointerMove", "x": round(start[0]), "y": round(start[1]), "duration": 0}
        then = {"type": "pointerMove", "x": round(end[0]), "y": round(end[1]), "duration": 150}
        self._pointer([first, {"type": "pointerDown", "button": 0}, then, {"type": "pointerUp", "button": 0}])

    def wheel(self, x: float, y: float, by: int) -> None:
        action = {"type": "scroll", "x": round(x), "y": round(y), "deltaX": 0, "deltaY": by, "duration": 50}
        self._post("/actions", {"actions": [{"type": "wheel", "id": "wheel", "actions": [action]}]})

    def type(self, selector: str, text: str) -> None:
        found = self._post("/element", {"using": "css selector", "value": selector})
        self._post(f"/element/{next(iter(found.values()))}/value", {"text": text})

    def press(self, selector: str) -> None:
        found = self._post("/element", {"using": "css selector", "value": selector})
        self._post(f"/element/{next(iter(found.values()))}/click", {})

    def keys(self, *names: str) -> None:
        """Press and release keys at the focused element, all held while the next ones go down."""
        down = [{"type": "keyDown", "value": special_keys.get(name, name)} for name in names]
        up = [{"type": "keyUp", "value": one["value"]} for one in reversed(down)]
        self._post("/actions", {"actions": [{"type": "key", "id": "keys", "actions": [*down, *up]}]})

    def touch(self, *ways: tuple[tuple[float, float], tuple[float, float]]) -> None:
        """Fingers that go down together, each moves from its start to its end, and that go up together."""
        fingers = []
        for number, (start, end) in enumerate(ways):
            points = [
                (start[0] + (end[0] - start[0]) * k / 4, start[1] + (end[1] - start[1]) * k / 4) for k in range(5)
            ]
            moves = [{"type": "pointerMove", "x": round(x), "y": round(y), "duration": 40} for x, y in points]
            actions = [moves[0], {"type": "pointerDown", "button": 0}, *moves[1:], {"type": "pointerUp", "button": 0}]
            kind = {"pointerType": "touch"}
            fingers.append({"type": "pointer", "id": f"finger{number}", "parameters": kind, "actions": actions})
        self._post("/actions", {"actions": fingers})

    def picture(self, to: Path | None = None) -> np.ndarray[Any, Any]:
        """The window as (height, width, 3) uint8."""
        raw = base64.b64decode(self._http.get(f"{self._session}/screenshot").json()["value"])
        if to is not None:
            to.write_bytes(raw)
        return np.asarray(Image.open(io.BytesIO(raw)).convert("RGB"))

    def complaints(self) -> list[str]:
        """Console messages of level warning and above since the last call."""
        entries = self._post("/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] in {"SEVERE", "WARNING"}]

    def asked_for(self) -> list[str]:
        """Every address that the pages requested so far."""
        for entry in self._post("/se/log", {"type": "performance"}):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
        return self.requests

    def _pointer(self, actions: list[dict[str, Any]]) -> None:
        pointer = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": actions}
        self._post("/actions", {"actions": [pointer]})

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        answer = self._http.post(self._session + path, json=body)
        value = answer.json()["value"]
        assert answer.is_success, f"{path}: {value.get('error')}: {value.get('message', '')[:500]}"
        return value


@contextmanager
def a_browser(
    folder: Path, *, width: int = 1440, height: int = 900, dark: bool = False, more_flags: Sequence[str] = ()
) -> Iterator[Browser]:
    """A new browser, closed at the end."""
    port = free_port()
    assert chromedriver is not None
    process = subprocess.Popen([chromedriver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        driver = f"http://127.0.0.1:{port}"
        waited(lambda: _answers(f"{driver}/status"), what="chromedriver", within_s=30)
        browser = Browser(driver, folder, width=width, height=height, dark=dark, more_flags=more_flags)
        try:
            yield browser
        finally:
            browser.close()
    finally:
        process.terminate()
        process.wait(20)


def waited(look: Callable[[], Any], *, what: str, within_s: float) -> Any:
    """The first truthy value of `look()`; polled."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        found = look()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {within_s:.0f} s: {what}")


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.TransportError:
        return False
