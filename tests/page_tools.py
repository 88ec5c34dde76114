"""Node's tools for the pages: the bundler, the type checker, axe."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

root = Path(__file__).resolve().parents[1]
needs_node = pytest.mark.skipif(not shutil.which("node") or not shutil.which("npm"), reason="Node is not installed")


def installed_tools(folder: Path) -> Path:
    """A copy of `vendoring/` with its packages installed; skips the test if the registry can't be reached."""
    copy = folder / "vendoring"
    shutil.copytree(root / "vendoring", copy, ignore=shutil.ignore_patterns("node_modules"))
    done = subprocess.run(["npm", "ci"], cwd=copy, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        pytest.skip(f"npm ci: {done.stderr[-300:]}")
    return copy
