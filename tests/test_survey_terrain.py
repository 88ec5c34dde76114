"""Hills, weights, metrics and downloads of a survey."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.errors import BadQuery
from components.survey import export
from components.survey.formulas import is_formula
from components.survey.hills import LARGEST_SHARE, MAX_HILLS, frequent_noise, merge_topics
from components.survey.metrics import compute_flatness, compute_gini_coefficient, metrics_of
from components.survey.stages import STEPS, percent, stage_of
from components.survey.table import read_table
from components.survey.terrain import (
    MIN_RADIUS,
    Hill,
    build_terrain,
    checked_weights,
    generate_color,
    height_map,
)


def hill(id: int, size: int, height: float = 10.0) -> Hill:
    place = {"x": 10.0 * id, "z": 5.0, "radius": 2.0, "color": "#000000"}
    return Hill(id=id, label="", description="", label_source="", size=size, original_height=height, **place)


# --- metrics


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30))
def test_gini_is_half_the_relative_mean_difference(sizes: list[float]) -> None:
    mean = sum(sizes) / len(sizes)
    differences = sum(abs(a - b) for a in sizes for b in sizes) / len(sizes) ** 2
    expected = differences / (2 * mean) if mean else 0.0
    assert compute_gini_coefficient(sizes) == pytest.approx(expected, abs=1e-9)


def test_equal_hills_are_flat_and_one_mountain_is_not() -> None:
    assert metrics_of([4, 4, 4]) == metrics_of([0.5, 0.5, 0.5])
    assert (metrics_of([4, 4, 4]).gini, metrics_of([4, 4, 4]).flatness) == (0.0, 1.0)
    steep = metrics_of([100, 0, 0, 0])
    assert (steep.gini, steep.gini_normalized, steep.flatness) == (0.75, 1.0, 0.25)


def test_nothing_is_flat() -> None:
    for sizes in ([], [0, 0], [7]):
        assert (metrics_of(sizes).gini, metrics_of(sizes).gini_normalized, metrics_of(sizes).flatness) == (0, 0, 1)
    assert compute_flatness([0.0]) == 1.0


# --- hills


def test_hundreds_of_topics_become_sixty_hills_and_none_takes_over() -> None:
    rng = np.random.default_rng(7)
    centroids = rng.normal(size=(300, 8)).astype(np.float32)
    centroids[:150] = centroids[0] + rng.normal(scale=0.01, size=(150, 8))  # half of all rows say nearly the same
    sizes = [10] * 300
    hills = merge_topics(centroids, sizes)
    shares = np.bincount(hills) / 300
    assert len(shares) == MAX_HILLS
    assert shares.max() <= LARGEST_SHARE
    assert list(shares) == sorted(shares, reverse=True)


def test_few_topics_stay_as_they_are_and_are_numbered_by_size() -> None:
    assert merge_topics(np.eye(3, dtype=np.float32), [5, 9, 7]).tolist() == [2, 0, 1]
    assert merge_topics(np.empty((0, 3), np.float32), []).tolist() == []


def test_one_text_in_many_rows_is_a_hill_and_in_few_rows_noise() -> None:
    vectors = np.array([7] * 12 + [8] * 3 + [9] * 4)
    topics = np.array([-1] * 15 + [0] * 4)
    assert frequent_noise(vectors, topics).tolist() == [1] * 12 + [-1] * 3 + [0] * 4


def test_hills_lie_on_the_grid_and_are_wide_enough_to_be_seen() -> None:
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1, 2, -1], [50, 20, 10, 5])
    positions = rng.normal(size=(85, 2)).astype(np.float32)
    positions[labels == 1] += 30
    positions[labels == 2] = (-4, 60)  # all at one place
    names = [(f"n{id}", "", "keywords") for id in range(3)]
    hills = build_terrain(positions, labels, names, [[], [], []], 100)
    assert [one.size for one in hills] == [50, 20, 10]
    assert [one.original_height for one in hills] == [10.0, 4.0, 2.0]
    assert all(0 <= value <= 99 for one in hills for value in (one.x, one.z))
    assert all(MIN_RADIUS <= one.radius <= 12 for one in hills)
    assert hills[2].radius == MIN_RADIUS
    assert build_terrain(positions[:0], labels[:0], [], [], 100) == []


def test_a_lower_mountain_stays_lower() -> None:
    """Scaling the surface to its old maximum would hide the adjustment."""
    hills = [hill(0, 100), hill(5, 10, height=1.0)]
    before, after = height_map(hills, {}, 64), height_map(hills, {0: 0.5}, 64)
    assert after[5, 0] == pytest.approx(before[5, 0] / 2, rel=1e-3)
    assert after[5, 50] == pytest.approx(before[5, 50], rel=1e-3)


def test_colours_differ() -> None:
    assert len({generate_color(id) for id in range(28)}) == 28


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -0.1, 1e9])
def test_weights_that_can_not_be_are_refused(weight: float) -> None:
    with pytest.raises(BadQuery, match="hill 0"):
        checked_weights([hill(0, 5)], {0: weight})


def test_weights_of_unknown_or_flat_hills_are_refused() -> None:
    with pytest.raises(BadQuery, match=r"no hill 3; there are: 0 to 0"):
        checked_weights([hill(0, 5)], {3: 1.0})
    with pytest.raises(BadQuery, match="original height of 0"):
        checked_weights([hill(0, 5, height=0.0)], {0: 2.0})
    assert checked_weights([hill(0, 5)], {0: 0.0}) == {0: 0.0}


def test_the_stages_follow_each_other_and_progress_never_falls() -> None:
    steps = ["parse", "fetch", "embed", "fit", "place", "keep positions", "publish", "sample", "label", "terrain"]
    assert set(STEPS) == {*steps, "refit"}
    assert list(dict.fromkeys(map(stage_of, steps))) == ["embedding", "clustering", "analyzing", "building_terrain"]
    progress = [percent(step, done, 4) for step in steps for done in range(5)]
    assert progress == sorted(progress)


# --- downloads


def written(folder: Path, *, n: int = 60) -> tuple[Path, np.ndarray]:
    file = folder / "t.csv"
    file.write_text("text,weight,Source_Row\r\n" + "".join(f"=word {n},-{n},x\r\n" for n in range(n)), "utf-8")
    return file, np.repeat([0, 1, -1], [n - 20, 15, 5])


def cells(download: export.Download) -> list[list[str]]:
    text = b"".join(export.csv_blocks(download)).decode("utf-8")
    return list(csv.reader(io.StringIO(text, newline="")))


def test_weighted_downloads_have_every_row_and_the_weight_of_its_hill(tmp_path: Path) -> None:
    file, hills = written(tmp_path)
    download = export.weighted("t", file, read_table(file), hills, {0: 0.25, 1: 2.0})
    header, *rows = cells(download)
    assert header == ["text", "weight", "Source_Row", "weight_2"]
    assert [row[3] for row in rows] == ["0.25"] * 40 + ["2"] * 15 + ["1"] * 5
    assert rows[7][:3] == ["'=word 7", "-7", "x"]
    assert export.count_guarded(download) == 60


@pytest.mark.parametrize("n", [None, 7, 600])
def test_resampled_downloads_have_the_shares_that_were_asked_for(n: int | None, tmp_path: Path) -> None:
    file, labels = written(tmp_path)
    hills = [hill(0, 40), hill(1, 15)]
    weights = {0: 0.375, 1: 1.0}  # 15 and 15, and 5 of no hill
    table = read_table(file)
    download = export.resampled("t", file, table, hills, labels, weights, n_rows=n, seed=3)
    header, *rows = cells(download)
    assert header[-1] == "source_row_2"
    numbers = [int(row[-1]) for row in rows]
    assert len(rows) == (n or 60)
    for group, share in ((0, 15 / 35), (1, 15 / 35), (-1, 5 / 35)):
        mine = [number for number in numbers if labels[number] == group]
        assert abs(len(mine) - share * len(rows)) <= 1
        repeats = [mine.count(number) for number in np.flatnonzero(labels == group)]
        assert max(repeats) - min(repeats) <= 1  # none again before all are taken
    assert all(row[0] == f"'=word {number}" for row, number in zip(rows, numbers, strict=True))
    again = export.resampled("t", file, table, hills, labels, weights, n_rows=n, seed=3)
    assert cells(again) == [header, *rows]


def test_nothing_can_be_taken_of_hills_that_are_all_flat(tmp_path: Path) -> None:
    file, labels = written(tmp_path)
    labels[labels < 0] = 0
    with pytest.raises(BadQuery, match="All weights are 0"):
        export.resampled(
            "t", file, read_table(file), [hill(0, 45), hill(1, 15)], labels, {0: 0, 1: 0}, n_rows=9, seed=0
        )


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=20).filter(lambda sizes: sum(sizes) > 0), st.integers(1, 500))
def test_quotas_add_up_and_are_within_one_of_their_share(sizes: list[float], n: int) -> None:
    quotas = export.largest_remainder(sizes, n)
    assert sum(quotas) == n
    assert all(abs(quota - size / sum(sizes) * n) <= 1 for quota, size in zip(quotas, sizes, strict=True))


def test_parquet_has_the_cells_without_guards(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    file, labels = written(tmp_path)
    target = tmp_path / "t.parquet"
    export.write_parquet(export.weighted("t", file, read_table(file), labels, {0: 0.5}), target)
    found = pq.read_table(target).to_pylist()
    assert found[3] == {"text": "=word 3", "weight": "-3", "Source_Row": "x", "weight_2": 0.5}


@pytest.mark.parametrize("cell", ["-12.50", "+3", "-0", "1e-3", "-.5", "\u22124", "-1.234,56", "plain", "", "-50%"])
def test_numbers_and_words_are_no_formulas(cell: str) -> None:
    assert not is_formula(cell)


@pytest.mark.parametrize("cell", ["=1", "+49 30 5", "-x", "@a", "\t1", "\rSUM", "--1", "-"])
def test_what_a_spreadsheet_would_run_is_guarded(cell: str) -> None:
    assert is_formula(cell)
