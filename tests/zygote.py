"""Processes of their own that start at once: forked from one that has imported and compiled everything.

`Zygote.fork("module:function", *arguments)` runs a function of the tests in a new process; arguments and result are
JSON. What the function does to its process (patches, kills, stops) concerns nobody else.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

tests = Path(__file__).parent


@dataclass(frozen=True)
class Ended:
    """How a process stands: `stopped`, or ended with `code` (negative: by that signal), `result` and `error`."""

    stopped: bool
    code: int = 0
    result: Any = None
    error: str = ""


@dataclass(frozen=True)
class Child:
    zygote: Zygote
    pid: int
    folder: Path

    def wait(self) -> Ended:
        """Returns once it has stopped itself or has ended."""
        return self.zygote.wait(self)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it, if it has not ended by itself."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


class Zygote:
    """The process that is forked from."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process = process
        self.folder = folder
        self._forked = 0

    def fork(self, call: str, *arguments: Any) -> Child:
        self._forked += 1
        folder = self.folder / str(self._forked)
        folder.mkdir()
        pid = self._asked({"fork": call, "arguments": arguments, "folder": str(folder)})
        return Child(self, pid, folder)

    def run(self, call: str, *arguments: Any) -> Ended:
        return self.fork(call, *arguments).wait()

    def wait(self, child: Child) -> Ended:
        status = self._asked({"wait": child.pid})
        if os.WIFSTOPPED(status):
            return Ended(stopped=True)
        result, error = child.folder / "result", child.folder / "stderr"
        return Ended(
            stopped=False,
            code=os.waitstatus_to_exitcode(status),
            result=json.loads(result.read_text()) if result.exists() else None,
            error=error.read_text(errors="replace"),
        )

    def _asked(self, request: dict[str, Any]) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@contextmanager
def zygote(**environment: str) -> Iterator[Zygote]:
    """A zygote that is ready; these variables are its environment's on top."""
    with tempfile.TemporaryDirectory(prefix="runatlas-zygote-") as folder:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join((str(tests), str(tests.parent))),
                "NUMBA_THREADING_LAYER": "workqueue",  # OpenMP ends every process that is forked after its first use
                **environment,
            },
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield Zygote(process, Path(folder))
        finally:
            process.kill()
            process.communicate()


# --- within it -------------------------------------------------------------------------------------------------------


def warm(folder: Path) -> None:
    """Import what load and index need, and let it compile."""
    from faults import small_steps
    from logs import append, lines, write

    from components.pipeline import Pipeline

    with Pipeline(small_steps(folder / "warm")) as pipeline:
        path = write(folder / "logs" / "a.jsonl", lines(20))
        pipeline.load([path])
        pipeline.index()
        append(path, lines(5, start=500))
        pipeline.load()
        pipeline.index()
        pipeline.index(recompute=True)
        pipeline.verify()


def child(request: dict[str, Any]) -> None:
    folder = Path(request["folder"])
    with (folder / "stderr").open("wb") as file:
        os.dup2(file.fileno(), 2)
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # the zygote's orders are not for its children
    module, _, name = request["fork"].partition(":")
    try:
        result = getattr(importlib.import_module(module), name)(*request["arguments"])
        (folder / "result").write_text(json.dumps(result))
    except BaseException:  # noqa: BLE001 - the child ends here, whatever it was
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def serve() -> None:
    warm(Path(sys.argv[1]))
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], os.WUNTRACED)
            print(status, flush=True)
        elif (pid := os.fork()) == 0:
            child(request)
        else:
            print(pid, flush=True)


if __name__ == "__main__":
    serve()
