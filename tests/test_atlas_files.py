import subprocess
import sys
from datetime import UTC, datetime

import duckdb
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.publish.install import install_snapshot
from components.publish.parts import write_embeddings_part, write_logs_part
from components.publish.tables import embeddings_table
from components.snapshot.manifest import Label, Manifest
from components.snapshot.parts import logs_schema
from components.snapshot.read import open_snapshot
from components.views import embedding_atlas
from components.views.embedding_atlas import build_atlas, nearest, static_folder


def unit(n, dim=8):
    vectors = np.random.default_rng(7).normal(size=(n, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def a_snapshot(output, n, number=1):
    ids = [f"{i:032x}" for i in range(n)]
    rows = [
        {
            "id": id,
            "timestamp": datetime(2026, 1, 1, tzinfo=UTC),
            "filename": "a.jsonl",
            "text": "x" * 5_000,
            "iteration": 0,
            "idx_in_iteration": i,
            "type": "user",
            "projection_x": float(i),
            "projection_y": 0.0,
        }
        for i, id in enumerate(ids)
    ]
    logs = write_logs_part(output / "parts", f"{number}", [pa.Table.from_pylist(rows, schema=logs_schema())])
    order = list(range(n))[::-1]
    table = embeddings_table([ids[i] for i in order], unit(n)[order].astype(np.float16))
    parts = [logs, write_embeddings_part(output / "parts", f"{number}", [table])]
    manifest = Manifest(
        snapshot=number,
        dataset="default",
        layout=1,
        model="m",
        text_settings="t",
        dim=8,
        rows=n,
        parts=parts,
        created=datetime(2026, 1, 1, tzinfo=UTC),
    )
    install_snapshot(output, manifest, output / "parts", [Label(x=1, y=2, text="name", level=0, priority=1)])
    return open_snapshot(output)


@pytest.mark.parametrize("n", [0, 1, 2, 30])
def test_neighbours_are_stable_ids_nearest_first_and_never_null(tmp_path, n):
    folder = build_atlas(a_snapshot(tmp_path / "out", n), tmp_path / "cache")
    table = pq.read_table(folder / "dataset.parquet")
    assert table["__neighbors"].type == embedding_atlas.NEIGHBORS_TYPE
    assert table.num_rows == n
    assert table["__neighbors"].null_count == 0
    vectors = unit(n).astype(np.float16).astype(np.float32)
    for i, neighbors in enumerate(table["__neighbors"].to_pylist()):
        distances = 1 - vectors @ vectors[i]
        distances[i] = np.inf
        expected = np.argsort(distances)[: min(10, n - 1)]
        assert neighbors["ids"] == [f"{j:032x}" for j in expected]
        np.testing.assert_allclose(neighbors["distances"], distances[expected], atol=1e-5)


def test_beyond_the_limit_neighbours_are_empty_lists(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding_atlas, "EXACT_LIMIT", 5)
    folder = build_atlas(a_snapshot(tmp_path / "out", 6), tmp_path / "cache")
    assert pq.read_table(folder / "dataset.parquet")["__neighbors"].to_pylist() == [{"ids": [], "distances": []}] * 6


@pytest.mark.parametrize("k", [1, 5, 99])
def test_neighbours_are_exact(k):
    vectors = unit(100)
    rows, distances = nearest(vectors, k)
    similarity = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    np.fill_diagonal(similarity, -np.inf)
    np.testing.assert_array_equal(rows, np.argsort(-similarity, axis=1)[:, :k])
    np.testing.assert_allclose(distances, 1 - np.take_along_axis(similarity, rows, axis=1), atol=1e-6)


def test_types_are_those_that_embedding_atlas_charts(tmp_path):
    folder = build_atlas(a_snapshot(tmp_path / "out", 3), tmp_path / "cache")
    with duckdb.connect() as connection:
        types = connection.sql(f"select * from '{folder}/dataset.parquet'").types
    assert [str(t) for t in types[:7]] == [
        "VARCHAR",
        "TIMESTAMP WITH TIME ZONE",
        "VARCHAR",
        "VARCHAR",
        "INTEGER",
        "INTEGER",
        "VARCHAR",
    ]


def test_metadata_is_what_embedding_atlas_itself_would_write(tmp_path):
    from embedding_atlas.options import make_embedding_atlas_props

    folder = build_atlas(a_snapshot(tmp_path / "out", 3), tmp_path / "cache")
    found = orjson.loads((folder / "metadata.json").read_bytes())
    expected = make_embedding_atlas_props(
        row_id="id",
        x="projection_x",
        y="projection_y",
        text="text",
        neighbors="__neighbors",
        labels=[{"x": 1.0, "y": 2.0, "text": "name", "content": "name", "level": 0, "priority": 1.0}],
        initial_state=found["props"]["initialState"],
    )
    assert {name: found["props"][name] for name in expected} == expected
    assert found["props"]["defaultChartsConfig"]["embedding"]["data"]["category"] == "type"
    assert found["isStatic"] is True
    assert found["database"] == {"type": "wasm", "load": True}


def test_it_is_made_once_and_old_ones_go(tmp_path):
    cache = tmp_path / "cache"
    first = build_atlas(a_snapshot(tmp_path / "out", 3), cache)
    made = (first / "dataset.parquet").stat().st_mtime_ns
    assert build_atlas(open_snapshot(tmp_path / "out"), cache) == first
    assert (first / "dataset.parquet").stat().st_mtime_ns == made
    for number in (2, 3):
        build_atlas(a_snapshot(tmp_path / "out", 3 + number, number), cache)
    assert sorted(path.name for path in cache.iterdir()) == ["000002", "000003"]


def test_the_page_is_found_without_importing_embedding_atlas():
    assert (static_folder() / "index.html").exists()
    code = "import sys; from components.views.embedding_atlas import static_folder; static_folder(); print('embedding_atlas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
