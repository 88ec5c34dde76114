"""Opens a page for a person who can see it, and keeps nobody waiting."""

from __future__ import annotations

import os
import sys
import threading
import webbrowser
from collections.abc import Mapping
from pathlib import Path

text_browsers = frozenset({"www-browser", "links", "elinks", "lynx", "w3m", "browsh"})


def open_page(url: str) -> bool:
    """Was a browser asked to show it? Not where nobody would see it: without a display, or with a text browser alone."""
    if not has_display(sys.platform, os.environ):
        return False
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    if Path(getattr(browser, "name", "")).name in text_browsers:
        return False
    # some are waited for until they are closed
    threading.Thread(target=browser.open, args=(url,), name="browser", daemon=True).start()
    return True


def has_display(platform: str, environment: Mapping[str, str]) -> bool:
    """Can a window be shown? Who names a BROWSER means it: editors on another machine do, to show pages there.

    >>> has_display("linux", {}), has_display("linux", {"DISPLAY": ":0"}), has_display("darwin", {})
    (False, True, True)
    """
    if platform in {"darwin", "win32"}:
        return True
    return any(environment.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
