"""Requests that bring records: read within bounds, parsed in a thread, and answered once they are stored."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from api.state import State
from components.dataset_settings import effective_settings
from components.errors import BadBody, BodyTooLarge, TooManyRequests
from components.receive.bodies import unpacked
from components.receive.intake import Intake
from components.receive.received import Received
from components.settings import Settings
from components.sources.records import RecordMaker
from components.store.keyed import Kept
from components.wiring import open_maker

settings_age_s = 2.0  # after which settings that were changed in the database are read again
retry_after_s = 2.0

Parse = Callable[[bytes, Settings, RecordMaker], Received]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a request brought, and what became of it."""

    received: Received
    kept: Kept


class HeldBytes:
    """Counts the bytes of requests in progress; safe to use from several threads."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._held_bytes = 0
        self._lock = Lock()

    @contextmanager
    def hold(self) -> Iterator[Callable[[int], None]]:
        """A function that adds bytes, which are held until the block ends. It raises `TooManyRequests` at the limit."""
        mine = 0

        def add(n_bytes: int) -> None:
            nonlocal mine
            with self._lock:
                if self._held_bytes + n_bytes > self._limit_bytes:
                    raise TooManyRequests(
                        f"Requests of {self._limit_bytes:,} bytes are being stored already, the limit set by receive.max_held_bytes: "
                        "send this one again later.",
                        retry_after_s=retry_after_s,
                    )
                self._held_bytes += n_bytes
                mine += n_bytes

        try:
            yield add
        finally:
            with self._lock:
                self._held_bytes -= mine


class Receiving:
    """Takes the bodies of requests into the store of these settings."""

    def __init__(self, settings: Settings, state: State) -> None:
        self._settings = settings
        self._state = state
        self._limits = settings.receive
        self._held = HeldBytes(settings.receive.max_held_bytes)
        self._intake = Intake(state.with_store)
        self._effective = settings
        self._read_at = -settings_age_s

    def close(self) -> None:
        """Store what waits."""
        self._intake.close()

    async def take(self, request: Request, dataset: str, source: str, parse: Parse) -> Taken:
        """Receive a request's records into a dataset, which is created if it is new; returns when they are committed.

        Raises `BadBody` for what can't be read, `TooManyRequests` while too much is being received, `BadSetting` for a
        name that no dataset can have, `Problem` 503 if the database fails.
        """
        self._settings.dataset(dataset)
        with self._held.hold() as hold:
            body = await self._body(request, hold)
            encoding = request.headers.get("content-encoding", "")

            def parsed() -> Received:
                plain = unpacked(body, encoding, self._limits.max_unpacked_bytes)
                hold(len(plain) if plain is not body else 0)
                settings = self._current_settings()
                return parse(plain, settings, open_maker(settings, dataset, source))

            received = await run_in_threadpool(parsed)
            kept = await asyncio.wrap_future(self._intake.put(dataset, received))
        return Taken(received=received, kept=kept)

    async def _body(self, request: Request, hold: Callable[[int], None]) -> bytes:
        limit_bytes = self._limits.max_body_bytes
        declared = request.headers.get("content-length", "")
        too_large = BodyTooLarge(
            f"The body is larger than {limit_bytes:,} bytes, the limit set by receive.max_body_bytes: send smaller batches."
        )
        if declared.isascii() and declared.isdigit() and (len(declared) > 18 or int(declared) > limit_bytes):
            raise too_large
        parts: list[bytes] = []
        size_bytes = 0
        try:
            async for part in request.stream():
                size_bytes += len(part)
                if size_bytes > limit_bytes:
                    raise too_large
                hold(len(part))
                parts.append(part)
        except ClientDisconnect:
            raise BadBody("The client closed the connection before the end of its body.") from None
        return b"".join(parts)

    def _current_settings(self) -> Settings:
        """The settings with those of datasets that the database has, as they were a moment ago."""
        now = time.monotonic()
        if now - self._read_at >= settings_age_s:
            self._effective = self._state.with_store(lambda store: effective_settings(self._settings, store))
            self._read_at = now
        return self._effective
