"""A probe: a check that repeats in the background, so that requests only read its latest result."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Generic, TypeVar

from api.problems import as_problem
from components.redact import public_text

T = TypeVar("T")

min_pause_s = 0.5  # between two checks while the result is being read
pause_factor = 10  # a slow check pauses for so many times its duration: it takes at most a tenth of the time
max_pause_s = 2.0  # upper bound of both: steady readers never see an older result
idle_pause_s = 10.0  # between two checks while no client reads the result
active_s = 20.0  # a probe counts as read for this long after the last read
no_answer_after_s = 6.0  # a check that takes longer counts as failed


class Probe(Generic[T]):
    """The latest result of a check, which `run` repeats in the event loop of its caller."""

    def __init__(self, check: Callable[[], Awaitable[T]]) -> None:
        self._check = check
        self._read_at = time.monotonic()
        self._started_at = self._ended_at = 0.0
        self._result_from = 0.0  # start of the check that gave `value` or `problem`; 0 before the first
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._value: T | None = None
        self._problem: str | None = None

    @property
    def value(self) -> T | None:
        """The result of the last check that succeeded, however old; None before it."""
        return self._value

    @property
    def problem(self) -> str | None:
        """Why there is no good result now; None if there is one."""
        running_s = time.monotonic() - self._started_at if self._started_at > self._ended_at else 0.0
        if running_s > no_answer_after_s:
            return f"no answer for {running_s:.0f} s"
        return self._problem if self._result_from else "not checked yet"

    @property
    def age_s(self) -> float | None:
        """Age of the latest result; None before the first one."""
        return time.monotonic() - self._result_from if self._result_from else None

    def touch(self) -> bool:
        """Marks the probe as being read, and wakes it if it was idle. Is its result at most `max_pause_s` old?"""
        was_active, self._read_at = self._is_active(), time.monotonic()
        if not was_active and self._loop is not None:
            with suppress(RuntimeError):  # the loop is closing
                self._loop.call_soon_threadsafe(self._wake.set)
        return self.age_s is not None and self.age_s <= max_pause_s

    async def run(self) -> None:
        """Repeats the check until it is cancelled: often while the result is read, rarely otherwise."""
        self._loop = asyncio.get_running_loop()
        while True:
            self._started_at = time.monotonic()
            try:
                self._value, self._problem = await self._check(), None
            except Exception as error:  # noqa: BLE001 - whatever fails is the result of the check
                self._problem = public_text(as_problem(error).detail)
            self._result_from, self._ended_at = self._started_at, time.monotonic()
            await self._pause(self._ended_at - self._started_at)

    async def _pause(self, took_s: float) -> None:
        pause_s = min_pause_s if self._problem else min(max(min_pause_s, pause_factor * took_s), max_pause_s)
        await asyncio.sleep(pause_s)
        self._wake.clear()
        if not self._is_active():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), idle_pause_s - pause_s)

    def _is_active(self) -> bool:
        return time.monotonic() - self._read_at < active_s
