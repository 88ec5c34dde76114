"""The cores of this machine, each with whole chunks of its own.

BLAS spreads every single product over all cores, and its threads wait for each other at each: small products take
several times the CPU so, and on a busy machine ten times the time. So chunks are spread, and a product stays on one core.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_lock = threading.Lock()
_users = 0  # BLAS has one limit for the whole process: the last who leaves lifts it
_limit: Any = None


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def products_on_one_core() -> Iterator[None]:
    """While anybody is in here, each product of matrices is computed by the thread that asks for it."""
    global _users, _limit  # noqa: PLW0603 - the limit is the process's own
    from threadpoolctl import threadpool_limits

    with _lock:
        _users += 1
        if _users == 1:
            _limit = threadpool_limits(1, user_api="blas")
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                _limit.restore_original_limits()


def on_all_cores(do: Callable[[T], R], parts: Iterable[T]) -> Iterator[R]:
    """`do(part)` of each part, in their order; as many at once as there are cores, and few more are held ready."""
    n = cores()
    waiting: deque[Future[R]] = deque()
    with products_on_one_core(), ThreadPoolExecutor(n, "map") as pool:
        try:
            for part in parts:
                waiting.append(pool.submit(do, part))
                if len(waiting) > n:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for one in waiting:  # an error, or the consumer stopped
                one.cancel()
