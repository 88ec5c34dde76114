"""Parts hold exactly the rows they were given, checked and packed well, and small ones are merged in tiers."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from publication import DIM, ids_of, logs_table, unit_vectors, write_pair

from components.publish.compaction import FAN_IN, MAX_PARTS, SMALL_DATASET_ROWS, YOUNG_DATASET_ROWS, tiers
from components.publish.parts import BadPart, merge_parts, write_embeddings_part, write_logs_part
from components.publish.tables import embeddings_table


@pytest.fixture
def output(tmp_path):
    return tmp_path / "output" / "default"


def test_declared_extras_become_columns_after_the_specified_ones(output):
    extras = [("model", pa.string()), ("tokens", pa.int64())]
    table = logs_table(0, 2).append_column("tokens", pa.array([1, None])).append_column("model", pa.array(["m", None]))
    write_logs_part(output / "parts", "a", [table], extras)
    written = pq.read_table(output / "parts" / "logs-a.parquet")
    assert written.column_names[-2:] == ["model", "tokens"]
    assert written["tokens"].to_pylist() == [1, None]


def test_small_batches_become_few_row_groups(output):
    part = write_logs_part(output / "parts", "a", (logs_table(i, 1) for i in range(50)))
    assert part.rows == 50
    assert pq.read_metadata(output / "parts" / part.file_name).num_row_groups == 1


@pytest.mark.parametrize("column", ["id", "text", "type", "iteration", "projection_x"])
def test_a_null_in_a_required_column_is_refused(output, column):
    table = logs_table(0, 2)
    at = table.column_names.index(column)
    table = table.set_column(at, table.schema.field(at), pa.nulls(2, table.schema.field(at).type))
    with pytest.raises(BadPart, match=column):
        write_logs_part(output / "parts", "a", [table])
    assert list((output / "parts").iterdir()) == []


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_position_or_vector_that_is_not_finite_is_refused(output, value):
    table = logs_table(0, 1).set_column(7, "projection_x", pa.array([value], pa.float32()))
    with pytest.raises(BadPart, match="finite"):
        write_logs_part(output / "parts", "a", [table])
    vectors = np.full((1, DIM), value, np.float16)
    with pytest.raises(BadPart, match="finite"):
        write_embeddings_part(output / "parts", "a", [embeddings_table(["a"], vectors)])


@pytest.mark.parametrize("kind", ["logs", "embeddings"])
def test_merged_parts_hold_the_same_rows_in_the_same_order(output, kind):
    for name, start in (("a", 0), ("b", 4)):
        write_pair(output / "parts", name, start, 4)
    paths = [output / "parts" / f"{kind}-{name}.parquet" for name in ("a", "b")]
    merged = merge_parts(kind, paths, output / "parts", "ab")
    assert merged.rows == 8
    together = pa.concat_tables([pq.read_table(path) for path in paths])
    assert pq.read_table(output / "parts" / merged.file_name) == together


def test_parts_of_different_columns_are_not_merged(output):
    write_logs_part(output / "parts", "a", [logs_table(0, 1)])
    extras = [("model", pa.string())]
    write_logs_part(output / "parts", "b", [logs_table(1, 1, extras)], extras)
    with pytest.raises(BadPart, match="model"):
        merge_parts("logs", [output / "parts" / f"logs-{n}.parquet" for n in "ab"], output / "parts", "ab")


def test_a_vector_costs_less_than_800_bytes(output):
    vectors = unit_vectors(0, 2_000, 384)
    part = write_embeddings_part(output / "parts", "a", [embeddings_table(ids_of(0, 2_000), vectors)])
    assert part.size_bytes / 2_000 <= 800


# --- tiers ------------------------------------------------------------------------------------------------------------


def compacted(parts, **options):
    by_name = dict(parts)
    for group in tiers(parts, **options):
        at = [name for name, _ in parts].index(group[0])
        assert [name for name, _ in parts[at : at + len(group)]] == group, "only neighbours are merged"
        parts[at : at + len(group)] = [("+".join(group[:1]) + f"x{len(group)}", sum(by_name[n] for n in group))]
    return parts


def test_a_small_dataset_is_one_file_of_each_kind():
    assert tiers([("a", 10)]) == []
    assert tiers([("a", SMALL_DATASET_ROWS - 3), ("b", 1), ("c", 2)]) == [["a", "b", "c"]]


@settings(deadline=None)
@given(st.integers(1, 3_000), st.integers(SMALL_DATASET_ROWS, YOUNG_DATASET_ROWS))
def test_a_young_dataset_is_rewritten_only_for_an_eighth_of_it_or_an_eighth_file(new, old):
    parts = [("old", old)]
    for step in range(20):
        parts.append((str(step), new))
        total, largest = sum(rows for _, rows in parts), max(rows for _, rows in parts)
        if total > YOUNG_DATASET_ROWS:
            break
        is_rewritten = bool(tiers(parts))
        assert is_rewritten == (len(parts) == FAN_IN or 8 * (total - largest) >= total or total <= SMALL_DATASET_ROWS)
        parts = compacted(parts)
        assert len(parts) < FAN_IN


def test_publication_costs_what_is_new():
    parts, rewritten, worst = [], 0, 0
    for step in range(1_000):
        parts.append((str(step), 1_000))
        names = dict(parts)
        cost = sum(names[name] for group in tiers(parts) for name in group)
        rewritten += cost
        worst = max(worst, cost)
        parts = compacted(parts)
        assert len(parts) <= 40
    assert sum(rows for _, rows in parts) == 1_000_000
    assert rewritten <= 4_500_000, "each row is rewritten a few times in the life of a dataset"
    assert worst <= 250_000


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([1, 7, 300, 5_000, 40_000, 130_000, 250_000]), min_size=1, max_size=300))
def test_there_are_never_more_than_a_hundred_parts(sizes):
    parts = []
    for step, size in enumerate(sizes):
        parts = compacted([*parts, (f"p{step}", size)])
        assert len(parts) <= MAX_PARTS
    assert sum(rows for _, rows in parts) == sum(sizes)
