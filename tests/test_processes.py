"""Several processes at once on one database, some of them killed: nothing is lost, nothing is doubled."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from databases import fresh_database, postgres_server
from faults import environment, failing, patient_index, small_steps, texts
from logs import append, lines, write

from components.pipeline import Pipeline

pytestmark = pytest.mark.slow

worker = """
import sys
from components.pipeline import Pipeline
from components.errors import LeaseHeld, LeaseLost
pipeline = Pipeline()
print("ready", flush=True)
sys.stdin.readline()
if sys.argv[1] == "load":
    for _ in range(3):
        for source in sys.argv[2:]:
            pipeline.load([source])
else:
    for _ in range(4):
        try:
            pipeline.index()
        except (LeaseHeld, LeaseLost):
            pass
print("done", flush=True)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    if request.param == "sqlite":
        yield None
        return
    with postgres_server() as server, fresh_database(server) as made:
        yield made


def started(settings: Any, *words: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", worker, *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment(settings)},
    )


def set_off(children: list[subprocess.Popen[str]]) -> None:
    """Let them begin together, once all of them are ready."""
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n", child.communicate()[1]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()


def test_four_loads_and_two_indexes_of_which_some_are_killed_lose_and_double_nothing(
    url: str | None, tmp_path: Path
) -> None:
    rng = random.Random(f"processes {url is None}")
    settings = small_steps(tmp_path / "home", database_url=url)
    logs = tmp_path / "logs"
    expected: Counter[str] = Counter()
    n_killed = 0
    for round in range(3):
        for n in range(6):
            path = logs / f"run-{n % 2}" / f"{n}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            items = lines(40, seed=n, start=1_000 * round)
            append(path, items) if round else write(path, items)
            expected.update(item["text"] for item in items)
        # all name the files by the same root, as loads of one dataset do
        wide = [started(settings, "load", logs) for _ in range(4)]
        indexes = [started(settings, "index") for _ in range(2)]
        set_off([*wide, *indexes])
        doomed = rng.sample([*wide, *indexes], k=round)
        for child in doomed:
            time.sleep(rng.uniform(0.0, 0.3))
            child.kill()
        for child in [*wide, *indexes]:
            out, err = child.communicate(timeout=180)
            if child in doomed:
                n_killed += child.returncode < 0
            else:
                assert (child.returncode, out) == (0, "done\n"), err
        with Pipeline(settings) as pipeline:
            pipeline.load([logs])
            patient_index(pipeline)
            assert texts(pipeline) == expected
            assert failing(pipeline) == []
    assert n_killed


def test_loads_of_overlapping_folders_at_once_agree_on_each_file(url: str | None, tmp_path: Path) -> None:
    settings = small_steps(tmp_path / "home", database_url=url)
    logs = tmp_path / "logs"
    expected: Counter[str] = Counter()
    for n in range(6):
        items = lines(60, seed=n)
        write(logs / f"run-{n % 2}" / f"{n}.jsonl", items)
        expected.update(item["text"] for item in items)
    specs = [[logs], [logs / "run-0", logs], [logs / "run-1"], [logs / "run-1" / "1.jsonl", logs / "run-0"]]
    children = [started(settings, "load", *spec) for spec in specs]
    set_off(children)
    for child in children:
        out, err = child.communicate(timeout=180)
        assert (child.returncode, out) == (0, "done\n"), err
    with Pipeline(settings) as pipeline:
        assert pipeline.load([logs]).records.new == 0
        assert pipeline.index().rows == sum(expected.values())
        assert texts(pipeline) == expected
        assert failing(pipeline) == []


def test_loads_at_once_after_a_rotation_agree_where_each_log_lies(url: str | None, tmp_path: Path) -> None:
    settings = small_steps(tmp_path / "home", database_url=url)
    log = tmp_path / "logs" / "app.jsonl"
    expected: Counter[str] = Counter()
    with Pipeline(settings) as pipeline:
        for round in range(4):
            items = lines(50, seed=round)
            write(log, items)
            expected.update(item["text"] for item in items)
            pipeline.load([log.parent])
            for n in reversed(range(round)):
                log.with_name(f"app.jsonl.{n + 1}").rename(log.with_name(f"app.jsonl.{n + 2}"))
            log.rename(log.with_name("app.jsonl.1"))
        write(log, items := lines(50, seed=9))
        expected.update(item["text"] for item in items)
        children = [started(settings, "load", log.parent) for _ in range(3)]
        set_off(children)
        for child in children:
            out, err = child.communicate(timeout=180)
            assert (child.returncode, out) == (0, "done\n"), err
        assert pipeline.load().records.new == 0
        assert pipeline.index().rows == sum(expected.values())
        assert texts(pipeline) == expected
        assert failing(pipeline) == []
