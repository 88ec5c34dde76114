"""Damage to a snapshot is found, and the report says where."""

import numpy as np
import pytest
from publication import failing, ids_of, logs_table, publish, unit_vectors, write_pair

from components.publish.parts import write_embeddings_part, write_logs_part
from components.publish.tables import embeddings_table
from components.snapshot.read import open_snapshot
from components.snapshot.verify import check_snapshot


@pytest.fixture
def output(tmp_path):
    return tmp_path / "output" / "default"


@pytest.fixture
def published(output):
    parts = write_pair(output / "parts", "a", 0, 5) + write_pair(output / "parts", "b", 5, 3)
    publish(output, 1, parts)
    return parts


def damage(path):
    """Another file in its place: the parts of a snapshot share their bytes with `parts/`."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    path.write_bytes(content)


def test_a_changed_part_is_found(output, published):
    damage(open_snapshot(output).logs_files[1])
    assert (
        "logs/part-00001.parquet"
        in failing(check_snapshot(open_snapshot(output).path))["parts are the ones in the manifest"]
    )


def test_a_missing_part_and_a_missing_manifest_are_found(output, published):
    snapshot = open_snapshot(output)
    snapshot.embeddings_files[0].unlink()
    assert {"parts are the ones in the manifest", "rows are as many as the manifest says"} <= set(
        failing(check_snapshot(snapshot.path))
    )
    (snapshot.path / "manifest.json").unlink()
    assert set(failing(check_snapshot(snapshot.path))) == {"manifest is readable"}


def test_ids_that_differ_between_the_outputs_or_repeat_are_found(output):
    folder = output / "parts"
    logs = write_logs_part(folder, "a", [logs_table(0, 2)])
    other = write_embeddings_part(folder, "a", [embeddings_table(ids_of(1, 2), unit_vectors(0, 2))])
    publish(output, 1, [logs, other])
    name = "ids are unique and equal in both outputs"
    assert failing(check_snapshot(open_snapshot(output).path)) == {name: "logs and embeddings hold different ids"}
    twice = write_embeddings_part(folder, "b", [embeddings_table(ids_of(0, 1) * 2, unit_vectors(0, 2))])
    publish(output, 2, [logs, twice])
    assert failing(check_snapshot(open_snapshot(output).path)) == {name: "1 ids occur more than once in embeddings"}


def test_vectors_that_are_not_of_unit_length_are_found(output):
    logs = write_logs_part(output / "parts", "a", [logs_table(0, 2)])
    halves = embeddings_table(ids_of(0, 2), unit_vectors(0, 2) / np.float16(2))
    publish(output, 1, [logs, write_embeddings_part(output / "parts", "a", [halves])])
    assert list(failing(check_snapshot(open_snapshot(output).path)).values()) == ["2 vectors are not of unit length"]
