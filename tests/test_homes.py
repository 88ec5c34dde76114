"""One home keeps the output of a dataset: others on the same database are refused, until they adopt it."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from databases import fresh_database
from faults import failing, small_steps, texts
from hypothesis import given
from hypothesis import strategies as st
from logs import append, lines, write

from components.contracts import Home
from components.errors import OutputElsewhere
from components.pipeline import Pipeline
from components.publish.homes import ID_FILE, expect_home, home_at, location_of
from components.snapshot.read import current_number


class Shared:
    """Homes on one database."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        self.opened: list[Pipeline] = []

    def home(self, name: str) -> Pipeline:
        self.opened.append(Pipeline(small_steps(self.folder / name, database_url=self.url)))
        return self.opened[-1]

    def load(self, pipeline: Pipeline, n: int, start: int = 0) -> None:
        path = self.folder / "logs" / "a.jsonl"
        append(path, lines(n, start=start)) if path.exists() else write(path, lines(n, start=start))
        pipeline.load([path])


@pytest.fixture(params=["sqlite", "postgresql"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shared]:
    if request.param == "sqlite":
        made = Shared(tmp_path, f"sqlite:///{tmp_path / 'shared.db'}")
        yield made
        for pipeline in made.opened:
            pipeline.close()
        return
    with fresh_database(request.getfixturevalue("postgres")) as url:
        made = Shared(tmp_path, url)
        yield made
        for pipeline in made.opened:
            pipeline.close()


def test_a_second_home_is_refused_with_both_names_and_publishes_nothing(shared: Shared) -> None:
    first, second = shared.home("first"), shared.home("second")
    shared.load(first, 20)
    first.index()
    shared.load(second, 5, start=500)  # loading writes no files: every home may do it
    for attempt in (second.index, second.publish, lambda: second.index(recompute=True)):
        with pytest.raises(OutputElsewhere, match="--adopt") as refused:
            attempt()
        assert location_of(shared.folder / "first") in str(refused.value)
        assert location_of(shared.folder / "second") in str(refused.value)
    assert not second.output().exists()
    assert (first.index().rows, first.snapshot().number) == (25, 2)
    assert failing(first) == []


def test_indexing_in_turns_does_not_publish_again_and_again(shared: Shared) -> None:
    first, second = shared.home("first"), shared.home("second")
    shared.load(first, 20)
    first.index()
    for _ in range(3):
        with pytest.raises(OutputElsewhere):
            second.index()
        assert first.index().snapshot == 1


def test_a_home_that_adopts_the_output_holds_all_of_it_and_the_other_one_is_refused(shared: Shared) -> None:
    first, second = shared.home("first"), shared.home("second")
    shared.load(first, 20)
    first.index()
    expected = texts(first)
    assert second.publish(adopt=True) == 2
    assert texts(second) == expected
    assert failing(second) == []
    with pytest.raises(OutputElsewhere, match="second"):
        first.index()
    assert current_number(first.output()) == 1
    shared.load(second, 5, start=500)
    assert second.index().rows == 25
    assert first.publish(adopt=True) == 4
    assert failing(first) == []


def test_a_home_that_was_moved_goes_on(shared: Shared) -> None:
    first = shared.home("first")
    shared.load(first, 20)
    first.index()
    first.close()
    (shared.folder / "first").rename(shared.folder / "moved")
    moved = shared.home("moved")
    shared.load(moved, 5, start=500)
    assert (moved.index().snapshot, moved.publish()) == (2, 2)
    assert failing(moved) == []


def test_a_copy_of_a_home_is_refused_while_the_original_is_there(shared: Shared) -> None:
    first = shared.home("first")
    shared.load(first, 20)
    first.index()
    shutil.copytree(shared.folder / "first", shared.folder / "copy", symlinks=True)
    copy = shared.home("copy")
    with pytest.raises(OutputElsewhere, match="is a copy of it"):
        copy.index()
    assert first.index().snapshot == 1
    shutil.rmtree(shared.folder / "first")
    assert copy.index().snapshot == 1


@pytest.mark.parametrize("damage", ["removed", "emptied", "everything removed"])
def test_a_home_whose_id_was_lost_is_recognised_by_its_location(shared: Shared, damage: str) -> None:
    first = shared.home("first")
    shared.load(first, 20)
    first.index()
    file = shared.folder / "first" / ID_FILE
    before = file.read_text()
    match damage:
        case "removed":
            file.unlink()
        case "emptied":
            file.write_bytes(b"")
        case "everything removed":
            shutil.rmtree(shared.folder / "first")
    first.publish()
    assert failing(first) == []
    assert file.read_text() == before


def test_two_names_of_one_home_are_one_home(shared: Shared) -> None:
    first = shared.home("first")
    shared.load(first, 20)
    first.index()
    (shared.folder / "alias").symlink_to("first", target_is_directory=True)
    assert shared.home("alias").index().snapshot == 1
    assert first.index().snapshot == 1


def test_datasets_of_one_database_may_lie_in_different_homes(shared: Shared) -> None:
    first, second = shared.home("first"), shared.home("second")
    shared.load(first, 20)
    first.index()
    second.load([shared.folder / "logs"], "other")
    assert second.index("other").rows == 20
    assert first.index().snapshot == 1


def test_an_output_that_nobody_keeps_yet_belongs_to_the_first_that_indexes(shared: Shared) -> None:
    first, second = shared.home("first"), shared.home("second")
    shared.load(first, 20)
    first.index()
    with first.store.db.write() as connection:  # as a database of an earlier version was left
        connection.exec_driver_sql("update dataset set home_id = '', home_place = ''")
    assert first.index().snapshot == 1
    with pytest.raises(OutputElsewhere):
        second.index()


def test_a_copy_of_a_home_with_its_own_database_is_a_home_of_its_own(tmp_path: Path) -> None:
    with Pipeline(small_steps(tmp_path / "first")) as first:
        first.load([write(tmp_path / "a.jsonl", lines(20))])
        first.index()
    shutil.copytree(tmp_path / "first", tmp_path / "copy", symlinks=True)
    (tmp_path / "restored").mkdir()
    shutil.copy(tmp_path / "first" / "runatlas.db", tmp_path / "restored" / "runatlas.db")
    for name, snapshot in (("first", 1), ("copy", 1), ("restored", 2), ("first", 1)):
        with Pipeline(small_steps(tmp_path / name)) as pipeline:
            assert pipeline.index().snapshot == snapshot
            assert failing(pipeline) == []


def test_processes_that_start_together_in_a_new_home_agree_on_its_id(tmp_path: Path) -> None:
    gate = threading.Barrier(8)
    found: list[Home] = []

    def begin() -> None:
        gate.wait()
        found.append(home_at(tmp_path / "home", None))

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert [path.name for path in (tmp_path / "home").iterdir()] == [ID_FILE]


homes = st.builds(Home, id=st.sampled_from("ab"), place=st.sampled_from(["h:/1", "h:/2"]))


@given(homes, st.none() | homes, st.booleans())
def test_only_the_recorded_home_itself_may_publish(own: Home, recorded: Home | None, is_copy: bool) -> None:
    is_allowed = recorded is None or (recorded.id == own.id and not is_copy)
    try:
        expect_home(own, recorded, is_copy=is_copy, dataset="default")
    except OutputElsewhere:
        assert not is_allowed
    else:
        assert is_allowed
