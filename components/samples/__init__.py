"""The sample logs that ship with runatlas: forty made-up runs in six formats."""

from __future__ import annotations

from pathlib import Path


def sample_folder() -> Path:
    """The folder of the sample logs, for `runatlas up --demo` and for trying things out."""
    return Path(__file__).parent / "logs"
