"""Records one load, index or comparison in the run history: that it runs and is alive, how far it is, and how it ended."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any, Literal, NamedTuple, Protocol, Self

from components.contracts import Progress, TokenProgress
from components.errors import Cancelled, LeaseHeld, RunAtlasError
from components.retry import retry_while_busy
from components.store import Store
from components.store.runs import cause_of

heartbeat_s = 5.0

RunKind = Literal["load", "index", "compare", "survey"]


class RecordRun(Protocol):
    """Opens the record of a run; `RunRecorder` itself is one."""

    def __call__(
        self, store: Store, dataset: str, kind: RunKind, *, listener: Progress | None = None
    ) -> AbstractContextManager[RunRecorder]: ...


class _Now(NamedTuple):
    step: str = ""
    done: int = 0
    total: int = 0


class RunRecorder:
    """The record of one run, from entry to exit of the context; callable as a `Progress`.

    Set `report` before the end. `stopping` is set at the exit: threads that still work for the run see it there.
    Progress is passed on to `listener` at once, and stored with the next heartbeat. A run that is interrupted, or that
    leaves its work to another one (`LeaseHeld`), ends as cancelled; `cause` says why, for the record.
    """

    def __init__(
        self,
        store: Store,
        dataset: str,
        kind: RunKind,
        *,
        id: str = "",
        listener: Progress | None = None,
        cause: Callable[[BaseException], str] = cause_of,
    ) -> None:
        self.id = id or uuid.uuid4().hex
        self.report: dict[str, Any] | None = None
        self.stopping = threading.Event()
        self._runs = store.runs
        self._dataset = dataset
        self._kind = kind
        self._listener = listener
        self._cause = cause
        self._now = _Now()
        self._thread = threading.Thread(target=self._send_heartbeats, name="run-heartbeat", daemon=True)

    def __enter__(self) -> Self:
        retry_while_busy(lambda: self._runs.start(self.id, self._dataset, self._kind))
        self._thread.start()
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self.stopping.set()
        self._thread.join()
        if error is None:
            retry_while_busy(lambda: self._runs.finish(self.id, "done", report=self.report))
            return
        with suppress(RunAtlasError):  # the database itself may be what failed
            self._runs.progress(self.id, *self._now)
            state = "cancelled" if _is_cancelled(error) else "failed"
            self._runs.finish(self.id, state, report=self.report, error=self._cause(error))

    def __call__(self, step: str, done: int, total: int) -> None:
        self._now = _Now(step, done, total)
        if self._listener:
            self._listener(step, done, total)

    def tokens(self, done: int, total: int) -> None:
        """Passes token counts on, if the listener takes them."""
        if isinstance(self._listener, TokenProgress):
            self._listener.tokens(done, total)

    def should_stop(self) -> bool:
        """Has the run ended?"""
        return self.stopping.is_set()

    def _send_heartbeats(self) -> None:
        while not self.stopping.wait(heartbeat_s):
            with suppress(RunAtlasError):  # a busy database: the next heartbeat follows soon
                self._runs.progress(self.id, *self._now)


def _is_cancelled(error: BaseException) -> bool:
    """Was the run stopped by a user, a signal or another run? Prefect stops a run by an error that is no `Exception`."""
    return not isinstance(error, Exception) or isinstance(error, Cancelled | LeaseHeld)
