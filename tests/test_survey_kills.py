"""A survey that is killed at any step loses nothing: the next run continues, and ends as one that was never killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from api_world import settings_at

from components.pipeline import Pipeline
from components.settings import Settings
from components.survey.stages import STEPS

run_until = """
import os, signal, sys
sys.path.insert(0, "tests")
from pathlib import Path
from api_world import settings_at
from components.pipeline import Pipeline

home, dataset, step = sys.argv[1:]

def progress(now, done, total):
    if now == step:
        os.kill(os.getpid(), signal.SIGKILL)

with Pipeline(settings_at(Path(home), lease={"ttl_s": 2.0}, load={"batch_records": 20})) as pipeline:
    pipeline.surveys.run(dataset, progress=progress)
"""
killed_at = ("parse", "fetch", "embed", "fit", "keep positions", "publish", "sample", "label", "terrain")


def write_table(file: Path) -> None:
    rows = [text for n, text in enumerate("abc") for _ in range(40 - 10 * n)] + [f"alone {n}" for n in range(9)]
    file.write_text("text\n" + "".join(f"the text {row}\n" for row in rows), "utf-8")


def quick(home: Path) -> Settings:
    return settings_at(home, lease={"ttl_s": 2.0}, load={"batch_records": 20})


@pytest.mark.slow
def test_a_survey_that_is_killed_at_every_step_ends_as_one_that_was_not(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv")
    with Pipeline(quick(tmp_path / "whole")) as pipeline:
        whole = pipeline.surveys.upload(tmp_path / "t.csv").dataset_id
        # in a process of its own too: sums of floats depend on how many threads a process lets BLAS have
        command = [sys.executable, "-c", run_until, str(tmp_path / "whole"), whole, "none"]
        subprocess.run(command, env={**os.environ, "PYTHONPATH": "."}, check=True, timeout=300)
        expected = pipeline.surveys.terrain(whole).as_dict()
    home = tmp_path / "killed"
    with Pipeline(quick(home)) as pipeline:
        dataset = pipeline.surveys.upload(tmp_path / "t.csv").dataset_id
    assert {*killed_at, "refit", "place"} == set(STEPS)  # all rows of a first map are fitted, none is placed
    n_killed = 0
    for step in killed_at:
        command = [sys.executable, "-c", run_until, str(home), dataset, step]
        done = subprocess.run(command, env={**os.environ, "PYTHONPATH": "."}, check=False, timeout=300)
        n_killed += done.returncode == -signal.SIGKILL
        with Pipeline(quick(home)) as pipeline:
            assert pipeline.surveys.state(dataset).status == "processing", step
    assert n_killed == len(killed_at)
    with Pipeline(quick(home)) as pipeline:
        pipeline.surveys.run(dataset)
        found = pipeline.surveys.terrain(dataset).as_dict()
        assert sum(pipeline.store.records.counts(pipeline.dataset_id(dataset)).values()) == 99
        assert all(check.ok for check in pipeline.verify(dataset))
    assert {**found, "dataset_id": ""} == {**expected, "dataset_id": ""}
    assert pipeline.store.surveys.get(dataset).attempts == len(killed_at) + 1


def test_surveys_whose_runs_crashed_are_found_by_the_clean_up_and_given_up_after_some_attempts(tmp_path: Path) -> None:
    from datetime import UTC, datetime, timedelta

    import sqlalchemy as sa

    write_table(tmp_path / "t.csv")
    with Pipeline(quick(tmp_path / "home")) as pipeline:
        dataset = pipeline.surveys.upload(tmp_path / "t.csv").dataset_id
        number = pipeline.dataset_id(dataset)
        assert pipeline.surveys.clean_up().stalled == []  # it was uploaded just now
        for attempt in range(4):
            pipeline.store.runs.start(f"run{attempt}", dataset, "survey")
            pipeline.store.surveys.start(number)
            assert pipeline.surveys.clean_up().stalled == []  # it runs
            with pipeline.store.db.write() as connection:
                long_ago = datetime.now(UTC) - timedelta(hours=1)
                connection.execute(
                    sa.text("update run set heartbeat_at = :at"), {"at": f"{long_ago:%Y-%m-%d %H:%M:%S}.000000"}
                )
            assert pipeline.surveys.clean_up().stalled == ([dataset] if attempt < 2 else [])
        assert pipeline.surveys.state(dataset).status == "failed"
        assert "crashed" in (pipeline.surveys.state(dataset).error or "")
