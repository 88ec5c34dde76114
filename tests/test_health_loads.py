"""`/health` says what is wrong with loads, and stops saying so once it is right."""

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

from api.health import Monitor
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
    """What `/health` says of the datasets, from the database as it is now."""
    state = State(settings)
    monitor = Monitor(settings, state)
    monitor.store._value = monitor._read_store()
    monitor.store._told_at = 1.0
    body: dict[str, Any] = monitor.health()
    assert (body["status"] == "degraded") == bool(body["reasons"])
    state.close()
    monitor.close()
    return [reason for reason in body["reasons"] if not reason.startswith(("prefect", "database"))]


def test_a_load_that_went_well_gives_no_reason(pipeline: Pipeline, settings: Settings, tmp_path: Path) -> None:
    write_run(tmp_path / "logs", "a", 3)
    pipeline.load([str(tmp_path / "logs")])
    assert reasons(settings) == []


def test_a_failed_load_is_a_reason_until_the_next_one_goes_well(
    pipeline: Pipeline, settings: Settings, tmp_path: Path
) -> None:
    write_run(tmp_path / "logs", "a", 3)
    pipeline.load([str(tmp_path / "logs")])
    pipeline.store.runs.start("r1", "default", "load")
    pipeline.store.runs.finish("r1", "failed", error="IndexError: list index out of range in /srv/app/x.py\nmore")
    assert reasons(settings) == ["default: the last load failed: IndexError: list index out of range in …/x.py"]
    pipeline.store.runs.start("r2", "default", "load")
    assert len(reasons(settings)) == 1, "one that is still at work does not hide it"
    pipeline.store.runs.finish("r2", "cancelled")
    pipeline.load()
    assert reasons(settings) == []


def test_a_load_that_died_is_a_reason(pipeline: Pipeline, settings: Settings, tmp_path: Path) -> None:
    write_run(tmp_path / "logs", "a", 3)
    pipeline.load([str(tmp_path / "logs")])
    pipeline.store.runs.start("r1", "default", "load")
    with pipeline.store.db.write() as connection:
        hour_ago = datetime.now(UTC) - timedelta(hours=1)
        connection.execute(sa.update(run_t).where(run_t.c.id == "r1").values(heartbeat_at=hour_ago))
    assert reasons(settings) == ["default: the last load crashed; the next one goes on where it stopped"]


def test_a_load_that_could_read_nothing_is_a_reason_also_of_a_dataset_that_it_did_not_make(tmp_path: Path) -> None:
    settings = settings_at(tmp_path / "home", datasets={"runs": {"sources": [str(tmp_path / "nowhere")]}})
    with Pipeline(settings) as pipeline:
        pipeline.load(dataset="runs")
    (told,) = reasons(settings)
    assert told.startswith("runs: the last load could read nothing: ")
    assert "There is no such file or folder" in told
    assert str(tmp_path) not in told


def test_a_table_that_can_not_be_read_any_more_is_a_reason_though_other_sources_are_loaded(
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
    (told,) = reasons(settings)
    assert told.startswith("default: a source can't be read: sqlite:///app.db?table=steps: ")
    (tmp_path / "moved.db").rename(database)
    pipeline.load()
    assert reasons(settings) == []


def test_a_file_that_never_was_a_log_is_no_reason(pipeline: Pipeline, settings: Settings, tmp_path: Path) -> None:
    write_run(tmp_path / "logs", "a", 3)
    (tmp_path / "logs" / "photo.bin").write_bytes(bytes(range(256)))
    report = pipeline.load([str(tmp_path / "logs")])
    assert report.sources.failed == 1
    assert reasons(settings) == []
