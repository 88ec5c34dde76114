"""Progress on stderr: bars on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self, TextIO

from api.json_logs import is_json, message_line

line_every_s = 5.0


@contextmanager
def progress(*, quiet: bool) -> Iterator[Callable[[str, int, int], None] | None]:
    """The callback that steps report to. `quiet` turns bars off; lines are logs and stay on."""
    if is_json() or not sys.stderr.isatty():
        with ProgressLines(sys.stderr) as lines:
            yield lines
    elif quiet:
        yield None
    else:
        with _bars() as bars:
            yield bars


class ProgressLines:
    """A callback that prints one line every `every_s` seconds, also while a step does not report for long."""

    def __init__(self, out: TextIO, every_s: float = line_every_s) -> None:
        self._out = out
        self._every_s = every_s
        self._latest: tuple[str, int, int] | None = None
        self._began: dict[str, tuple[float, int]] = {}  # step -> when it was reported first, and how much was done then
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._print_lines, name="progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def __call__(self, step: str, done: int, total: int) -> None:
        self._began.setdefault(step, (time.monotonic(), done))
        self._latest = (step, done, total)

    def _print_lines(self) -> None:
        while not self._done.wait(self._every_s):
            if self._latest is not None:
                began, before = self._began[self._latest[0]]
                line = progress_line(*self._latest, seconds=time.monotonic() - began, before=before)
                self._out.write(f"{message_line(line)}\n")
                self._out.flush()


def progress_line(step: str, done: int, total: int, *, seconds: float, before: int = 0) -> str:
    """The progress of a step after `seconds`, its rate and the time left; `before`: what was done at its start.

    >>> progress_line("embed", 512, 2_048, seconds=10.2)
    'embed: 512 of 2,048 (25%), 10 s, 50/s, 31 s left'
    >>> progress_line("fetch", 512, 0, seconds=10.2)
    'fetch: 512, 10 s, 50/s'
    """
    share = f"{done:,} of {total:,} ({done / total:.0%})" if total else f"{done:,}"
    rate = (done - before) / seconds if seconds > 0 else 0.0
    spelled = f", {rate:,.0f}/s" if rate >= 1 else f", {60 * rate:.1f}/min" if rate > 0 else ""
    left = f", {(total - done) / rate:,.0f} s left" if rate > 0 and total > done else ""
    return f"{step}: {share}, {seconds:.0f} s{spelled}{left}"


@contextmanager
def _bars() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each step; for embedding, with tokens per second."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    class Bars(Progress):
        def __init__(self) -> None:
            super().__init__(*columns, console=Console(stderr=True), transient=True)
            self._ids: dict[str, Any] = {}

        def __call__(self, step: str, done: int, total: int) -> None:
            if step not in self._ids:
                self._ids[step] = self.add_task(step, total=total or None, rate="")
            self.update(self._ids[step], completed=done, total=total or None)

        def tokens(self, done: int, total: int) -> None:  # noqa: ARG002
            elapsed_s = self.tasks[self._ids["embed"]].elapsed if "embed" in self._ids else None
            if elapsed_s and done:
                self.update(self._ids["embed"], rate=f"{done / elapsed_s:,.0f} tokens/s")

    columns = (
        TextColumn("{task.description:>12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[rate]}"),
    )
    with Bars() as bars:
        yield bars
