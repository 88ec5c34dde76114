"""Opens a page in the user's browser, without waiting for it."""

from __future__ import annotations

import os
import sys
import threading
import webbrowser
from collections.abc import Mapping
from pathlib import Path

text_browsers = frozenset({"www-browser", "links", "elinks", "lynx", "w3m", "browsh"})


def open_page(url: str) -> bool:
    """Whether a browser was started. It is not without a display, or where only a text browser is installed."""
    if not has_display(sys.platform, os.environ):
        return False
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    if Path(getattr(browser, "name", "")).name in text_browsers:
        return False
    # in a thread: `open` returns only when the window is closed, for some browsers
    threading.Thread(target=browser.open, args=(url,), name="browser", daemon=True).start()
    return True


def has_display(platform: str, environment: Mapping[str, str]) -> bool:
    """Whether a window can be shown. A BROWSER counts: remote editors set it to open pages on the user's machine.

    >>> has_display("linux", {}), has_display("linux", {"DISPLAY": ":0"}), has_display("darwin", {})
    (False, True, True)
    """
    if platform in {"darwin", "win32"}:
        return True
    return any(environment.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
