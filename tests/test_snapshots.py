"""What readers find in a published snapshot, whatever reads it."""

from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from publication import failing, ids_of, logs_table, manifest_of, publish, unit_vectors, write_pair

from components.errors import NotFound
from components.publish.parts import write_embeddings_part, write_logs_part
from components.snapshot.export import export
from components.snapshot.read import (
    current_number,
    map_columns,
    new_since,
    open_snapshot,
    previous_snapshot,
    records_at,
)
from components.snapshot.verify import check_snapshot


@pytest.fixture
def output(tmp_path):
    return tmp_path / "output" / "default"


@pytest.fixture
def published(output):
    parts = write_pair(output / "parts", "a", 0, 5) + write_pair(output / "parts", "b", 5, 3)
    publish(output, 1, parts)
    return parts


def test_a_published_snapshot_keeps_all_its_promises(output, published):
    snapshot = open_snapshot(output)
    assert snapshot.number == current_number(output) == 1
    assert snapshot.manifest == manifest_of(1, [p for k in ("logs", "embeddings") for p in published if p.kind == k])
    assert (output / "current").readlink() == Path("snapshots/000001")
    assert failing(check_snapshot(snapshot.path)) == {}


def test_columns_have_exactly_the_types_of_the_specification(output, published):
    logs = pq.read_schema(open_snapshot(output).logs_files[0])
    assert [(field.name, str(field.type)) for field in logs] == [
        ("id", "string"),
        ("timestamp", "timestamp[us, tz=UTC]"),
        ("filename", "string"),
        ("text", "string"),
        ("iteration", "int32"),
        ("idx_in_iteration", "int32"),
        ("type", "string"),
        ("projection_x", "float"),
        ("projection_y", "float"),
    ]
    embeddings = pq.read_schema(open_snapshot(output).embeddings_files[0])
    assert embeddings.equals(pa.schema([("id", pa.string()), ("vector", pa.list_(pa.float32()))]))


def test_polars_reads_what_was_published(output, published):
    logs = pl.read_parquet(output / "current" / "logs" / "*.parquet")
    assert logs["id"].to_list() == ids_of(0, 8)
    assert logs.schema["timestamp"] == pl.Datetime("us", "UTC")
    assert logs.schema["iteration"] == pl.Int32
    assert logs.schema["type"] == pl.String
    vectors = pl.read_parquet(output / "current" / "embeddings" / "*.parquet")
    assert vectors.schema["vector"] == pl.List(pl.Float32)
    np.testing.assert_array_equal(np.array(vectors["vector"].to_list()[:5]), unit_vectors(0, 5).astype(np.float32))


def test_duckdb_reads_what_was_published(output, published):
    with duckdb.connect() as connection:
        logs = connection.sql(f"select * from '{output}/current/logs/*.parquet'")
        assert [str(t) for t in logs.types] == [
            "VARCHAR",
            "TIMESTAMP WITH TIME ZONE",
            "VARCHAR",
            "VARCHAR",
            "INTEGER",
            "INTEGER",
            "VARCHAR",
            "FLOAT",
            "FLOAT",
        ]
        vectors = connection.sql(f"select vector from '{output}/current/embeddings/*.parquet' order by id")
        assert [str(t) for t in vectors.types] == ["FLOAT[]"]
        np.testing.assert_array_equal([row[0] for row in vectors.fetchall()][:5], unit_vectors(0, 5).astype(np.float32))


def test_labels_are_published_as_embedding_atlas_wants_them(output, published):
    labels = pq.read_table(open_snapshot(output).labels_file)
    assert labels.to_pylist() == [
        {"x": 0.0, "y": 1.0, "text": "tests, failing", "content": "tests, failing", "level": 0, "priority": 3.0}
    ]


def test_an_empty_dataset_is_a_valid_snapshot(output):
    publish(output, 1, [write_logs_part(output / "parts", "a", []), write_embeddings_part(output / "parts", "a", [])])
    assert failing(check_snapshot(open_snapshot(output).path)) == {}
    assert pl.read_parquet(output / "current" / "logs" / "*.parquet").height == 0
    assert map_columns(open_snapshot(output))["ids"] == []


def test_an_export_is_two_plain_files(output, published, tmp_path):
    files = export(open_snapshot(output), tmp_path / "plain")
    assert [file.name for file in files] == ["logs.parquet", "embeddings.parquet"]
    assert sorted(p.name for p in (tmp_path / "plain").iterdir()) == ["embeddings.parquet", "logs.parquet"]
    assert pq.read_table(files[0]) == pa.concat_tables([logs_table(0, 5), logs_table(5, 3)])
    assert pl.read_parquet(files[1])["id"].to_list() == ids_of(0, 8)


def test_records_are_found_by_their_row(output, published):
    snapshot = open_snapshot(output)
    assert [record["id"] for record in records_at(snapshot, [6, 0, 6])] == [
        ids_of(6, 1)[0],
        *ids_of(0, 1),
        *ids_of(6, 1),
    ]
    with pytest.raises(NotFound, match="row 8"):
        records_at(snapshot, [8])


def test_map_columns_hold_what_a_page_draws(output, published):
    columns = map_columns(open_snapshot(output))
    assert columns["ids"] == ids_of(0, 8)
    np.testing.assert_array_equal(columns["x"], np.arange(8, dtype=np.float32))
    assert [columns["types"][code] for code in columns["type"]] == ["user", "assistant"] * 4
    assert [columns["filenames"][code] for code in columns["filename"]] == [f"run-{i % 3}.jsonl" for i in range(8)]
    moment = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    np.testing.assert_array_equal(columns["timestamp"], [np.nan, moment] * 4)


def test_new_are_the_records_that_the_newest_earlier_snapshot_does_not_hold(output, published):
    assert new_since(previous_snapshot(open_snapshot(output)), ids_of(0, 8)).tolist() == [False] * 8
    more = published + write_pair(output / "parts", "c", 8, 2)
    publish(output, 3, more)
    for leftover in ("000002-ab12.tmp", ".del-000002-ab12"):
        (output / "snapshots" / leftover).mkdir()
    previous = previous_snapshot(open_snapshot(output))
    assert previous is not None
    assert previous.number == 1
    assert new_since(previous, ids_of(0, 10)).tolist() == [False] * 8 + [True] * 2


def test_a_previous_snapshot_that_is_being_removed_is_passed_over(output, published):
    for number in (2, 3):
        publish(output, number, published)
    (output / "snapshots" / "000002" / "manifest.json").unlink()
    previous = previous_snapshot(open_snapshot(output))
    assert previous is not None
    assert previous.number == 1
