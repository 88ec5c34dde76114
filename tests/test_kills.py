"""kill -9 at random moments of load and index: the next run completes, nothing is lost or doubled."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from logs import append, lines, write

from components.pipeline import Pipeline
from components.settings import EmbedSettings, LoadSettings, PublishSettings, Settings

command = """
import sys
from components.pipeline import Pipeline
from test_kills import settings_of
from pathlib import Path
pipeline = Pipeline(settings_of(Path(sys.argv[2])))
print("ready", flush=True)
if sys.argv[1] == "load":
    pipeline.load([sys.argv[3]])
else:
    pipeline.index(recompute=sys.argv[1] == "recompute")
"""


def settings_of(home: Path) -> Settings:
    """Small batches, so that there are many moments between two commits."""
    return Settings(
        home=home,
        model="hash://16",
        load=LoadSettings(quiet_s=0, batch_records=20),
        embed=EmbedSettings(batch_tokens=64),
        publish=PublishSettings(part_rows=5_000, keep_s=0),
        lease={"ttl_s": 1.0},
    )


def killed(step: str, home: Path, logs: Path, after_s: float) -> bool:
    """Run a step in a process of its own and kill it; False if it was done before."""
    child = subprocess.Popen(
        [sys.executable, "-c", command, step, str(home), str(logs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n", child.communicate()[1].decode()
    time.sleep(after_s)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    return child.returncode == -signal.SIGKILL


def completed(home: Path, logs: Path) -> Counter[str]:
    """Load and index to the end; the texts in the output."""
    with Pipeline(settings_of(home)) as pipeline:
        pipeline.load([logs])
        deadline = time.monotonic() + 30
        while pipeline.store.leases.holder("index:default").is_held and time.monotonic() < deadline:
            time.sleep(0.05)  # until the lease of the killed index runs out
        pipeline.index()
        assert [check for check in pipeline.verify() if not check.ok] == []
        return Counter(
            text for path in pipeline.snapshot().logs_files for text in pq.read_table(path)["text"].to_pylist()
        )


@pytest.mark.campaign
@pytest.mark.parametrize("step", ["load", "index", "recompute"])
def test_twelve_kills_lose_and_double_nothing(step: str, tmp_path: Path) -> None:
    rng = random.Random(f"kills {step}")
    logs, home = tmp_path / "logs", tmp_path / "home"
    expected: Counter[str] = Counter()
    for n in range(3):
        write(logs / f"{n}.jsonl", items := lines(120, seed=n))
        expected.update(item["text"] for item in items)
    assert completed(home, logs) == expected
    n_killed = attempt = 0
    while n_killed < 12 and attempt < 60:
        attempt += 1
        append(logs / f"{attempt % 3}.jsonl", items := lines(60, seed=attempt, start=1_000 * attempt))
        expected.update(item["text"] for item in items)
        if step != "load":
            with Pipeline(settings_of(home)) as pipeline:
                pipeline.load([logs])
        n_killed += killed(step, home, logs, rng.uniform(0.0, 0.35))
        if rng.random() < 0.5:  # often the next run meets more than one crash
            assert completed(home, logs) == expected
    assert completed(home, logs) == expected
    assert n_killed == 12
