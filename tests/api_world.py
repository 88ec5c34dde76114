"""A small dataset with two snapshots, for the tests of the API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from browser import free_port

from components.pipeline import Pipeline
from components.settings import Settings, load_settings

evil = "<img src=x onerror=alert(1)>"


def line(run: str, n: int) -> str:
    kinds = ("user", "assistant", "tool_call", "error")
    text = f"{('Please', 'Sure,', 'grep', 'Traceback')[n % 4]} step {n} of {run}: the (weird) thing {evil if n == 3 else n}"
    item = {
        "type": kinds[n % 4],
        "text": text,
        "timestamp": f"2026-01-0{1 + n % 5}T10:00:{n:02d}Z",
        "iteration": n // 4,
    }
    return json.dumps(item) + "\n"


def write_run(folder: Path, run: str, n: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{run}.jsonl").write_text("".join(line(run, i) for i in range(n)), "utf-8")


def settings_at(home: Path, **more: Any) -> Settings:
    """Settings with the hash model; no Prefect server is running unless `more` names one."""
    nobody = {"port": free_port()}
    return load_settings(home=home, model="hash://384", **{"load": {"quiet_s": 0}, "prefect": nobody, **more})


def make_world(root: Path) -> Settings:
    """A dataset of two snapshots: run `a` (40 records) in the first, `a` and `b` (12) in the second."""
    settings = settings_at(root / "home")
    with Pipeline(settings) as pipeline:
        write_run(root / "logs", "a", 40)
        pipeline.load([str(root / "logs")])
        pipeline.index()
        write_run(root / "logs", "b", 12)
        pipeline.load()
        pipeline.index()
    return settings
