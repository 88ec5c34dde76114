"""A dataset that is dropped is gone with everything that is its own, and nothing of another dataset is."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from api_world import settings_at, write_run

from components.errors import LeaseHeld, NotFound
from components.pipeline import Pipeline
from components.settings import Settings
from components.store import Store, lease_name
from components.store.surveys import SurveyInfo
from components.survey.uploads import expired


@pytest.fixture
def settings(database: str | None, tmp_path: Path) -> Settings:
    return settings_at(tmp_path / "home", database_url=database)


def loaded(pipeline: Pipeline, folder: Path, dataset: str, *runs: str) -> None:
    for run in runs:
        write_run(folder / dataset, run, 20)
    pipeline.load([str(folder / dataset)], dataset)
    pipeline.index(dataset)


def rows_of(settings: Settings) -> dict[str, int]:
    import sqlalchemy as sa

    engine = sa.create_engine(settings.database)
    tables = sa.inspect(engine).get_table_names()
    with engine.connect() as connection:
        counts = {
            table: connection.execute(sa.text(f'select count(*) from "{table}"')).scalar_one()
            for table in tables
            if not table.startswith(("record_words", "alembic", "sqlite"))
        }
    engine.dispose()
    return counts


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True)
def test_a_dropped_dataset_leaves_nothing_but_what_others_share(settings: Settings, tmp_path: Path) -> None:
    with Pipeline(settings) as pipeline:
        loaded(pipeline, tmp_path, "kept", "a")
        before, files = rows_of(settings), {path for path in settings.home.rglob("*") if path.is_file()}
        loaded(pipeline, tmp_path, "gone", "a", "b")  # the texts of `a` are in both
        pipeline.edit_topic(0, "gone", name="mine") if pipeline.topics("gone").topics else None
        dropped = pipeline.drop("gone")
        assert (dropped.records, dropped.vectors) == (40, 20)
        assert {**rows_of(settings), "lease": 0} == {**before, "lease": 0}
        new = {path for path in settings.home.rglob("*") if path.is_file()} - files
        assert not [path for path in new if "gone" in path.name or "gone" in path.parent.name]
        assert all(check.ok for check in pipeline.verify("kept"))
        assert pipeline.search("step 3", "kept", mode="words")
        with pytest.raises(NotFound, match="no dataset 'gone'"):
            pipeline.drop("gone")
        loaded(pipeline, tmp_path, "gone", "c")
        assert all(check.ok for check in pipeline.verify("gone"))
        assert len(pipeline.search("step", "gone", mode="words", k=100)) == 60


@pytest.mark.slow
def test_texts_of_a_dropped_dataset_are_not_in_the_database_file(tmp_path: Path) -> None:
    settings = settings_at(tmp_path / "home")
    with Pipeline(settings) as pipeline:
        loaded(pipeline, tmp_path, "kept", "a")
        loaded(pipeline, tmp_path, "gone", "verysecretrun")
        pipeline.drop("gone")
    content = b"".join(file.read_bytes() for file in settings.home.glob("runatlas.db*"))
    assert b"verysecretrun" not in content
    assert b"of a: the (weird) thing" in content
    with sqlite3.connect(settings.home / "runatlas.db") as database:
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)
        database.execute("insert into record_words(record_words) values ('integrity-check')")
    database.close()


def test_a_dataset_that_is_being_indexed_is_not_dropped(tmp_path: Path) -> None:
    with Pipeline(settings_at(tmp_path / "home")) as pipeline:
        pipeline.configure("busy", timezone="UTC")
        pipeline.store.leases.acquire(lease_name("busy"), "another process")
        with pytest.raises(LeaseHeld):
            pipeline.drop("busy")
        assert pipeline.dataset_id("busy")


@pytest.mark.slow
def test_vectors_stay_while_an_index_may_be_about_to_use_them(tmp_path: Path) -> None:
    with Pipeline(settings_at(tmp_path / "home")) as pipeline:
        loaded(pipeline, tmp_path, "kept", "a")
        loaded(pipeline, tmp_path, "gone", "b")
        fence = pipeline.store.leases.acquire(lease_name("kept"), "an index")
        assert pipeline.drop("gone").vectors is None
        assert pipeline.surveys.clean_up().vectors is None
        pipeline.store.leases.release(fence)
        assert pipeline.surveys.clean_up().vectors == 20


def test_a_running_survey_of_a_dropped_upload_writes_nothing_more(tmp_path: Path) -> None:
    from components.errors import RunAtlasError

    settings = settings_at(tmp_path / "home")
    file = tmp_path / "t.csv"
    file.write_text("text\n" + "".join(f"some words {n}\n" for n in range(60)), "utf-8")
    with Pipeline(settings) as pipeline:
        upload = pipeline.surveys.upload(file)

        def drop_it(step: str, done: int, total: int) -> None:
            if step == "embed":
                Pipeline(settings).drop(upload.dataset_id)

        with pytest.raises(RunAtlasError):
            pipeline.surveys.run(upload.dataset_id, progress=drop_it)
        counts = rows_of(settings)
        assert not any(counts[table] for table in ("dataset", "record", "survey", "position", "run", "source"))


def survey(name: str, *, hours: float = 0.0, status: str = "completed") -> SurveyInfo:
    at = datetime(2026, 1, 1, tzinfo=UTC) - timedelta(hours=hours)
    more = {"dataset_id": 1, "file_name": "", "size_bytes": 0, "uploaded": {}, "stage": "", "error": "", "attempts": 0}
    return SurveyInfo(dataset=name, status=status, weights={}, created_at=at, accessed_at=at, **more)  # type: ignore[arg-type]


def test_old_uploads_and_those_beyond_the_limit_go_the_least_recently_used_first() -> None:
    found = [survey("old", hours=25), survey("pinned", hours=99), survey("a"), survey("b", status="processing")]
    found += [survey("c"), survey("d")]
    gone = expired(found, ["pinned"], now=datetime(2026, 1, 1, tzinfo=UTC), ttl_h=24, keep=2)
    assert [one.dataset for one in gone] == ["old", "a", "c"]


count_uploads = """
import sys
from components.store import Store
store = Store(sys.argv[1])
print(sum(store.surveys.admit("1.2.3.4", per_minute=5) == 0 for _ in range(5)))
"""


@pytest.mark.slow
def test_several_processes_count_uploads_together(settings: Settings) -> None:
    Store(settings.database).close()
    command = [sys.executable, "-c", count_uploads, settings.database]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    admitted = [int(process.communicate(timeout=120)[0]) for process in started]
    assert sum(admitted) == 5


def test_uploads_stay_out_of_what_is_done_with_all_datasets(tmp_path: Path) -> None:
    from flows.datasets import known_datasets

    settings = settings_at(tmp_path / "home")
    (tmp_path / "t.csv").write_text("text\n" + "some words\n" * 60, "utf-8")
    with Pipeline(settings) as pipeline:
        upload = pipeline.surveys.upload(tmp_path / "t.csv")
        pipeline.configure("logs", timezone="UTC")
        assert known_datasets(settings, pipeline.store) == ["logs"]
        assert set(pipeline.status()) == {"logs"}
        assert pipeline.dataset_id(upload.dataset_id)  # by its name it is a dataset like any other
