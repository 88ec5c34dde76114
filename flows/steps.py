"""Steps of a load or an index as Prefect tasks.

Tasks run one after the other in the run's main thread, which is where a cancellation arrives. Each commits what it has
done, so a stop costs seconds of work. A run has a few hundred tasks at most, however much it does.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.tasks import Task, exponential_backoff

from components.errors import TransientError, is_transient
from components.retry import longest_wait_s

logger = logging.getLogger(__name__)
T = TypeVar("T")


def run_as_task(
    name: str,
    attempt: Callable[[bool], T],
    *,
    label: str = "",
    retries: int = 0,
    backoff_s: float = 1.0,
) -> T:
    """The `StepRunner` of flows: a task called `name`, whose run is called `label`; Prefect retries it."""
    results: list[T] = []  # Prefect neither copies nor stores the result

    def run() -> None:
        try:
            results.append(attempt(is_last_try(retries)))
        except TransientError as error:
            logger.warning("%s", error)
            time.sleep(min(error.retry_after_s or 0.0, longest_wait_s))
            raise

    one: Task[[], None] = Task(
        run,
        name=name,
        task_run_name=lambda: label or name,  # a template would take braces of file names for fields
        cache_policy=NO_CACHE,
        **retry_options(retries, backoff_s),
    )
    one()
    return results[-1]


def retry_options(retries: int, backoff_s: float) -> dict[str, Any]:
    """Options of a task that is retried after transient errors, with exponential backoff and jitter."""
    if not retries:
        return {"retries": 0}
    return {
        "retries": retries,
        "retry_delay_seconds": exponential_backoff(backoff_s),
        "retry_jitter_factor": 0.3,
        "retry_condition_fn": ended_in_transient_error,
    }


def ended_in_transient_error(_: Task[Any, Any], __: TaskRun, state: State[Any]) -> bool:
    """Did the task fail with an error that a retry may help against?"""
    try:
        state.result()
    except Exception as error:  # noqa: BLE001
        return is_transient(error)
    return False


def is_last_try(retries: int) -> bool:
    """Is this the last run of the current task?"""
    context = TaskRunContext.get()
    return context is None or context.task_run.run_count > retries
