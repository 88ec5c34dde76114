"""A child process that ends with its parent."""

from __future__ import annotations

import asyncio
import ctypes
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

try:  # before any fork: a forked child that imports or loads libraries can deadlock
    _prctl: Callable[..., int] | None = ctypes.CDLL(None).prctl
except (OSError, AttributeError):  # not Linux
    _prctl = None

stop_within_s = 20.0  # between SIGTERM and SIGKILL
poll_s = 0.5


class ManagedProcess:
    """`python ARGUMENTS`, from construction to `stop`. Its output goes to `log`, or to this process's output."""

    def __init__(self, arguments: Sequence[str], *, log: Path | None = None, inherits: Sequence[int] = ()) -> None:
        with (log or Path("/dev/null")).open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-P", *arguments],  # -P: a folder named `api` in the current one is not imported
                stdout=output if log else None,
                stderr=output if log else None,
                stdin=subprocess.DEVNULL,
                pass_fds=inherits,
                start_new_session=True,  # Ctrl-C reaches this process only, which stops its children last
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one system call, safe beside threads
            )

    @property
    def has_ended(self) -> bool:
        """Whether the process has exited."""
        return self._process.poll() is not None

    async def wait(self) -> None:
        """Return once the process has exited by itself."""
        while not self.has_ended:  # noqa: ASYNC110 - a process, not a task
            await asyncio.sleep(poll_s)

    def stop(self) -> None:
        """Terminate the process, and return once it has exited."""
        self._process.terminate()
        try:
            self._process.wait(stop_within_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _die_with_parent() -> None:
    """Ask Linux to send SIGTERM to this process when its parent ends, for whatever reason."""
    if _prctl is not None:
        _prctl(1, signal.SIGTERM)
