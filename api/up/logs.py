"""Log files: standard output and errors of `up`, and their size limit."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

log_limit_bytes = 10 << 20


@contextmanager
def output_to(log: Path) -> Iterator[TextIO]:
    """Redirect standard output and errors to a log; yields the terminal, for messages to the user."""
    rotate(log)
    sys.stdout.flush()
    sys.stderr.flush()
    before = os.dup(1), os.dup(2)
    with log.open("ab", buffering=0) as file, os.fdopen(os.dup(1), "w", buffering=1) as terminal:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield terminal
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, descriptor in enumerate(before, 1):
                os.dup2(descriptor, number)
                os.close(descriptor)


def rotate(log: Path, limit_bytes: int = log_limit_bytes) -> None:
    """Move the content of a log above its limit to `NAME.1`. The file stays: processes that have it open write on."""
    if log.exists() and log.stat().st_size > limit_bytes:
        shutil.copyfile(log, log.with_name(f"{log.name}.1"))
        os.truncate(log, 0)


def rotate_all(folder: Path) -> None:
    """`rotate` for each log of the folder."""
    for log in folder.glob("*.log"):
        rotate(log)
