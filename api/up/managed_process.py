"""A process of ours that ends when we do."""

from __future__ import annotations

import asyncio
import ctypes
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

try:  # looked up here: a forked child that imports or loads could wait for a lock for ever
    _prctl: Callable[..., int] | None = ctypes.CDLL(None).prctl
except (OSError, AttributeError):  # not Linux
    _prctl = None


class Child:
    """`python ARGUMENTS`, from construction to `stop`. What it says goes to `log`, or where ours goes."""

    def __init__(self, arguments: Sequence[str], *, log: Path | None = None, inherits: Sequence[int] = ()) -> None:
        with (log or Path("/dev/null")).open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-P", *arguments],  # a folder named `api` where we were started is not ours
                stdout=output if log else None,
                stderr=output if log else None,
                stdin=subprocess.DEVNULL,
                pass_fds=inherits,
                start_new_session=True,  # Ctrl-C in the terminal is for us, who stop our children last
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one system call, safe beside threads
            )

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    async def end(self) -> None:
        """Returns once it has ended by itself."""
        while not self.has_ended:  # noqa: ASYNC110 - a process, not a task
            await asyncio.sleep(0.5)

    def stop(self) -> None:
        """Returns when it has ended."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _die_with_parent() -> None:
    """Asks Linux for SIGTERM when the parent is gone, however it went."""
    if _prctl is not None:
        _prctl(1, signal.SIGTERM)
