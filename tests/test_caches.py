"""A cache that is damaged in any way is rebuilt: the run continues, with the same results as with an intact one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from faults import failing, small_steps
from logs import append, lines, write

from api.atlas_site import AtlasSites
from api.map_cache import MapCache
from components.cached_folder import atomic_folder, is_intact
from components.embedders.model_uri import open_embedder
from components.embedders.weights import remembered_sha256, sha256_of
from components.pipeline import Pipeline
from components.projector.kernel_cache import tolerate_damage
from components.projector.layout import read_folder, write_folder
from components.projector.umap_projector import open_projector
from components.settings import EmbedSettings, ProjectSettings


def cut_to_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def zeroed(path: Path) -> None:
    """As after a power cut: the size is there, the content is not."""
    path.write_bytes(bytes(path.stat().st_size))


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x55
    path.write_bytes(content)


def removed(path: Path) -> None:
    path.unlink()


damages = [cut_to_half, emptied, zeroed, flipped, removed]
Damage = Callable[[Path], None]
each_damage = pytest.mark.parametrize("damage", damages, ids=lambda damage: damage.__name__)


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[Pipeline]:
    with Pipeline(small_steps(tmp_path / "home")) as opened:
        write(tmp_path / "logs" / "a.jsonl", lines(40))
        opened.load([tmp_path / "logs"])
        opened.index()
        yield opened


@pytest.mark.slow
@each_damage
@pytest.mark.parametrize("name", ["layout.npz", "vectors.npy"])
def test_a_damaged_layout_cache_is_rebuilt_and_positions_stay_the_same(
    pipeline: Pipeline, tmp_path: Path, damage: Damage, name: str
) -> None:
    def positions(of: Pipeline) -> dict[str, tuple[float, float]]:
        dataset_id = of.dataset_id("default")
        layout = of.store.layouts.current(dataset_id)
        assert layout is not None
        rows = of.store.publications.batch_rows(dataset_id, layout.id, 1, 2)
        return {row.stored.record.id: (row.x, row.y) for batch in rows for row in batch}

    append(tmp_path / "logs" / "a.jsonl", lines(7, start=500))
    pipeline.load()
    shutil.copytree(tmp_path / "home", tmp_path / "intact", symlinks=True)
    (file,) = (tmp_path / "home" / "cache" / "layouts").glob(f"*/{name}")
    damage(file)
    assert pipeline.index().rows == 47
    assert failing(pipeline) == []
    with Pipeline(small_steps(tmp_path / "intact")) as intact:
        intact.index()
        assert positions(pipeline) == positions(intact)
    (file,) = (tmp_path / "home" / "cache" / "layouts").glob(f"*/{name}")
    assert is_intact(file.parent)


def test_a_layout_cache_damaged_at_any_byte_is_never_opened(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    folder = tmp_path / "map"
    write_folder(open_projector(ProjectSettings(), tmp_path / "cache").fit(vectors), folder)
    for file in sorted(folder.iterdir()):
        whole = file.read_bytes()
        for at in range(0, len(whole), max(1, len(whole) // 60)):
            for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]):
                file.write_bytes(damaged)
                assert not is_intact(folder), (file.name, at)
        file.write_bytes(whole)
    assert read_folder(folder).n_fitted == 12


class TestCachedFolder:
    def test_a_file_that_nobody_wrote_there_makes_no_difference(self, tmp_path: Path) -> None:
        with atomic_folder(tmp_path / "a") as aside:
            (aside / "inner").mkdir()
            (aside / "inner" / "file").write_bytes(b"content")
        (tmp_path / "a" / ".DS_Store").touch()
        assert is_intact(tmp_path / "a")

    def test_a_failing_block_leaves_the_old_folder_and_nothing_else(self, tmp_path: Path) -> None:
        with atomic_folder(tmp_path / "a") as aside:
            (aside / "file").write_bytes(b"old")
        with pytest.raises(OSError, match="full"), atomic_folder(tmp_path / "a") as aside:
            raise OSError("full")
        assert [path.name for path in tmp_path.iterdir()] == ["a"]
        assert is_intact(tmp_path / "a")

    def test_what_a_killed_writer_left_goes_after_a_while(self, tmp_path: Path) -> None:
        for name in (".a-old", ".a-young", ".b-old"):
            (tmp_path / name).mkdir()
        for name in (".a-old", ".b-old"):
            os.utime(tmp_path / name, (1, 1))
        with atomic_folder(tmp_path / "a"):
            pass
        assert sorted(path.name for path in tmp_path.iterdir()) == [".a-young", ".b-old", "a"]

    def test_every_file_and_folder_is_flushed_before_the_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[str] = []
        fsync, rename = os.fsync, os.rename

        def flush(descriptor: int) -> None:
            seen.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
            fsync(descriptor)

        def name(old: Path, new: Path) -> None:
            seen.append(f"rename {Path(new).name}")
            rename(old, new)

        monkeypatch.setattr(os, "fsync", flush)
        monkeypatch.setattr(os, "rename", name)
        with atomic_folder(tmp_path / "a") as aside:
            (aside / "inner").mkdir()
            (aside / "inner" / "file").write_bytes(b"content")
        named = seen.index("rename a")
        assert {"inner", "file", "checksums.json", aside.name} <= set(seen[:named])
        assert seen[named + 1 :] == [tmp_path.name]


@pytest.mark.slow
@each_damage
@pytest.mark.parametrize("name", ["graph.onnx", "weights.bin"])
def test_a_damaged_graph_of_the_model_is_rebuilt_and_gives_the_same_vectors(
    tmp_path: Path, damage: Damage, name: str
) -> None:
    first = open_embedder("all-MiniLM-L6-v2", EmbedSettings(threads=1), tmp_path).embed(["once"]).vectors
    damage(next(tmp_path.glob(f"models/*/{name}")))
    again = open_embedder("all-MiniLM-L6-v2", EmbedSettings(threads=1), tmp_path).embed(["once"]).vectors
    assert np.array_equal(first, again)


@each_damage
def test_a_damaged_record_of_a_digest_is_ignored(tmp_path: Path, damage: Damage) -> None:
    file = write(tmp_path / "weights", lines(3))
    remembered_sha256(file, tmp_path / "cache")
    damage(next((tmp_path / "cache" / "digests").iterdir()))
    assert remembered_sha256(file, tmp_path / "cache") == sha256_of(file)


def test_a_folder_in_place_of_a_recorded_digest_does_not_matter(tmp_path: Path) -> None:
    file = write(tmp_path / "weights", lines(3))
    remembered_sha256(file, tmp_path / "cache")
    recorded = next((tmp_path / "cache" / "digests").iterdir())
    recorded.unlink()
    recorded.mkdir()
    assert remembered_sha256(file, tmp_path / "cache") == sha256_of(file)


@pytest.mark.parametrize("damage", [cut_to_half, emptied, zeroed, flipped], ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_a_damaged_compiled_kernel_is_compiled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Damage, suffix: str
) -> None:
    """In numba's own cache: what umap's functions are kept in."""
    numba = pytest.importorskip("numba")
    tolerate_damage()
    source = tmp_path / "kernel_under_test.py"
    source.write_text("def double(x):\n    return 2 * x\n")
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "kernels"))
    functions: dict[str, Callable[[int], int]] = {}
    exec(compile(source.read_text(), str(source), "exec"), functions)

    def compiled() -> Callable[[int], int]:
        return numba.njit(cache=True)(functions["double"])  # type: ignore[no-any-return]

    assert compiled()(21) == 42
    kept = list((tmp_path / "kernels").rglob(f"*{suffix}"))
    assert kept
    for file in kept:
        damage(file)
    again = compiled()
    assert again(21) == 42
    assert again.stats.cache_misses, "what is damaged was not used"  # type: ignore[attr-defined]
    fresh = compiled()
    assert fresh(21) == 42
    assert fresh.stats.cache_hits, "it was kept again"  # type: ignore[attr-defined]


@each_damage
def test_damaged_points_of_the_map_page_are_packed_again(pipeline: Pipeline, damage: Damage) -> None:
    cache = pipeline.settings.cache
    first = MapCache(cache)
    files = [
        first.points_file(first.newest(pipeline.output())),
        first.picture_file(pipeline.output()),
    ]
    intact = [file.read_bytes() for file in files]
    for file in files:
        damage(file)
    later = MapCache(cache)  # of the process that comes next
    assert later.points_file(later.newest(pipeline.output())).read_bytes() == intact[0]
    assert later.picture_file(pipeline.output()).read_bytes() == intact[1]


@pytest.mark.parametrize("damage", [cut_to_half, emptied, removed], ids=lambda damage: damage.__name__)
def test_points_that_are_cut_while_the_page_is_served_are_packed_again(pipeline: Pipeline, damage: Damage) -> None:
    maps = MapCache(pipeline.settings.cache)
    data = maps.newest(pipeline.output())
    intact = maps.points_file(data).read_bytes()
    damage(maps.points_file(data))
    assert maps.points_file(data).read_bytes() == intact


@each_damage
@pytest.mark.parametrize("name", ["dataset.parquet", "metadata.json"])
def test_a_damaged_site_of_embedding_atlas_is_built_again(pipeline: Pipeline, damage: Damage, name: str) -> None:
    cache = pipeline.settings.cache

    def built() -> Path:
        sites = AtlasSites(cache)
        if (there := sites.ready(pipeline.snapshot())) is None:
            sites.wait()
            there = sites.ready(pipeline.snapshot())
        assert there is not None, sites.problem(pipeline.snapshot())
        return there

    intact = (built() / name).read_bytes()
    damage(built() / name)
    assert (built() / name).read_bytes() == intact
