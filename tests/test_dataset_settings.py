"""Settings of datasets in the database: precedence, what a change requires, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from logs import lines, write

from components.errors import BadSetting, ModelChanged, NotFound
from components.pipeline import Pipeline
from components.settings import DatasetSettings, EmbedSettings, LoadSettings, Settings, TextSettings


def settings_at(home: Path, **datasets: DatasetSettings) -> Settings:
    return Settings(home=home, model="hash://32", load=LoadSettings(quiet_s=0), datasets=datasets)


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[Pipeline]:
    with Pipeline(settings_at(tmp_path / "home")) as opened:
        yield opened


def loaded(pipeline: Pipeline, folder: Path, dataset: str = "default") -> None:
    write(folder / "a.jsonl", lines(20))
    pipeline.load([folder], dataset)


def columns(pipeline: Pipeline) -> list[str]:
    return list(pq.read_schema(pipeline.snapshot().logs_files[0]).names)


def test_a_stored_setting_applies_from_the_next_operation_on(pipeline: Pipeline, tmp_path: Path) -> None:
    loaded(pipeline, tmp_path / "logs")
    with Pipeline(pipeline.settings) as another:
        another.configure(extras=["source"])
    pipeline.index()
    assert "source" in columns(pipeline)
    assert pipeline.configure(extras=None).settings == pipeline.dataset_settings()
    pipeline.index()
    assert "source" not in columns(pipeline)


def test_the_file_wins_over_the_database_by_single_setting(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with Pipeline(settings_at(home)) as pipeline:
        pipeline.configure("runs", **{"timezone": "Europe/Berlin", "text.prefix": "stored: ", "text.suffix": " end"})
    of_file = DatasetSettings(timezone="UTC", text=TextSettings(prefix="file: "))
    with Pipeline(settings_at(home, runs=of_file)) as pipeline:
        applied = pipeline.effective_settings().dataset("runs")
        assert (applied.timezone, applied.text.prefix, applied.text.suffix) == ("UTC", "file: ", " end")
        listed = {one.name: (one.value, one.origin) for one in pipeline.dataset_settings("runs")}
        assert listed["timezone"] == ("UTC", "file or environment")
        assert listed["text.suffix"] == (" end", "database")
        assert listed["on_rewrite"] == ("keep", "default")
        with pytest.raises(BadSetting, match="take precedence"):
            pipeline.configure("runs", timezone="Asia/Tokyo")


def test_a_change_says_what_it_requires(pipeline: Pipeline, tmp_path: Path) -> None:
    loaded(pipeline, tmp_path / "logs")
    assert pipeline.configure(index_threshold=7).notes == []
    pipeline.index()
    (note,) = pipeline.configure(model="hash://16").notes
    assert "runatlas index -d default --recompute" in note
    assert "20 records" in note
    assert pipeline.configure(model="hash://16").notes == [], "nothing changed"
    with pytest.raises(ModelChanged):
        pipeline.index()
    assert pipeline.index(recompute=True).step == "refit"
    assert pipeline.configure(timezone="Asia/Tokyo").notes == ["timezone: applies to what is loaded from now on."]


def test_a_dataset_that_only_has_settings_is_known(pipeline: Pipeline, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        pipeline.dataset_settings("uploads")
    pipeline.configure("uploads", format="generic")
    assert pipeline.status()["uploads"].records == 0
    assert pipeline.load((), "uploads").sources.discovered == 0
    assert "uploads" in {*pipeline.store.datasets.ids()}
    assert {one.value for one in pipeline.dataset_settings("uploads") if one.name == "format"} == {"generic"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colums": {}}, "did you mean 'columns'"),
        ({"sources": ["/etc"]}, "runatlas load SOURCE"),
        ({"index_threshold": 0}, "'index_threshold'.*got 0"),
        ({"on_rewrite": "perhaps"}, "'on_rewrite'.*perhaps"),
        ({"extras": ["id"]}, "a column 'id' of its own"),
        ({"model": "openai://m?base_url=http://me:secret@host/v1"}, "contains a password"),
        ({"text.truncate": -1}, "truncate"),
    ],
)
def test_what_can_not_apply_is_refused_and_nothing_is_stored(
    pipeline: Pipeline, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(BadSetting, match=message) as refused:
        pipeline.configure("runs", **{"timezone": "Asia/Tokyo", **changes})
    assert "secret" not in str(refused.value)
    assert pipeline.store.datasets.settings() == {}
    assert pipeline.store.datasets.ids() == {}


def test_a_setting_that_was_removed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNATLAS_EMBED__TASK_TEXTS", "100")
    from components.settings import load_settings

    with pytest.raises(BadSetting, match=r"embed\.task_texts had no effect and no longer exists: remove it"):
        load_settings(home=tmp_path)
    assert "task_texts" not in EmbedSettings.model_fields
