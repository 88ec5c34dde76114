"""Which failures are tried again, how often, and how long apart."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)
from tenacity.wait import wait_base

from components.errors import StoreBusy, TransientError

logger = logging.getLogger(__name__)
T = TypeVar("T")

longest_wait_s = 60.0  # that a service may ask for before the next attempt


def retry_while_busy(attempt: Callable[[], T], *, tries: int = 6, wait_s: float = 0.5) -> T:
    """The result of `attempt()`, repeated while the database is busy; the waits double, some 15 s in all."""
    retrying = Retrying(
        retry=retry_if_exception_type(StoreBusy),
        stop=stop_after_attempt(tries),
        wait=wait_exponential(multiplier=wait_s) + wait_random(0, wait_s),
        before_sleep=_log,
        reraise=True,
    )
    return retrying(attempt)


def retry_transient(attempt: Callable[[bool], T], *, retries: int, backoff_s: float) -> T:
    """The result of `attempt(is_last_try)`, repeated after a `TransientError`.

    The waits double from `backoff_s` on, with up to 30 % jitter, and last as long as the error asks for, at most a
    minute.
    """
    retrying = Retrying(
        retry=retry_if_exception_type(TransientError),
        stop=stop_after_attempt(retries + 1),
        wait=_WaitAsAsked(backoff_s),
        before_sleep=_log,
        reraise=True,
    )
    for one in retrying:
        with one:
            return attempt(one.retry_state.attempt_number > retries)
    raise AssertionError  # tenacity either returns or raises


def run_directly(
    name: str,  # noqa: ARG001 - for runners that show the step
    attempt: Callable[[bool], T],
    *,
    label: str = "",  # noqa: ARG001
    retries: int = 0,
    backoff_s: float = 1.0,
) -> T:
    """The `StepRunner` without an orchestrator: here and now, with retries."""
    return retry_transient(attempt, retries=retries, backoff_s=backoff_s)


class _WaitAsAsked(wait_base):
    """Exponential backoff, or what the error's `retry_after_s` says if that is longer."""

    def __init__(self, backoff_s: float) -> None:
        self.backoff_s = backoff_s

    def __call__(self, retry_state: RetryCallState) -> float:
        error = retry_state.outcome.exception() if retry_state.outcome else None
        asked_s = (error.retry_after_s or 0.0) if isinstance(error, TransientError) else 0.0
        backoff_s = self.backoff_s * 2.0 ** (retry_state.attempt_number - 1)
        jitter = random.uniform(1.0, 1.3)  # noqa: S311 - jitter, no secret
        return max(min(asked_s, longest_wait_s), backoff_s) * jitter


def _log(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    logger.info("%s", error)
