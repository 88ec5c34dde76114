"""Fit, place, refit: valid maps at any size, places that depend on nothing but their vector, maps that stay still."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from functools import cache as once
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.map_quality import quality_of_map, quality_of_placed
from components.contracts import Layout, Projector
from components.errors import DimensionMismatch, EmbeddingFailed, NotFound
from components.neighbors import knn
from components.neighbors.cores import on_all_cores, products_on_one_core
from components.projector import kernels
from components.projector.geometry import radius
from components.projector.layout import read_folder, write_folder
from components.projector.umap_projector import open_projector
from components.settings import ProjectSettings

root = Path(__file__).parents[1]


@once
def clustered(n, *, dim=64, clusters=40, seed=0):
    """Unit vectors in clusters of unequal size, each a few dimensions thick, and some noise between them."""
    random = np.random.default_rng(seed)
    share = 1 / np.arange(1, clusters + 1)
    centres = random.normal(size=(clusters, dim))
    axes = random.normal(size=(clusters, 6, dim)) * 0.35
    which = random.choice(clusters, n, p=share / share.sum())
    inside = np.einsum("ni,nid->nd", random.normal(size=(n, 6)), axes[which])
    vectors = centres[which] + inside + random.normal(size=(n, dim)) * 0.25
    noise = random.random(n) < 0.03
    vectors[noise] = random.normal(size=(int(noise.sum()), dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def unplaced(n):
    return np.full((n, 2), np.nan, np.float32)


@pytest.fixture(scope="session")
def cache(pytestconfig):
    """Compiled kernels outlive the test run, as they outlive a process in use."""
    return Path(pytestconfig.cache.mkdir("kernels"))


@pytest.fixture(scope="session")
def projector(cache):
    return open_projector(ProjectSettings(), cache)


@pytest.fixture(scope="session")
def layout(projector):
    return projector.fit(clustered(1_600)[:1_200])


@pytest.fixture(scope="session")
def new():
    """Vectors like the fitted ones that the map does not know."""
    return clustered(1_600)[1_200:]


@pytest.fixture(scope="session")
def together(layout, new):
    """The positions of `new`, placed in one call."""
    return layout.transform(new).positions


# --- any number of vectors gives a valid map ---------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 14, 15, 16, 17, 40])
def test_any_number_of_vectors_gives_a_finite_map_that_can_be_placed_on(projector, n):
    vectors = clustered(80)
    fitted = projector.fit(vectors[:n])
    assert fitted.positions.shape == (n, 2)
    assert fitted.positions.dtype == np.float32
    assert np.isfinite(fitted.positions).all()
    assert fitted.n_fitted == n
    assert len(np.unique(fitted.positions, axis=0)) == n
    placed = fitted.transform(vectors[40:])
    assert placed.positions.shape == (40, 2)
    assert placed.positions.dtype == np.float32
    assert np.isfinite(placed.positions).all()
    assert placed.off_map.shape == (40,)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 30, 300])
def test_equal_vectors_give_a_finite_map(projector, n):
    vectors = np.repeat(clustered(80)[:1], n, axis=0)
    fitted = projector.fit(vectors)
    assert np.isfinite(fitted.positions).all()
    assert np.isfinite(fitted.transform(vectors).positions).all()


def test_one_giant_cluster_of_nearly_equal_vectors_gives_a_finite_map(projector):
    random = np.random.default_rng(1)
    vectors = clustered(80)[:1] + random.normal(scale=1e-4, size=(400, 64)).astype(np.float32)
    fitted = projector.fit(knn.unit(vectors))
    assert np.isfinite(fitted.positions).all()
    assert 0 < radius(fitted.positions) < 100


def test_projector_and_layout_satisfy_their_protocols(projector, layout):
    as_projector: Projector = projector
    as_layout: Layout = layout
    assert as_projector is projector
    assert as_layout.arrays()["places"] is layout.positions
    assert all(array.dtype != object for array in layout.arrays().values())


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, 30.0])
def test_what_is_no_unit_vector_is_refused_by_name(projector, layout, bad):
    vectors = clustered(80)[:20].copy()
    vectors[7] = bad
    with pytest.raises(EmbeddingFailed, match="Vector 7 "):
        projector.fit(vectors)
    with pytest.raises(EmbeddingFailed, match="Vector 7 "):
        layout.transform(vectors)


def test_vectors_of_another_dimension_are_refused_with_the_way_out(layout, projector):
    with pytest.raises(DimensionMismatch, match="recompute"):
        layout.transform(clustered(80, dim=32))
    with pytest.raises(DimensionMismatch, match="recompute"):
        projector.open(layout.arrays(), clustered(80, dim=32))
    with pytest.raises(DimensionMismatch, match="recompute"):
        projector.open(layout.arrays(), clustered(80))
    with pytest.raises(DimensionMismatch, match="positions"):
        projector.refit(clustered(80), unplaced(79))


def test_placing_nothing_gives_nothing(layout):
    placed = layout.transform(clustered(80)[:0])
    assert placed.positions.shape == (0, 2)
    assert placed.off_map.shape == (0,)


# --- a place depends on its own vector alone ------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 16, 31, 64, 100, 257])
def test_a_record_lands_at_the_same_bits_alone_and_in_a_batch(layout, size):
    new = clustered(1_600)[1_200:]
    together = layout.transform(new)
    for start in range(0, len(new), max(size, 40)):
        part = layout.transform(new[start : start + size])
        assert np.array_equal(part.positions, together.positions[start : start + size])
        assert np.array_equal(part.off_map, together.off_map[start : start + size])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.integers(0, 399), min_size=1, max_size=60))
def test_order_and_company_change_no_place(layout, rows, new, together):
    assert np.array_equal(layout.transform(new[rows]).positions, together[rows])


def test_neighbours_that_single_precision_cannot_tell_apart_are_ranked_the_same_in_any_batch(projector):
    random = np.random.default_rng(2)
    dense = knn.unit(clustered(80)[:1] + random.normal(scale=3e-5, size=(260, 64)).astype(np.float32))
    fitted = projector.fit(dense[:200])
    alone = np.concatenate([fitted.transform(dense[i : i + 1]).positions for i in range(200, 260)])
    assert np.array_equal(alone, fitted.transform(dense[200:]).positions)


def test_threads_change_no_place(layout, monkeypatch, new, together):
    monkeypatch.setattr("components.projector.layout.placed_rows", 64)
    monkeypatch.setattr("components.neighbors.cores.cores", lambda: 3)
    assert np.array_equal(layout.transform(new).positions, together)


def test_a_fitted_vector_is_placed_where_it_was_fitted(layout):
    again = layout.transform(clustered(1_600)[:1_200])
    assert np.array_equal(again.positions, layout.positions)


def test_placing_moves_nothing(layout):
    before = layout.positions.copy()
    layout.transform(clustered(1_600)[1_200:])
    assert np.array_equal(layout.positions, before)


# --- a fresh process --------------------------------------------------------------------------------------------


FRESH = """
import sys
sys.path[:0] = [{root!r}, {tests!r}]
from pathlib import Path
from test_projector import clustered
from components.projector.umap_projector import open_projector
from components.projector.layout import read_folder
from components.settings import ProjectSettings
import hashlib
if {folder!r}:
    places = read_folder(Path({folder!r})).transform(clustered(1_600)[1_200:]).positions
    assert "umap" not in sys.modules and "numba" not in sys.modules and "scipy" not in sys.modules
else:
    places = open_projector(ProjectSettings(), Path({cache!r})).fit(clustered(1_600)[:1_200]).positions
print(hashlib.sha256(places.tobytes()).hexdigest())
"""


def in_a_fresh_process(cache, folder=""):
    return python(FRESH.format(root=str(root), tests=str(root / "tests"), cache=str(cache), folder=str(folder)))


def python(code):
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def sha256(positions):
    return hashlib.sha256(positions.tobytes()).hexdigest()


@pytest.mark.slow
def test_the_same_vectors_give_the_same_map_in_a_fresh_process(cache, layout):
    assert in_a_fresh_process(cache) == sha256(layout.positions)


def test_a_fresh_process_places_from_a_folder_without_umap_at_the_same_bits(cache, layout, tmp_path, together):
    write_folder(layout, tmp_path / "map")
    assert in_a_fresh_process(cache, tmp_path / "map") == sha256(together)


COMPILED = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from components.projector.umap_projector import warm_kernels
warm_kernels(Path({cache!r}))
from umap import layouts, umap_
kernels = layouts._nb_optimize_layout_euclidean_single_epoch, umap_.smooth_knn_dist, umap_.compute_membership_strengths
print(sum(sum(kernel.stats.cache_misses.values()) for kernel in kernels))
"""


@pytest.mark.slow
def test_a_fresh_process_compiles_nothing_that_was_compiled_before(cache, layout):
    assert layout.n_fitted  # compiled by now
    assert python(COMPILED.format(root=str(root), cache=str(cache))) == "0"


# --- keeping a map ------------------------------------------------------------------------------------------------


def test_arrays_and_vectors_open_the_same_map(projector, layout, tmp_path, new, together):
    np.savez(tmp_path / "map.npz", **layout.arrays())
    with np.load(tmp_path / "map.npz", allow_pickle=False) as file:
        opened = projector.open(dict(file), clustered(1_600)[:1_200])
    assert np.array_equal(opened.positions, layout.positions)
    assert np.array_equal(opened.transform(new).positions, together)


def test_float16_vectors_from_a_store_open_and_place(projector, layout, together):
    stored = clustered(1_600).astype(np.float16).astype(np.float32)
    opened = projector.open(layout.arrays(), stored[:1_200])
    moves = np.linalg.norm(opened.transform(stored[1_200:]).positions - together, axis=1)
    assert np.median(moves) < 0.05 * radius(layout.positions)


def test_a_folder_holds_the_map_and_is_replaced_whole(layout, projector, tmp_path, new, together):
    folder = tmp_path / "layouts" / "7"
    write_folder(projector.fit(clustered(80)), folder)
    write_folder(layout, folder)
    opened = read_folder(folder)
    assert np.array_equal(opened.transform(new).positions, together)
    assert [path.name for path in folder.parent.iterdir()] == ["7"]


@pytest.mark.parametrize("damage", ["missing", "empty", "short", "no arrays"])
def test_a_folder_that_is_not_whole_is_told_apart(layout, tmp_path, damage):
    folder = tmp_path / "map"
    if damage != "missing":
        write_folder(layout, folder)
    if damage == "empty":
        (folder / "layout.npz").write_bytes(b"")
    if damage == "short":
        np.save(folder / "vectors.npy", clustered(80))
    if damage == "no arrays":
        np.savez(folder / "layout.npz", positions=layout.positions)
    with pytest.raises(NotFound, match="map"):
        read_folder(folder)


# --- large maps: lists and landmarks ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large():
    vectors = knn.unit(clustered(knn.lists_from + 500, dim=32, clusters=300))
    return vectors[: knn.lists_from], vectors[knn.lists_from :]


def test_a_large_index_finds_the_neighbours_that_a_search_of_all_finds(large):
    fitted, new = large
    index = knn.index_of(fitted, seed=1)
    assert 1 < index.n_probed < len(index.centroids) / 3
    everything = knn.listed(fitted, np.zeros(len(fitted), np.int32), np.zeros((1, 32), np.float32), 1)
    truth = everything.nearest(new, 15)
    found = index.nearest(new, 15)
    assert knn.recall(found, truth) >= 0.97
    alone = [index.nearest(new[i : i + 1], 15) for i in range(0, 500, 25)]
    assert np.array_equal(np.vstack([one.rows for one in alone]), found.rows[::25])
    assert np.array_equal(np.vstack([one.distances for one in alone]), found.distances[::25])
    assert np.array_equal(np.sort(index.order), np.arange(len(fitted)))
    again = knn.listed(fitted, index.lists, index.centroids, index.n_probed)
    assert np.array_equal(again.nearest(new, 15).rows, found.rows)


def test_exact_search_finds_what_sorting_all_distances_finds():
    vectors = knn.unit(clustered(1_600))
    found = knn.index_of(vectors[:1_200], seed=1).nearest(vectors[1_200:], 15)
    distances = 1 - vectors[1_200:].astype(np.float64) @ vectors[:1_200].astype(np.float64).T
    assert np.array_equal(found.rows, np.argsort(distances, axis=1)[:, :15])
    assert np.allclose(found.distances, np.sort(distances, axis=1)[:, :15], atol=1e-7)


def test_the_largest_scores_are_found_wherever_they_stand():
    random = np.random.default_rng(5)
    scattered = random.normal(size=(20, 9_000)).astype(np.float32)
    bunched = np.sort(scattered, axis=1)
    equal = np.zeros((3, 9_000), np.float32)
    padded = np.full((4, 9_000), -np.inf, np.float32)
    padded[:, :70] = scattered[:4, :70]
    for scores in (scattered, bunched, equal, padded, scattered[:, :100], scattered[:0]):
        picked = np.take_along_axis(scores, knn.largest(scores, 32), axis=1)
        assert np.array_equal(np.sort(picked, axis=1), np.sort(scores, axis=1)[:, -32:])
        assert all(len(set(columns)) == 32 for columns in knn.largest(scores, 32).tolist())


def test_products_are_spread_again_when_the_last_user_of_one_core_has_left():
    from threadpoolctl import threadpool_info

    def limits() -> list[int]:
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    before = limits()
    with products_on_one_core():
        assert list(on_all_cores(lambda n: n * n, range(20))) == [n * n for n in range(20)]
        assert set(limits()) == {1}
    assert limits() == before


def test_an_error_in_one_part_ends_them_all():
    done = []

    def work(n: int) -> None:
        if n == 3:
            raise ValueError(n)
        done.append(n)

    with pytest.raises(ValueError, match="3"):
        list(on_all_cores(work, range(10_000)))
    assert len(done) < 1_000


# --- quality, against umap's own ----------------------------------------------------------------------------------


class ExactSearch:
    """What umap asks of a search index, answered exactly."""

    _angular_trees = True

    def __init__(self, vectors):
        self.index = knn.index_of(vectors, seed=0)

    def query(self, queries, k, epsilon):
        near = self.index.nearest(knn.unit(queries), k)
        return near.rows.astype(np.int32), near.distances.astype(np.float32)


def umap_on(layout, vectors, cache):
    """An `umap.UMAP` that holds our map, and finds exact neighbours: the oracle of placing."""
    from components.projector.kernels import umap_kernels

    with umap_kernels(cache) as kernels:
        near = knn.around(knn.index_of(vectors, seed=0), vectors, 15)
        search = ExactSearch(vectors)
        precomputed = (near.rows.astype(np.int32), near.distances.astype(np.float32), search)
        oracle = kernels.UMAP(metric="cosine", random_state=1, n_epochs=11, init="random", precomputed_knn=precomputed)
        oracle.fit(vectors)
    oracle._knn_search_index, oracle._small_data = search, False
    oracle.embedding_, oracle.n_epochs = layout.positions, None
    return oracle


def assert_places_as_well_as_umap(projector, vectors, n_fitted, cache):
    fitted, new = vectors[:n_fitted], vectors[n_fitted:]
    layout = projector.fit(fitted)
    ours = quality_of_placed(new, layout.transform(new).positions, fitted, layout.positions)
    theirs = quality_of_placed(new, umap_on(layout, fitted, cache).transform(new), fitted, layout.positions)
    assert ours.trustworthiness >= 0.99 * theirs.trustworthiness
    assert ours.recall >= 0.95 * theirs.recall


def assert_refit_stays_and_is_as_good_as_a_new_fit(projector, vectors, n_old):
    old = projector.fit(vectors[:n_old])
    new = projector.refit(vectors, np.vstack([old.positions, unplaced(len(vectors) - n_old)]))
    moves = np.linalg.norm(new.positions[:n_old] - old.positions, axis=1).mean() / radius(old.positions)
    assert new.displacement == pytest.approx(moves, rel=1e-4)
    assert new.displacement <= 0.10
    cold = quality_of_map(vectors, projector.fit(vectors).positions)
    assert quality_of_map(vectors, new.positions).trustworthiness >= cold.trustworthiness - 0.005


def test_placed_records_lie_as_well_as_umap_would_place_them(projector, cache):
    assert_places_as_well_as_umap(projector, knn.unit(clustered(1_600)), 1_200, cache)


@pytest.mark.slow
def test_placed_records_lie_as_well_as_umap_would_place_them_on_a_larger_map(projector, cache):
    assert_places_as_well_as_umap(projector, knn.unit(clustered(9_000, dim=384, clusters=200, seed=3)), 8_000, cache)


def test_a_refit_after_a_fifth_more_stays_still_and_is_as_good_as_a_new_fit(projector):
    assert_refit_stays_and_is_as_good_as_a_new_fit(projector, clustered(1_440, seed=5), 1_200)


@pytest.mark.slow
def test_a_map_that_grew_by_doublings_is_nearly_as_good_as_a_new_one(projector):
    vectors = clustered(4_000, dim=384, clusters=120, seed=6)
    layout = projector.fit(vectors[:500])
    for n in (1_000, 2_000, 4_000):
        layout = projector.refit(vectors[:n], np.vstack([layout.positions, unplaced(n - layout.n_fitted)]))
    cold = projector.fit(vectors)
    assert 0.5 * radius(cold.positions) < radius(layout.positions) < 2 * radius(cold.positions)
    kept = quality_of_map(vectors, layout.positions).trustworthiness
    assert kept >= quality_of_map(vectors, cold.positions).trustworthiness - 0.01


@pytest.mark.slow
def test_our_fit_is_as_good_as_umaps_own(projector, cache):
    from components.projector.kernels import umap_kernels

    vectors = clustered(1_600)[:1_200]
    with umap_kernels(cache) as kernels:
        theirs = kernels.UMAP(metric="cosine", random_state=42).fit_transform(vectors)
    ours = quality_of_map(vectors, projector.fit(vectors).positions)
    assert ours.trustworthiness >= quality_of_map(vectors, theirs).trustworthiness - 0.005


def test_a_refit_of_hardly_anything_known_is_a_new_map_laid_over(projector):
    vectors = clustered(80)
    old = projector.fit(vectors[:5])
    new = projector.refit(vectors, np.vstack([old.positions, unplaced(75)]))
    assert np.isfinite(new.positions).all()
    assert radius(new.positions) > radius(old.positions)
    assert np.isfinite(new.displacement)


def test_refitting_without_any_old_place_is_a_fit(projector):
    vectors = clustered(80)
    fitted = projector.refit(vectors, unplaced(80))
    assert fitted.displacement is None
    assert np.array_equal(fitted.positions, projector.fit(vectors).positions)


# --- drift --------------------------------------------------------------------------------------------------------


def test_records_like_the_fitted_ones_lie_on_the_map_and_unheard_of_ones_off_it(layout):
    like, unlike = clustered(1_600)[1_200:], clustered(1_600, seed=99)[:400]
    assert layout.transform(like).off_map.mean() < 0.12
    assert layout.transform(unlike).off_map.mean() > 0.6


def test_even_vectors_without_structure_stay_where_they_are_when_nothing_is_new(projector):
    vectors = np.random.default_rng(5).normal(size=(500, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    first = projector.fit(vectors)
    again = projector.refit(vectors, first.positions)
    assert again.displacement <= 0.12
    assert (
        quality_of_map(vectors, again.positions).trustworthiness
        >= quality_of_map(vectors, first.positions).trustworthiness
    )


# --- compiling ----------------------------------------------------------------------------------------------------


def test_kernels_are_compiled_once_on_a_machine(tmp_path):
    compiled = []
    for _ in range(2):
        kernels.compile_once(tmp_path, lambda: compiled.append("here"))
    assert compiled == ["here"]


def test_a_fit_waits_for_the_process_that_compiles(tmp_path):
    begun, may_end, order = threading.Event(), threading.Event(), []

    def slow_fit():
        begun.set()
        may_end.wait(60)
        order.append("compiled")

    first = threading.Thread(target=kernels.compile_once, args=(tmp_path, slow_fit))
    first.start()
    assert begun.wait(60)
    second = threading.Thread(target=lambda: (kernels.compile_once(tmp_path, pytest.fail), order.append("waited")))
    second.start()
    may_end.set()
    for one in (first, second):
        one.join(60)
    assert order == ["compiled", "waited"]


LAZY = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from components.projector.kernels import umap_kernels
with umap_kernels(Path({cache!r})):
    from pynndescent.distances import euclidean
import numpy as np
before = len(euclidean.signatures)
length = euclidean(np.zeros(2, np.float32), np.array([3, 4], np.float32))
print(before, round(float(length), 3))
"""


def test_pynndescent_compiles_what_is_called_and_nothing_at_import(cache):
    assert python(LAZY.format(root=str(root), cache=str(cache))) == "0 5.0"
