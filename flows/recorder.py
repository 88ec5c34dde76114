"""Records a flow run in the run history, and shows its progress in the Prefect UI: as an artifact and in its log."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from prefect.exceptions import TerminationSignal
from prefect.runtime import flow_run

from components.contracts import Progress
from components.run_recorder import RunKind, RunRecorder
from components.store import Store
from components.store.runs import cancelled_by_user, cause_of, stopped_by_signal
from flows import artifacts
from flows.runs import was_cancelled_by_user, withdraw_requests

logger = logging.getLogger(__name__)

show_every_s = 1.0  # an update of the artifact costs the server 11 ms
log_every_s = 15.0


class FlowProgress:
    """Shows progress as an artifact and in the run's log, neither of them too often; a `TokenProgress`."""

    def __init__(self, kind: RunKind, dataset: str) -> None:
        self._dataset = dataset
        self._step = ""
        self._tokens = (0, 0)
        self._step_began = self._shown = self._logged = time.monotonic()
        self._bar = artifacts.ProgressBar(f"{kind}-{dataset}")

    def __call__(self, step: str, done: int, total: int) -> None:
        now = time.monotonic()
        if step != self._step:
            self._step, self._step_began = step, now
        tokens, self._tokens = self._tokens, (0, 0)
        if now - self._shown < show_every_s:
            return
        self._shown = now
        text = artifacts.progress_text(step, done, total, now - self._step_began, tokens)
        with suppress(Exception):  # a server that does not answer does not stop the work
            self._bar.show(done / total if total else 0.0, text)
        if now - self._logged >= log_every_s:
            self._logged = now
            logger.info("%s: %s", self._dataset, text)

    def tokens(self, done: int, total: int) -> None:
        """Tokens of the step that is reported next."""
        self._tokens = (done, total)

    def end(self) -> None:
        """Shows that the run is done."""
        with suppress(Exception):
            self._bar.end()


@contextmanager
def record_flow_run(
    store: Store,
    dataset: str,
    kind: RunKind,
    *,
    listener: Progress | None = None,  # noqa: ARG001 - the progress of a flow run is shown by Prefect
    is_part: bool = False,
) -> Iterator[RunRecorder]:
    """The record of the current flow run, under its id. A dataset that `is_part` of a run of several has its own."""
    for package in ("components", "flows"):  # PREFECT_LOGGING_EXTRA_LOGGERS sends their lines, but sets no level
        logging.getLogger(package).setLevel(logging.INFO)
    progress = FlowProgress(kind, dataset)
    run = flow_run.get_id() or ""
    id = f"{run}/{dataset}" if run and is_part else run
    recorder = RunRecorder(store, dataset, kind, id=id, listener=progress, cause=_cause)
    try:
        with recorder:
            yield recorder
    except Exception:
        raise
    except BaseException:
        recorded = store.runs.get(recorder.id)
        if kind == "index" and recorded and recorded.error == cancelled_by_user:
            withdraw_requests(store, dataset)  # the requests are cancelled with it
        raise
    progress.end()


def _cause(error: BaseException) -> str:
    """Why the run ended early. Prefect stops a run by an error that is no `Exception`."""
    if isinstance(error, Exception):
        return cause_of(error)
    if was_cancelled_by_user(flow_run.get_id()):
        return cancelled_by_user
    return stopped_by_signal if isinstance(error, TerminationSignal) else cause_of(error)
