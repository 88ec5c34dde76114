"""What vectors and searches are held against: a vector kept in a file, and plain comparisons of a whole year of papers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from components.embedders.bert import open_default
from components.ingest.config import IngestConfig
from components.pipeline import Pipeline
from components.search import lists
from components.search.vectors import open_rows
from components.settings import EmbedSettings, ProjectSettings, load_settings

golden = json.loads((Path(__file__).parent / "data" / "golden_vector.json").read_text())
papers = Path(__file__).parents[2] / "shared" / "data" / "papers"


def test_the_default_model_gives_the_golden_vector_to_a_millionth(tmp_path: Path) -> None:
    model = open_default(EmbedSettings(threads=1), tmp_path)
    company = ["short", golden["text"], "a much longer text " * 20]
    assert model.identity == golden["model"]
    assert np.abs(model.embed([golden["text"]]).vectors[0] - golden["vector"]).max() <= 1e-6
    assert np.abs(model.embed(company).vectors[1] - golden["vector"]).max() <= 1e-6


def ten_nearest(vector: np.ndarray, vectors: np.ndarray) -> list[int]:
    """Rows of the ten distinct vectors with the largest products, every one compared in double precision."""
    scores = sorted(((float(np.dot(one, vector)), -row) for row, one in enumerate(vectors)), reverse=True)
    return [-row for _, row in scores[:10]]


@pytest.mark.corpus
@pytest.mark.slow
@pytest.mark.skipif(not papers.is_dir(), reason="needs ../shared/data/papers")
def test_lists_find_the_ten_nearest_papers_of_a_whole_year(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "LISTS_FROM", 1_000)
    monkeypatch.setattr(lists, "ROWS_A_LIST", 60)
    settings = load_settings(
        home=tmp_path / "home", model="all-MiniLM-L6-v2", load={"quiet_s": 0}, project=ProjectSettings(landmarks=500)
    )
    year = sorted(papers.glob("arxiv_*_2025-*.jsonl"))
    with Pipeline(settings) as pipeline:
        pipeline.ingest(IngestConfig.of({"sources": year, "fields": ["title", "summary"], "id": "id"}))
        snapshot = pipeline.snapshot()
        found = lists.open_vectors(snapshot, lists.search_cache(settings.cache, pipeline.output()))
    assert isinstance(found, lists.ListedVectors)
    assert found.n_probed < len(found.centroids) / 2
    exact = open_rows(snapshot, tmp_path / "exact")
    every, kept = np.unique(exact.at(np.arange(len(found))).astype(np.float64), axis=0, return_index=True)
    assert len(every) > 2_000
    hits = 0
    asked = kept[:: len(kept) // 50][:50]
    for row in asked:
        direction = exact.at(np.array([row])).astype(np.float32)[0]
        direction /= np.linalg.norm(direction)
        wanted = {kept[one] for one in ten_nearest(direction.astype(np.float64), every)}
        best = exact.at(found.best(direction, 10, None).rows)
        truth = exact.at(np.array(sorted(wanted)))
        hits += len({one.tobytes() for one in best} & {one.tobytes() for one in truth})
    assert hits / (10 * len(asked)) >= 0.98
