"""The lock on a home: one `up` at a time, and how others find the addresses of the one that runs."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from components.errors import BadSetting, RunAtlasError

lock_file = "up.pid"


class AlreadyRuns(RunAtlasError):
    """Another `up` runs on this home."""


@contextmanager
def locked(home: Path) -> Iterator[TextIO]:
    """The open lock file of this home; no other process can lock it meanwhile. It is empty until `announce`.

    Raises `AlreadyRuns` with the addresses of the other `up`, `BadSetting` where the home is not writable.
    """
    try:
        (home / "logs").mkdir(parents=True, exist_ok=True)
        lock = (home / lock_file).open("a+", encoding="utf-8")
    except OSError as error:
        raise BadSetting(
            f"{home} is not writable ({error.strerror}). Set RUNATLAS_HOME to another folder, or make this one writable."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise AlreadyRuns(f"runatlas already runs on {home}: {_description(_parsed(lock.read()))}") from None
        try:
            yield lock
        finally:
            lock.truncate(0)


def announce(lock: TextIO, *, api: str, prefect: str) -> None:
    """Write the process id and the addresses of this `up`, which is ready, to its lock file."""
    lock.truncate(0)
    lock.write(json.dumps({"pid": os.getpid(), "api": api, "prefect": prefect}))
    lock.flush()


def running_instance(home: Path) -> dict[str, Any] | None:
    """`pid`, and the addresses `api` and `prefect`, of the `up` that runs on this home and is ready; None without one."""
    try:
        with (home / lock_file).open(encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _parsed(lock.read())
    except OSError:
        pass
    return None


def _parsed(text: str) -> dict[str, Any] | None:
    with suppress(ValueError):
        instance = json.loads(text)
        if isinstance(instance, dict) and {"pid", "api", "prefect"} <= set(instance):
            return instance
    return None


def _description(instance: dict[str, Any] | None) -> str:
    if instance is None:
        return "it is still starting."
    return f"process {instance['pid']}, API {instance['api']}, Prefect UI {instance['prefect']}."
