"""Arrow columns made of buffers equal those that pyarrow makes, and pandas is not imported for them."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components import arrow

texts = st.text(st.characters(exclude_categories=["Cs"]))
TIME = pa.timestamp("us", tz="UTC")


@given(st.lists(st.none() | texts))
def test_strings_are_what_pyarrow_makes_of_them(values: list[str | None]) -> None:
    made = arrow.strings(values)
    made.validate(full=True)
    assert made.equals(pa.array(values, pa.string()))


@given(st.lists(st.none() | st.datetimes(timezones=st.just(UTC)), max_size=30))
def test_times_are_what_pyarrow_makes_of_them(values: list[datetime | None]) -> None:
    made = arrow.times(values, TIME)
    made.validate(full=True)
    assert made.equals(pa.array(values, TIME))


def test_a_time_of_another_zone_is_the_same_moment() -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert arrow.times([noon], TIME).to_pylist() == [datetime(2026, 1, 1, 6, 30, tzinfo=UTC)]


@pytest.mark.parametrize("n", [0, 1, 7])
def test_numbers_come_back_as_they_went_in(n: int) -> None:
    values = np.arange(2 * n, dtype=np.float32)[::2]
    made = arrow.numbers(values, pa.float32())
    assert made.equals(pa.array(values, pa.float32()))
    assert np.array_equal(arrow.values_of(made), values)
    assert np.array_equal(arrow.values_of(pa.chunked_array([made, made.slice(n // 2)])), [*values, *values[n // 2 :]])


def test_lists_are_cut_where_the_offsets_say() -> None:
    made = arrow.lists(np.arange(5, dtype=np.float32), np.array([0, 2, 2, 5], np.int32), pa.list_(pa.float32()))
    made.validate(full=True)
    assert made.to_pylist() == [[0, 1], [], [2, 3, 4]]


@pytest.mark.slow
def test_a_process_that_indexes_a_few_records_never_imports_what_it_does_not_need(tmp_path) -> None:
    script = f"""
import sys
from pathlib import Path
from components.pipeline import Pipeline
from components.settings import LoadSettings, Settings
settings = Settings(home=Path({str(tmp_path)!r}) / "home", model="hash://8", load=LoadSettings(quiet_s=0))
with Pipeline(settings) as pipeline:
    pipeline.load([Path({str(tmp_path)!r}) / "a.jsonl"])
    print(pipeline.index().step)
print(sorted({{"pandas", "umap", "numba", "torch", "polars", "scipy", "prefect", "pyarrow.dataset"}} & set(sys.modules)))
"""
    lines = ['{"iteration": 0, "idx": %d, "type": "user", "text": "text %d"}\n' % (n, n) for n in range(40)]  # noqa: UP031
    (tmp_path / "a.jsonl").write_text("".join(lines))
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    (tmp_path / "a.jsonl").write_text("".join([*lines, lines[0].replace("text 0", "another")]))
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["transform", "[]"]
