"""Maps as plain geometry: size, movement, overlay, and the decision when a new map is due."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.projector.geometry import aligned, displacement, placement, radius


def cloud(n=200, seed=0):
    return np.random.default_rng(seed).normal(scale=[4.0, 1.0], size=(n, 2)).astype(np.float32)


def turned(positions, angle, *, mirrored=False):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (positions @ turn * ([1, -1] if mirrored else [1, 1])).astype(np.float32)


def test_without_a_map_one_is_fitted():
    for recompute in (False, True):
        assert placement(has_layout=False, recompute=recompute, n_fitted=0, n_total=9, young=10_000) == "fit"


def test_recompute_refits_whatever_the_size():
    assert placement(has_layout=True, recompute=True, n_fitted=50_000, n_total=50_001, young=10_000) == "refit"


@pytest.mark.parametrize(
    ("n_total", "step"), [(101, "transform"), (199, "transform"), (200, "refit"), (5_000, "refit")]
)
def test_a_young_map_is_refitted_when_its_data_has_doubled(n_total, step):
    assert placement(has_layout=True, recompute=False, n_fitted=100, n_total=n_total, young=10_000) == step


def test_an_old_map_is_only_placed_on():
    assert placement(has_layout=True, recompute=False, n_fitted=10_000, n_total=10**7, young=10_000) == "transform"


def test_an_empty_map_is_refitted_as_soon_as_there_is_anything():
    assert placement(has_layout=True, recompute=False, n_fitted=0, n_total=1, young=10_000) == "refit"


def test_the_radius_of_a_circle_is_its_radius():
    angles = np.linspace(0, 2 * np.pi, 100, endpoint=False)
    ring = (3 * np.stack([np.cos(angles), np.sin(angles)], axis=1) + 100).astype(np.float32)
    assert radius(ring) == pytest.approx(3, rel=1e-5)
    assert radius(ring[:0]) == 0.0
    assert radius(ring[:1]) == 0.0


def test_displacement_is_the_mean_move_in_radii():
    positions = cloud()
    shift = np.array([3.0, 4.0], np.float32)
    assert displacement(positions, positions) == 0.0
    assert displacement(positions, positions + shift) == pytest.approx(5 / radius(positions), rel=1e-5)
    assert displacement(positions[:1], positions[:1] + shift) == 0.0


@given(st.floats(0, 6.28), st.booleans(), st.floats(-50, 50))
def test_a_map_that_was_only_moved_as_a_whole_lies_over_the_old_one_again(angle, mirrored, shift):
    old = cloud()
    moved = turned(old, angle, mirrored=mirrored) + np.float32(shift)
    assert np.allclose(aligned(moved, old), old, atol=1e-3)


def test_rows_that_were_not_on_the_old_map_follow_the_others():
    whole = cloud()
    old = whole.copy()
    old[50:] = np.nan
    assert np.allclose(aligned(turned(whole, 1.0) + 7, old), whole, atol=1e-3)


def test_a_map_is_never_scaled_to_the_old_one():
    old = cloud()
    assert radius(aligned(3 * turned(old, 0.5), old)) == pytest.approx(3 * radius(old), rel=1e-4)


def test_with_nothing_to_lie_over_a_map_stays_where_it_is():
    positions = cloud()
    assert np.array_equal(aligned(positions, np.full_like(positions, np.nan)), positions)
    assert np.isfinite(aligned(np.zeros((5, 2), np.float32), positions[:5])).all()
