import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.publish.labels import LEVELS, SAMPLE, map_labels, regions, sample_rows, words_of
from components.publish.tables import labels_table
from components.snapshot.manifest import labels_schema


def two_hills(n=200):
    rng = np.random.default_rng(1)
    positions = np.concatenate([rng.normal(0, 0.3, (n, 2)), rng.normal(10, 0.3, (n, 2))]).astype(np.float32)
    texts = ["the failing parser raises an exception"] * n + ["deploy the kubernetes cluster tonight"] * n
    return positions, texts, ["user"] * (2 * n)


def test_regions_are_named_by_the_words_that_set_them_apart():
    labels = [label for label in map_labels(*two_hills()) if label.level == 0]
    assert len(labels) == 2
    by_position = sorted(labels, key=lambda label: label.x)
    assert set(by_position[0].text.split(", ")) <= {"failing", "parser", "raises", "exception"}
    assert set(by_position[1].text.split(", ")) <= {"deploy", "kubernetes", "cluster", "tonight"}
    assert abs(by_position[0].x) < 1
    assert abs(by_position[1].y - 10) < 1


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_few_records_get_at_most_one_name(n):
    labels = map_labels(np.zeros((n, 2), np.float32), ["some words here"] * n, ["user"] * n)
    assert len(labels) == min(n, 1)


def test_a_region_without_words_is_named_by_its_most_frequent_type():
    labels = map_labels(np.zeros((3, 2), np.float32), ['{"a": 1}', "0xdeadbeef", "/usr/lib/x"], ["tool_result"] * 3)
    assert [label.text for label in labels] == ["tool result"]


def test_labels_have_no_nulls_and_the_columns_that_embedding_atlas_reads():
    table = labels_table(map_labels(*two_hills()))
    assert table.schema == labels_schema()
    assert table["content"] == table["text"]
    assert sum(column.null_count for column in table.columns) == 0
    assert labels_table([]).num_rows == 0


def test_the_same_map_gets_the_same_names():
    assert map_labels(*two_hills()) == map_labels(*two_hills())


@pytest.mark.parametrize(
    "text",
    [
        "/home/me/project/src/main.rs",
        "https://example.org/some/page?query=words",
        '{"command": 1, "path_to": 2}',
        "3f2a9c deadbeef 0x7fff12",
        "QWxhZGRpbjpvcGVuIHNlc2FtZQZZZZZZ==",
        "getElementById self.assertEqual some_name()",
        "the and of return import none",
        "<div><span>",
    ],
)
def test_paths_addresses_keys_digests_and_code_are_no_words(text):
    assert words_of(text) == []


def test_other_scripts_have_words_too():
    assert words_of("Ошибка разбора файла") == ["ошибка", "разбора", "файла"]
    assert words_of("修复错误") == ["修复", "复错", "错误"]


@given(st.text(max_size=200))
def test_names_hold_no_control_characters(text):
    for label in map_labels(np.zeros((1, 2), np.float32), [text], [text]):
        assert label.text.isprintable()
        assert label.text


def test_at_most_a_sample_is_looked_at():
    rows = sample_rows(1_000_000)
    assert len(rows) == SAMPLE
    assert (np.diff(rows) > 0).all()
    assert rows[0] == 0
    assert rows[-1] == 999_999


def test_regions_cover_a_record_at_most_once():
    positions = np.random.default_rng(0).normal(size=(500, 2))
    for level in LEVELS:
        rows = np.concatenate(regions(positions, level.width, level.most))
        assert len(rows) == len(set(rows.tolist())) <= 500
