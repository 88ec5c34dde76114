"""What all benchmarks share: how a figure is printed, and what a fresh process costs.

A figure is one JSON line: `figure` names it, `value` in `unit`; `goal` is "<= 2 ..." or ">= 20 ..." where there is one,
anything else (rows, rounds, peers) follows.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a child process took from its start to its end, CPU as the kernel counts it, and what it printed (JSON)."""

    cpu_s: float
    wall_s: float
    output: dict[str, Any]

    @property
    def peak_mb(self) -> float:
        """The most memory it held, as it reports itself: what the kernel counts for a child starts at its parent's."""
        return float(self.output["peak_mb"])


def peak_mb() -> float:
    """The most resident memory that this process had so far, MB."""
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return (int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 1024


def print_figure(figure: str, value: float | bool | None, unit: str, **more: object) -> None:
    """Print one figure."""
    shown = round(value, 4) if isinstance(value, float) else value
    print(json.dumps({"figure": figure, "value": shown, "unit": unit, **more}), flush=True)


def fresh(module: str, arguments: Sequence[object], environment: Mapping[str, str] | None = None) -> Spent:
    """Run `python -m module arguments` in a process of its own. Raises `CalledProcessError` if it fails."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | dict(environment or {})) as process:
        assert process.stdout is not None
        out = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    output = json.loads(out.splitlines()[-1]) if out.strip() else {}
    return Spent(cpu_s=used.ru_utime + used.ru_stime, wall_s=time.perf_counter() - started, output=output)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSpent:
    """What a whole command took, and the most memory that one of its processes held."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def command_spent(command: Sequence[str], environment: Mapping[str, str] | None = None) -> CommandSpent:
    """Run a command, its output dropped, below a small process: what the kernel counts starts at the parent's memory."""
    return CommandSpent(**fresh("benchmarks.measure", command, environment).output)


def main() -> None:
    started = time.perf_counter()
    subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
    wall_s, used = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = {"wall_s": wall_s, "cpu_s": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss / 1024}
    print(json.dumps(spent))


if __name__ == "__main__":
    main()
