"""Sources that are remembered, and forgotten: what later loads look at, and what becomes of the records."""

from __future__ import annotations

import pytest
from logs import lines, write

from components.errors import BadSetting, NotFound
from components.load.report import problem_lines
from components.pipeline import Pipeline
from components.settings import DatasetSettings, LoadSettings, Settings


@pytest.fixture
def pipeline(tmp_path):
    with Pipeline(Settings(home=tmp_path / "home", model="hash://32", load=LoadSettings(quiet_s=0))) as opened:
        yield opened


def test_only_what_could_be_read_is_remembered(pipeline, tmp_path):
    good = write(tmp_path / "good.jsonl", lines(3))
    bad = tmp_path / "bad.bin"
    bad.write_bytes(bytes(range(256)))
    report = pipeline.load([good, bad])
    assert (report.records.new, report.sources.failed) == (3, 1)
    assert pipeline.sources() == (str(good),)
    assert pipeline.load().sources.failed == 0


def test_a_folder_with_one_file_that_can_be_read_is_remembered(pipeline, tmp_path):
    write(tmp_path / "logs" / "good.jsonl", lines(3))
    (tmp_path / "logs" / "bad.bin").write_bytes(bytes(range(256)))
    pipeline.load([tmp_path / "logs"])
    assert pipeline.sources() == (str(tmp_path / "logs"),)


def test_a_folder_whose_files_are_still_empty_is_remembered(pipeline, tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.jsonl").touch()
    pipeline.load([tmp_path / "logs"])
    write(tmp_path / "logs" / "a.jsonl", lines(3))
    assert pipeline.load().records.new == 3


def test_an_unchanged_source_that_is_given_again_is_remembered(pipeline, tmp_path):
    path = write(tmp_path / "a.jsonl", lines(3))
    pipeline.load([path])
    pipeline.remove_sources([str(path)])
    assert pipeline.sources() == ()
    assert pipeline.load([path]).records.new == 0
    assert pipeline.sources() == (str(path),)


def test_a_removed_source_is_not_read_again_and_its_records_stay(pipeline, tmp_path):
    kept, removed = (write(tmp_path / name / "a.jsonl", lines(5, seed=n)) for n, name in enumerate(("kept", "removed")))
    pipeline.load([kept, removed])
    done = pipeline.remove_sources([str(removed)])
    assert (done.files, done.records) == (1, 0)
    write(removed, lines(9, seed=7))
    assert pipeline.load().records.new == 0
    assert pipeline.index().rows == 10
    assert all(check.ok for check in pipeline.verify())


def test_records_leave_the_map_with_their_source_and_come_back_with_it(pipeline, tmp_path):
    kept, removed = (write(tmp_path / name / "a.jsonl", lines(5, seed=n)) for n, name in enumerate(("kept", "removed")))
    pipeline.load([kept, removed])
    assert pipeline.index().rows == 10
    assert pipeline.remove_sources([str(removed)], with_records=True).records == 5
    assert pipeline.index().rows == 5
    assert all(check.ok for check in pipeline.verify())
    again = pipeline.load([removed])
    assert (again.records.new, again.records.existing) == (0, 5)
    assert pipeline.index().rows == 10
    assert all(check.ok for check in pipeline.verify())


def test_a_file_that_another_source_names_too_stays(pipeline, tmp_path):
    folder = write(tmp_path / "logs" / "a.jsonl", lines(5)).parent
    pipeline.load([folder, folder / "*.jsonl"])
    assert pipeline.remove_sources([str(folder / "*.jsonl")], with_records=True).files == 0
    assert pipeline.load().sources.skipped == 1


def test_what_is_no_source_can_not_be_removed(pipeline, tmp_path):
    pipeline.load([write(tmp_path / "logs" / "a.jsonl", lines(5)).parent])
    with pytest.raises(NotFound, match=r"a\.jsonl is no source"):
        pipeline.remove_sources([str(tmp_path / "logs" / "a.jsonl")])


def test_a_configured_source_is_removed_in_the_settings(tmp_path):
    folder = str(write(tmp_path / "logs" / "a.jsonl", lines(5)).parent)
    datasets = {"default": DatasetSettings(sources=(folder,))}
    with Pipeline(Settings(home=tmp_path / "home", model="hash://32", datasets=datasets)) as pipeline:
        pipeline.load()
        with pytest.raises(BadSetting, match=r"runatlas\.toml"):
            pipeline.remove_sources([folder])


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_is_no_source(pipeline, name):
    with pytest.raises(BadSetting, match="empty"):
        pipeline.load([name])


def test_a_load_of_the_folder_that_holds_the_home_never_loads_its_own_output(tmp_path):
    write(tmp_path / "a.jsonl", lines(5))
    with Pipeline(Settings(home=tmp_path / "data", model="hash://32", load=LoadSettings(quiet_s=0))) as pipeline:
        for new in (5, 0, 0):
            report = pipeline.load([tmp_path])
            assert (report.records.new, report.sources.failed) == (new, 0)
            pipeline.index()


def test_a_name_with_control_characters_can_not_steer_a_terminal(pipeline, tmp_path):
    odd = tmp_path / 'bad\x1b]0;x\x07\nDataset "x": ok.bin'
    odd.write_bytes(bytes(range(256)))
    (line,) = problem_lines(pipeline.load([odd]).problems)
    assert line.isprintable()
    assert "bad\\x1b]0;x\\x07\\nDataset" in line


def test_a_source_that_still_waits_is_reported_once(pipeline, tmp_path):
    path = write(tmp_path / "a.jsonl", lines(3))
    with path.open("a") as file:
        file.write('{"iteration": 9, "text": "cut')
    reports = [pipeline.load([path]) for _ in range(3)]
    assert [report.sources.not_ready for report in reports] == [1, 1, 1]
    assert [problem.known for report in reports for problem in report.problems] == [False, True, True]
    with path.open("a") as file:
        file.write(" further")
    assert [problem.known for problem in pipeline.load().problems] == [False]
