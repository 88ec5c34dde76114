"""Killed before each single effect on files and database: the next run completes, with the same result as without the kill."""

from __future__ import annotations

import hashlib
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mutants
import pyarrow.parquet as pq
import pytest
from crashing import watch
from faults import failing, small_steps
from logs import append, lines, write
from zygote import Zygote, zygote

from components.pipeline import Pipeline
from components.snapshot.verify import check_snapshot
from components.store.lease import lease_t

steps = ("load", "index", "recompute", "publish")


# --- in processes of their own ---------------------------------------------------------------------------------------


def opened(home: str) -> Pipeline:
    return Pipeline(small_steps(Path(home)))


def prepare(home: str, logs: str, step: str) -> None:
    """A home with a published snapshot, just before that step has something to do."""
    path = write(Path(logs) / "a.jsonl", lines(12))
    with opened(home) as pipeline:
        pipeline.load([path])
        pipeline.index()
        same = {"iteration": 900, "idx": 0, "type": "user", "text": "said again and again"}
        append(path, [*lines(4, start=500), same, same, same, *lines(20, start=600), same])
        write(Path(logs) / "b.jsonl", lines(4, seed=7))
        if step != "load":
            pipeline.load([logs])
        if step in {"recompute", "publish"}:
            pipeline.index()
        if step == "publish":
            shutil.rmtree(pipeline.output() / "parts")
            shutil.rmtree(pipeline.output() / "snapshots" / "000002")


def work(home: str, logs: str, step: str, at: int | None, mutant: str) -> dict[str, Any]:
    """Do the step, dead before effect number `at`; how many there were, and which problems the simulated page cache found."""
    pipeline = opened(home)
    watched = watch(pipeline, at)
    if mutant:
        getattr(mutants, mutant)(pipeline, watched)
    match step:
        case "load":
            pipeline.load([logs])
        case "publish":
            pipeline.publish()
        case _:
            pipeline.index(recompute=step == "recompute")
    found = watched.finish(pipeline.output())
    return {"effects": watched.count, "publishes_from": watched.publishes_from, "problems": found}


def complete(home: str, logs: str, had_snapshot: bool) -> dict[str, Any]:
    """What readers find now; then load and index to the end; what is wrong, and a digest of each record."""
    problems = []
    with opened(home) as pipeline:
        output = pipeline.output()
        if had_snapshot:
            problems += broken(output)
        with pipeline.store.db.write() as connection:  # the time that a lease takes to run out has passed
            connection.execute(lease_t.update().values(expires_at=0.0))
        pipeline.load([logs])
        pipeline.index()
        problems += [f"afterwards: {check.name}: {check.detail}" for check in failing(pipeline)]
        again = pipeline.snapshot().number
        pipeline.index()
        if pipeline.snapshot().number != again:
            problems.append("an index with nothing to do published again")
        return {"problems": problems, "records": records(pipeline)}


def broken(output: Path) -> list[str]:
    """What is broken for a reader: `current`, and every snapshot folder that has a number."""
    if not (output / "current").exists():
        return ["a reader finds no snapshot"]
    folders = [path for path in (output / "snapshots").iterdir() if path.name.isdigit()]
    return [
        f"a reader finds snapshot {folder.name} broken: {check.name}"
        for folder in folders
        for check in check_snapshot(folder)
        if not check.ok
    ]


def records(pipeline: Pipeline) -> dict[str, str]:
    """Id -> digest of the record and its vector, without positions: they depend on what was fitted together."""
    snapshot = pipeline.snapshot()
    vectors = {r["id"]: r["vector"] for file in snapshot.embeddings_files for r in pq.read_table(file).to_pylist()}
    columns = ["id", "timestamp", "filename", "text", "iteration", "idx_in_iteration", "type"]
    rows = [row for file in snapshot.logs_files for row in pq.read_table(file, columns=columns).to_pylist()]
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: hashlib.sha256(repr((row, vectors[row["id"]])).encode()).hexdigest() for row in rows}


# --- the tests -------------------------------------------------------------------------------------------------------


class Field:
    """Where steps are killed: a home before each of them, copied for every try."""

    def __init__(self, folder: Path, processes: Zygote) -> None:
        self.folder, self.processes = folder, processes
        self.expected: dict[str, dict[str, str]] = {}
        self._tries = 0

    def _run(self, call: str, *arguments: Any) -> Any:
        ended = self.processes.run(f"test_crash_points:{call}", *arguments)
        assert ended.code == 0, ended.error
        return ended.result

    def logs(self, step: str) -> str:
        return str(self.folder / step / "logs")

    def home(self, step: str) -> str:
        """A fresh copy of the home before that step."""
        template = self.folder / step / "home"
        if not template.exists():
            self._run("prepare", str(template), self.logs(step), step)
            copy = self.home(step)
            self._run("work", copy, self.logs(step), step, None, "")
            done = self._run("complete", copy, self.logs(step), True)
            assert done["problems"] == []
            self.expected[step] = done["records"]
        self._tries += 1
        copy = self.folder / step / str(self._tries)
        shutil.copytree(template, copy, symlinks=True)
        return str(copy)

    def killed(self, step: str, at: int, mutant: str = "") -> list[str] | None:
        """What is wrong after a kill before that effect; None where the step ended before."""
        home = self.home(step)
        ended = self.processes.run("test_crash_points:work", home, self.logs(step), step, at, mutant)
        if ended.code == 0:
            return None
        assert ended.code == -signal.SIGKILL or mutant, ended.error
        done = self._run("complete", home, self.logs(step), step != "publish")
        shutil.rmtree(home)
        changed = done["records"] != self.expected[step]
        return [*done["problems"], *(["records were lost, doubled or changed"] if changed else [])]

    def undisturbed(self, step: str, mutant: str = "") -> list[str]:
        """Problems that the simulated page cache found, and what is wrong afterwards."""
        home = self.home(step)
        ended = self.processes.run("test_crash_points:work", home, self.logs(step), step, None, mutant)
        if ended.code:
            return [f"the run failed: {ended.error[-300:]}"]
        problems = list(ended.result["problems"])
        done = self._run("complete", home, self.logs(step), step != "publish")
        shutil.rmtree(home)
        changed = done["records"] != self.expected[step]
        return [*problems, *done["problems"], *(["records were lost, doubled or changed"] if changed else [])]

    def first_problem(self, step: str, mutant: str) -> list[str]:
        """Of the kills of that step under a mutant, the first that did harm; of an index while it publishes."""
        ended = self.processes.run("test_crash_points:work", self.home(step), self.logs(step), step, None, mutant)
        assert ended.code == 0, ended.error
        for at in range(max(ended.result["publishes_from"] - 1, 1), 1_000):
            problems = self.killed(step, at, mutant)
            if problems is None:
                return []
            if problems:
                return problems
        raise AssertionError


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    with zygote() as processes:
        yield Field(tmp_path_factory.mktemp("crashes"), processes)


@pytest.mark.slow
@pytest.mark.parametrize(("step", "at_least"), [("load", 6), ("index", 40), ("recompute", 50), ("publish", 25)])
def test_a_kill_before_any_write_flush_name_or_commit_loses_and_doubles_nothing(
    field: Field, step: str, at_least: int
) -> None:
    harm: dict[int, list[str]] = {}
    for at in range(1, 1_000):
        problems = field.killed(step, at)
        if problems is None:
            break
        if problems:
            harm[at] = problems
    assert harm == {}
    assert at > at_least


@pytest.mark.slow
@pytest.mark.parametrize("step", steps)
def test_whatever_gets_a_name_was_flushed_before(field: Field, step: str) -> None:
    assert field.undisturbed(step) == []


found_by_order = {
    "rename_before_fsync": "index",
    "no_fsync_of_files": "index",
    "no_fsync_of_folders": "index",
    "manifest_without_fsync": "index",
    "cache_without_fsync": "recompute",
    "rows_and_cursor_in_two_transactions": "load",
    "marks_and_snapshot_in_two_transactions": "index",
    "equal_lines_counted_once": "load",
    "clean_up_of_what_is_current": "index",
    "files_swapped_before_the_commit": "index",
}
found_by_kills = {
    "built_in_place_with_its_manifest_first": "index",
    "pointer_not_replaced_at_once": "index",
    "old_snapshot_removed_before_the_swap": "index",
    "cursor_before_rows": "load",
}


@pytest.mark.slow
@pytest.mark.parametrize("mutant", found_by_order)
def test_a_mutant_is_caught_by_what_it_does_in_what_order(field: Field, mutant: str) -> None:
    assert field.undisturbed(found_by_order[mutant], mutant) != []


@pytest.mark.slow
@pytest.mark.parametrize("mutant", found_by_kills)
def test_a_mutant_is_caught_by_kills(field: Field, mutant: str) -> None:
    assert field.first_problem(found_by_kills[mutant], mutant) != []
