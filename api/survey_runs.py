"""Runs the surveys of uploads: by Prefect, or by this process where no Prefect server answers."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from api.problems import Problem
from api.state import State
from components import surveys
from components.retry import run_directly
from components.run_recorder import RunRecorder
from components.settings import Settings

if TYPE_CHECKING:
    from api.prefect_client import PrefectRuns

logger = logging.getLogger(__name__)


class LocalSurveys:
    """Surveys that this process runs itself, one after the other, in a thread that is started when it is needed."""

    def __init__(self, settings: Settings, state: State) -> None:
        self._settings = settings
        self._state = state
        self._pool: ThreadPoolExecutor | None = None
        self._stopping = threading.Event()
        self._opening = threading.Lock()

    def start(self, dataset: str) -> Future[None]:
        """Run the survey when those before it have ended."""
        with self._opening:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(1, thread_name_prefix="survey")
        return self._pool.submit(self._run, dataset)

    def close(self) -> None:
        """Stop the survey that runs; a later run continues it."""
        self._stopping.set()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, dataset: str) -> None:
        try:
            self._state.with_store(
                lambda store: surveys.run(
                    self._settings,
                    store,
                    dataset,
                    run_step=run_directly,
                    record=RunRecorder,
                    should_stop=self._stopping.is_set,
                )
            )
        except Exception as error:  # noqa: BLE001 - its record says what happened
            logger.warning("The survey of %s ended: %s", dataset, error)


async def start_survey(prefect: PrefectRuns, local: LocalSurveys, dataset: str) -> str | None:
    """The id of the flow run that makes the terrain; None if this process makes it, since Prefect does not answer."""
    try:
        run = await prefect.start("survey/survey", {"dataset": dataset}, dataset)
    except Problem as problem:
        logger.warning("%s The survey of %s runs in this process.", problem.detail, dataset)
        local.start(dataset)
        return None
    return run.id
