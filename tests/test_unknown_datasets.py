"""A mistyped dataset is an error that names the nearest one, and makes nothing; an empty one publishes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from api_world import settings_at, write_run
from served import served

from api.app import create_app
from components.errors import NotFound
from components.pipeline import Pipeline
from components.projector.geometry import placement


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    opened = Pipeline(settings_at(tmp_path / "home", datasets={"named": {}}))
    write_run(tmp_path / "logs", "a", 20)
    opened.load([str(tmp_path / "logs")], "traces")
    opened.index("traces")
    return opened


@pytest.mark.parametrize(
    "call", ["index", "load", "publish", "verify", "snapshot", "defects", "failed", "sources", "dataset_id"]
)
def test_an_unknown_dataset_is_refused_with_the_nearest_name_and_not_made(pipeline: Pipeline, call: str) -> None:
    asked = (lambda: pipeline.load(dataset="trace")) if call == "load" else lambda: getattr(pipeline, call)("trace")
    with pytest.raises(NotFound, match=r"no dataset 'trace'; there are: named, traces\. Did you mean 'traces'\?"):
        asked()
    assert list(pipeline.status()) == ["traces"]
    assert not pipeline.output("trace").exists()
    pipeline.close()


def test_a_load_of_sources_that_are_not_there_makes_no_dataset(pipeline: Pipeline, tmp_path: Path) -> None:
    report = pipeline.load([str(tmp_path / "loogs")], "new")
    assert (report.sources.failed, report.records.unindexed) == (1, 0)
    assert list(pipeline.status()) == ["traces"]
    assert pipeline.load([str(tmp_path / "logs")], "new").records.new == 20
    assert list(pipeline.status()) == ["new", "traces"]
    pipeline.close()


@pytest.mark.parametrize("name", ["default", "named"])
def test_the_default_dataset_and_those_of_the_settings_are_known_before_their_first_load(
    pipeline: Pipeline, name: str
) -> None:
    assert pipeline.load(dataset=name).sources.discovered == 0
    done = pipeline.index(name)
    assert (done.step, done.snapshot, done.rows) == ("none", None, 0)
    pipeline.close()


def test_an_empty_dataset_publishes_no_snapshot_however_often_it_is_indexed(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "empty.jsonl").touch()
    with Pipeline(settings_at(tmp_path / "home")) as pipeline:
        pipeline.load([str(tmp_path / "logs")])
        for recompute in (False, True, False):
            done = pipeline.index(recompute=recompute)
            assert (done.step, done.snapshot, done.rows) == ("none", None, 0)
        assert not (pipeline.output() / "current").exists()
        write_run(tmp_path / "logs", "a", 20)
        pipeline.load()
        first = pipeline.index()
        assert (first.step, first.snapshot, first.rows) == ("fit", 1, 20), "the first records are the first snapshot"
        with served(create_app(pipeline.settings)) as client:
            summary = client.get("/map/default/snapshot.json").json()
        assert (summary["since"], summary["fresh"]) == (None, 0), "nothing is new since an empty one"
        assert pipeline.index().snapshot == 1


def test_an_empty_map_of_an_older_version_is_not_made_again() -> None:
    assert placement(has_layout=True, recompute=False, n_fitted=0, n_total=0, young=10_000) == "transform"
    assert placement(has_layout=True, recompute=False, n_fitted=0, n_total=1, young=10_000) == "refit"


def test_http_suggests_the_nearest_dataset(pipeline: Pipeline) -> None:
    with served(create_app(pipeline.settings)) as client:
        for answer in (
            client.get("/map/trace"),
            client.get("/datasets/trace/records/1"),
            client.post("/index", json={"dataset": "trace"}),
            client.post("/load", json={"dataset": "trace"}),
        ):
            assert answer.status_code == 404
            assert "Did you mean 'traces'?" in answer.json()["detail"]
    assert list(pipeline.status()) == ["traces"]
    pipeline.close()
