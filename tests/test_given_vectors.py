"""Vectors that documents bring along: nothing is embedded, what can't be a vector is refused by name, similar works."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from api.cli.main import app
from components.corpus import IngestReport, ingest_corpus
from components.embedders.given import GivenVectors
from components.embedders.model_uri import open_embedder
from components.errors import BadSetting, ModelChanged, NoModel
from components.ingest.config import IngestConfig
from components.pipeline import Pipeline
from components.settings import EmbedSettings, Settings, load_settings

DIM = 24


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path / "home", load={"quiet_s": 0})


def vectors(n: int, dim: int = DIM) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(n, dim)).astype(np.float32)


def papers(given: Any) -> list[dict[str, Any]]:
    return [
        {"id": f"p{i}", "title": f"Paper {i} on stars", "emb": one if one is None else list(map(float, one))}
        for i, one in enumerate(given)
    ]


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_parquet(path: Path, rows: list[dict[str, Any]], kind: pa.DataType) -> Path:
    columns = {name: [row[name] for row in rows] for name in ("id", "title")}
    columns["emb"] = pa.array([row["emb"] for row in rows], kind)
    pq.write_table(pa.table(columns), path)
    return path


def run(settings: Settings, source: Path, **options: Any) -> IngestReport:
    with Pipeline(settings) as pipeline:
        return ingest_corpus(pipeline, IngestConfig.of({"sources": [source], "vectors": "emb", **options}))


@pytest.mark.parametrize("kind", ["jsonl", "list", "fixed", "half"])
def test_given_vectors_are_stored_as_they_are_and_nothing_is_embedded(
    settings: Settings, tmp_path: Path, kind: str
) -> None:
    rows = papers(vectors(3))
    types = {
        "list": pa.list_(pa.float32()),
        "fixed": pa.list_(pa.float32(), DIM),
        "half": pa.list_(pa.float16()),
    }
    if kind == "half":
        rows = [{**row, "emb": np.array(row["emb"], np.float16)} for row in rows]
    file = (
        write_jsonl(tmp_path / "a.jsonl", rows)
        if kind == "jsonl"
        else write_parquet(tmp_path / "a.parquet", rows, types[kind])
    )
    report = run(settings, file, model="specter2", out=tmp_path / "out")
    assert report.vectors is not None
    assert report.index is not None
    assert (report.vectors.documents, report.vectors.overruled) == (3, 0)
    assert (report.index.embedded, report.index.reused, report.index.rows) == (0, 3, 3)
    stored = np.fromfile(next((tmp_path / "out").glob("*.f16")), "<f2").reshape(-1, DIM).astype(np.float32)
    expected = vectors(3) / np.linalg.norm(vectors(3), axis=1, keepdims=True)
    assert np.allclose(stored, expected, atol=2e-3)
    with Pipeline(settings) as pipeline:
        assert pipeline.status()["default"].model == f"given specter2 dim={DIM}"
        assert all(check.ok for check in pipeline.verify())
        assert "emb" not in pipeline.record("p1")["extra"]
    again = run(settings, file)
    assert again.index is not None
    assert again.vectors is not None
    assert (again.index.records, again.vectors.overruled) == (0, 0)


def test_a_search_by_text_says_that_there_is_no_model_and_similar_works(settings: Settings, tmp_path: Path) -> None:
    given = vectors(5)
    given[4] = given[0] + 0.01
    run(settings, write_jsonl(tmp_path / "a.jsonl", papers(given)), model="specter2")
    with Pipeline(settings) as pipeline:
        with pytest.raises(NoModel, match=r"'specter2'.*mode=words"):
            pipeline.search("stars", mode="meaning")
        assert len(pipeline.search("stars", mode="words")) == 5
        first = pipeline.record("p0")["id"]
        assert pipeline.search(like=[first], k=1)[0].record.extra["key"] == "p4"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([float("nan")] * DIM, "Document 'p1' .*number 1 is NaN.*leave it out"),
        ([0.0] * DIM, "Document 'p1' .*vector of zeros"),
        ([1.0] * 7, "Document 'p1' .*vector of 7 numbers.*have 24.*--recompute"),
        (None, "Document 'p1' .*no vector in 'emb'.*Correct the name"),
        ([], "Document 'p1' .*no list of numbers in 'emb'"),
    ],
)
def test_what_can_be_no_vector_is_refused_by_the_name_of_its_document(
    settings: Settings, tmp_path: Path, bad: Any, message: str
) -> None:
    rows = papers(vectors(3))
    rows[1]["emb"] = bad
    with pytest.raises(BadSetting, match=message):
        run(settings, write_parquet(tmp_path / "a.parquet", rows, pa.list_(pa.float64())))
    with Pipeline(settings) as pipeline:
        assert not pipeline.status()["default"].records


def test_a_column_that_is_missing_or_no_vector_is_named(settings: Settings, tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "a.jsonl", papers(vectors(2)))
    with pytest.raises(BadSetting, match=r"no vector in 'embedding'.*Correct the name"):
        run(settings, file, vectors="embedding")
    with pytest.raises(BadSetting, match=r"no list of numbers in 'title' \(got 'Paper 0"):
        run(settings, file, vectors="title")


def test_another_dimension_needs_another_name_and_a_rebuilt_map(settings: Settings, tmp_path: Path) -> None:
    run(settings, write_jsonl(tmp_path / "a.jsonl", papers(vectors(3))), model="small")
    wider = write_jsonl(tmp_path / "a.jsonl", papers(vectors(3, 32)))
    with pytest.raises(BadSetting, match="vector of 32 numbers in 'emb', those of this dataset have 24"):
        run(settings, wider)
    with pytest.raises(ModelChanged, match="--recompute"):
        run(settings, wider, model="wide")
    report = run(settings, wider, model="wide", recompute=True)
    assert report.index is not None
    assert (report.index.embedded, report.index.rows) == (0, 3)


def test_equal_texts_share_the_vector_that_was_given_first_and_the_report_counts_the_others(
    settings: Settings, tmp_path: Path
) -> None:
    rows = papers(vectors(3))
    rows[2]["title"] = rows[0]["title"]
    file = write_jsonl(tmp_path / "a.jsonl", rows)
    report = run(settings, file)
    assert report.vectors is not None
    assert (report.vectors.overruled, report.vectors.example) == (1, "p2")


def test_the_command_takes_a_column_and_says_what_it_took(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNATLAS_HOME", str(settings.home))
    monkeypatch.setenv("RUNATLAS_LOAD__QUIET_S", "0")
    file = write_jsonl(tmp_path / "a.jsonl", papers(vectors(3)))
    result = CliRunner().invoke(app, ["ingest", str(file), "--vectors", "emb", "--model", "mine"])
    assert result.exit_code == 0, result.output
    assert "3 documents brought their vectors." in result.output


@pytest.mark.parametrize("uri", ["given://", "given://x", "given://x?dim=0", "given://x?dim=many"])
def test_a_uri_of_given_vectors_has_a_name_and_a_dimension(uri: str, tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="given://NAME"):
        open_embedder(uri, EmbedSettings(), tmp_path)
    model = GivenVectors(name="a b", dim=3)
    assert open_embedder(model.uri, EmbedSettings(), tmp_path) == model
