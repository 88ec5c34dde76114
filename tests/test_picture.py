import io

import numpy as np
import pytest
from PIL import Image

from components.snapshot.manifest import Label
from components.views.png import BACKGROUND, COLOURS, NEW, draw_map

TYPES = ("user", "assistant", "tool_call")


def drawn(positions, types, is_new=None, labels=()):
    is_new = np.zeros(len(positions), bool) if is_new is None else is_new
    image = Image.open(io.BytesIO(draw_map(np.asarray(positions, np.float32).reshape(-1, 2), types, is_new, labels)))
    assert image.size == (1_200, 900)
    return np.asarray(image.convert("RGB"))


def near(image, colour):
    return (np.abs(image.astype(int) - np.array(colour)).sum(axis=2) < 60).sum()


@pytest.mark.parametrize("n", [0, 1, 2, 3, 1_000])
def test_any_number_of_records_gives_a_picture(n):
    image = drawn(np.random.default_rng(0).normal(size=(n, 2)), [TYPES[i % 3] for i in range(n)])
    assert (image != np.array(BACKGROUND)).any()


def test_records_at_one_position_or_on_one_line_are_drawn():
    assert near(drawn(np.ones((5, 2)), ["user"] * 5), COLOURS[0]) > 50
    assert near(drawn([[0, 1], [9, 1]], ["user"] * 2), COLOURS[0]) > 50


def test_each_type_has_its_colour_and_an_entry_in_the_legend():
    image = drawn([[0, 0], [5, 5], [0, 5]], TYPES)
    assert all(near(image[:, :1_000], COLOURS[i]) > 20 for i in range(3))
    assert all(near(image[:, 1_010:], COLOURS[i]) > 20 for i in range(3))


def test_new_records_are_marked():
    positions = [[0, 0], [5, 5]]
    assert near(drawn(positions, ["user"] * 2)[:, :1_000], NEW) == 0
    assert near(drawn(positions, ["user"] * 2, [False, True])[:, :1_000], NEW) > 10


def test_more_types_than_colours_share_the_last_one():
    n = 30
    drawn(np.random.default_rng(0).normal(size=(n, 2)), [f"type-{i}" for i in range(n)])


def test_labels_are_written_on_the_map():
    positions = np.random.default_rng(0).normal(size=(3, 2))
    bare = drawn(positions, TYPES)
    named = drawn(positions, TYPES, None, [Label(x=0, y=0, text="failing tests", level=0, priority=1)])
    assert (bare != named).any()


def test_a_hundred_thousand_records_are_shaded_by_density():
    positions = np.random.default_rng(0).normal(size=(100_000, 2))
    image = drawn(positions, ["user"] * len(positions)).astype(int)
    middle, rim = image[440:460, 495:515, 0].mean(), image[440:460, 150:170, 0].mean()
    assert middle < rim
