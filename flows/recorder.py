"""How far a run is: told to the run book, to the run's log, and to the progress artifact, none of them too often."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, Self

from prefect.exceptions import TerminationSignal
from prefect.runtime import flow_run

from components.errors import Cancelled, LeaseHeld, RunAtlasError
from components.retry import retry_while_busy
from components.store import Store
from components.store.runs import cancelled_by_user, cause_of, stopped_by_signal
from flows import artifacts
from flows.runs import was_cancelled_by_user, withdraw_requests

logger = logging.getLogger(__name__)

show_every_s = 1.0  # an update of the artifact costs the server 11 ms
log_every_s = 15.0
beat_every_s = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    step: str = ""
    done: int = 0
    total: int = 0


class Told:
    """A line in the run book for one load or index, kept up to date from entry to exit; callable as a `Progress`.

    The line bears the flow run's id, so that who started a run can ask how far it is. `stopping` is set at the exit:
    threads that still work for the run see it there. A dataset that is only part of a run has a line of its own.
    """

    def __init__(self, store: Store, dataset: str, kind: Literal["load", "index"], *, part_of: str = "") -> None:
        self.stopping = threading.Event()
        self.report: dict[str, Any] | None = None
        self._store = store
        self._runs = store.runs
        self._dataset = dataset
        self._kind = kind
        run = flow_run.get_id() or uuid.uuid4().hex
        self._id = f"{run}/{dataset}" if part_of else run
        self._now = _Told()
        self._tokens = (0, 0)
        self._step_began = self._shown = self._logged = time.monotonic()
        self._bar = artifacts.ProgressBar(f"{kind}-{dataset}")
        self._beat = threading.Thread(target=self._beats, name="run-heartbeat", daemon=True)

    def __enter__(self) -> Self:
        for room in ("components", "flows"):  # PREFECT_LOGGING_EXTRA_LOGGERS sends their lines, but sets no level
            logging.getLogger(room).setLevel(logging.INFO)
        retry_while_busy(lambda: self._runs.start(self._id, self._dataset, self._kind))
        self._beat.start()
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self.stopping.set()
        self._beat.join()
        if error is None:
            with suppress(Exception):
                self._bar.end()
            retry_while_busy(lambda: self._runs.finish(self._id, "done", report=self.report))
            return
        with suppress(RunAtlasError):
            self._runs.progress(self._id, self._now.step, self._now.done, self._now.total)
            self._finish_early(error)

    def _finish_early(self, error: BaseException) -> None:
        """Note why the run ended early. What was asked of an index that somebody cancelled is not wanted any more."""
        if isinstance(error, Exception):
            state = "cancelled" if isinstance(error, (Cancelled, LeaseHeld)) else "failed"
            self._runs.finish(self._id, state, report=self.report, error=cause_of(error))
            return
        # Prefect stops a run by an exception that is no `Exception`
        is_by_user = was_cancelled_by_user(flow_run.get_id())
        signalled = isinstance(error, TerminationSignal)
        reason = cancelled_by_user if is_by_user else stopped_by_signal if signalled else cause_of(error)
        self._runs.finish(self._id, "cancelled", report=self.report, error=reason)
        if is_by_user and self._kind == "index":
            withdraw_requests(self._store, self._dataset)

    def __call__(self, step: str, done: int, total: int) -> None:
        now = time.monotonic()
        if step != self._now.step:
            self._step_began = now
        tokens, self._tokens = self._tokens, (0, 0)
        self._now = _Told(step=step, done=done, total=total)
        if now - self._shown < show_every_s:
            return
        self._shown = now
        text = artifacts.progress_text(step, done, total, now - self._step_began, tokens)
        with suppress(Exception):  # the work does not stop because nobody can be told of it
            self._bar.show(done / total if total else 0.0, text)
        if now - self._logged >= log_every_s:
            self._logged = now
            logger.info("%s: %s", self._dataset, text)

    def tokens(self, done: int, total: int) -> None:
        """Tokens of the step that is told next: a `TokenProgress`."""
        self._tokens = (done, total)

    def _beats(self) -> None:
        """Says every few seconds that the run lives, also while one step takes long."""
        while not self.stopping.wait(beat_every_s):
            with suppress(RunAtlasError):  # a busy database: the next beat will do
                self._runs.progress(self._id, self._now.step, self._now.done, self._now.total)
