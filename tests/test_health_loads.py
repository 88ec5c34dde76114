"""`/health` reports problems of loads until they are fixed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from api_world import settings_at, write_run

from api.health import health_json
from api.monitor import Monitor, read_store
from api.state import State
from components.pipeline import Pipeline
from components.settings import Settings
from components.store.runs import run_t


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_at(tmp_path / "home")


@pytest.fixture
def pipeline(settings: Settings) -> Iterator[Pipeline]:
    with Pipeline(settings) as opened:
        yield opened


def reasons(settings: Settings) -> list[str]:
    """The reasons in `/health` that are about datasets, from the database as it is now."""
    state = State(settings)
    monitor = Monitor(settings, state)
    monitor.store._value = read_store(state, settings.datasets)
    monitor.store._result_from = 1.0
    body: dict[str, Any] = health_json(monitor.store, monitor.prefect, settings.project.drift_warn)
    assert (body["status"] == "degraded") == bool(body["reasons"])
    state.close()
    monitor.close()
    return [reason for reason in body["reasons"] if not reason.startswith(("prefect", "database"))]


def test_a_successful_load_gives_no_reason(pipeline: Pipeline, settings: Settings, tmp_path: Path) -> None:
    write_run(tmp_path / "logs", "a", 3)
    pipeline.load([str(tmp_path / "logs")])
    assert reasons(settings) == []


def test_a_failed_load_is_a_reason_until_the_next_one_succeeds(
    pipeline: Pipeline, settings: Settings, tmp_path: Path
) -> None:
    write_run(tmp_path / "logs", "a", 3)
    pipeline.load([str(tmp_path / "logs")])
    pipeline.store.runs.start("r1", "default", "load")
    pipeline.store.runs.finish("r1", "failed", error="IndexError: list index out of range in /srv/app/x.py\nmore")
    assert reasons(settings) == ["default: the last load failed: IndexError: list index out of range in …/x.py"]
    pipeline.store.runs.start("r2", "default", "load")
    assert len(reasons(settings)) == 1, "a load that is still running does not hide it"
    pipeline.store.runs.finish("r2", "cancelled")
    pipeline.load()
    assert reasons(settings) == []


def test_a_crashed_load_is_a_reason(pipeline: Pipeline, settings: Settings, tmp_path: Path) -> None:
    write_run(tmp_path / "logs", "a", 3)
    pipeline.load([str(tmp_path / "logs")])
    pipeline.store.runs.start("r1", "default", "load")
    with pipeline.store.db.write() as connection:
        hour_ago = datetime.now(UTC) - timedelta(hours=1)
        connection.execute(sa.update(run_t).where(run_t.c.id == "r1").values(heartbeat_at=hour_ago))
    assert reasons(settings) == ["default: the last load crashed; the next one resumes where it stopped"]


def test_a_load_that_could_not_read_any_source_is_a_reason_even_for_a_dataset_it_did_not_create(tmp_path: Path) -> None:
    settings = settings_at(tmp_path / "home", datasets={"runs": {"sources": [str(tmp_path / "nowhere")]}})
    with Pipeline(settings) as pipeline:
        pipeline.load(dataset="runs")
    (reason,) = reasons(settings)
    assert reason.startswith("runs: the last load could not read any source: ")
    assert "There is no such file or folder" in reason
    assert str(tmp_path) not in reason


def test_a_table_that_became_unreadable_is_a_reason_although_other_sources_are_loaded(
    pipeline: Pipeline, settings: Settings, tmp_path: Path
) -> None:
    database = tmp_path / "app.db"
    with closing(sqlite3.connect(database)) as opened, opened:
        opened.execute("create table steps (id integer primary key, text text)")
        opened.execute("insert into steps (text) values ('one')")
    write_run(tmp_path / "logs", "a", 3)
    pipeline.load([str(tmp_path / "logs"), f"sqlite:///{database}?table=steps"])
    assert reasons(settings) == []
    database.rename(tmp_path / "moved.db")
    pipeline.load()
    (reason,) = reasons(settings)
    assert reason.startswith("default: a source can't be read: sqlite:///app.db?table=steps: ")
    (tmp_path / "moved.db").rename(database)
    pipeline.load()
    assert reasons(settings) == []


def test_a_file_that_is_not_a_log_is_no_reason(pipeline: Pipeline, settings: Settings, tmp_path: Path) -> None:
    write_run(tmp_path / "logs", "a", 3)
    (tmp_path / "logs" / "photo.bin").write_bytes(bytes(range(256)))
    report = pipeline.load([str(tmp_path / "logs")])
    assert report.sources.failed == 1
    assert reasons(settings) == []
