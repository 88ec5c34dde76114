"""An index that was stopped anywhere (SIGSTOP) blocks nobody beyond its lease, and when it goes on it changes nothing."""

from __future__ import annotations

import os
import signal
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mutants
import pytest
import sqlalchemy as sa
from databases import fresh_database, postgres_server
from faults import connected, crash_postgres, failing, patient_index, recovered, small_steps, texts
from logs import append, lines, write
from sqlalchemy import event
from zygote import Child, Zygote, zygote

from components import pipeline as pipeline_module
from components.errors import LeaseLost, StoreBusy
from components.load import run as loading
from components.pipeline import Pipeline
from components.publish import install
from components.settings import PublishSettings
from components.snapshot.read import current_number
from components.store import engine
from components.store.lease import Fence, Leases

calls = ("fsync", "link", "rename", "replace", "symlink", "unlink")


# --- in the child ----------------------------------------------------------------------------------------------------


beating = threading.Lock()  # while the heartbeat writes: SQLite's lock can't be taken from a stopped process


def stop_myself() -> None:
    with beating:
        os.kill(os.getpid(), signal.SIGSTOP)


def beat_aside(leases: Leases) -> None:
    """Let the heartbeat of this process hold `beating` while it writes."""
    renew = leases.renew

    def watched(fence: Fence, progress: str) -> bool:
        with beating:
            return renew(fence, progress)

    leases.renew = watched  # type: ignore[method-assign]


def path_of(call: str, arguments: tuple[Any, ...]) -> str:
    """The file that a call is about: the one that it makes, where it makes one."""
    if call == "fsync":
        return str(Path(f"/proc/self/fd/{arguments[0]}").readlink())
    return os.fspath(arguments[0] if call == "unlink" else arguments[1])


def index_that_stops(home: str, url: str | None, at: dict[str, Any], mutant: str = "") -> str:
    """Index, and stop just before the n-th call on a file of the output, or the one whose path ends so; how it ended."""
    count = 0

    def watched(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            path = path_of(name, arguments)
            if "/output/" in path:
                count += 1
                if count == at.get("n") or (name == at.get("call") and path.endswith(at["path"])):
                    at.clear()
                    stop_myself()
            return real(*arguments, **options)

        return call

    for name in calls:
        setattr(os, name, watched(name, getattr(os, name)))
    with Pipeline(small_steps(Path(home), database_url=url, lease={"ttl_s": 0.5})) as pipeline:
        beat_aside(pipeline.store.leases)
        if mutant:
            getattr(mutants, mutant)(pipeline, None)
        return indexed(pipeline)


def index_that_stops_before_a_commit(home: str, url: str | None, table: str) -> str:
    """Index, and stop within the first transaction that has written to that table."""
    with Pipeline(small_steps(Path(home), database_url=url, lease={"ttl_s": 0.5})) as pipeline:
        beat_aside(pipeline.store.leases)
        stopped = False

        @event.listens_for(pipeline.store.db.writer, "after_cursor_execute")
        def stop(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
            nonlocal stopped
            if not stopped and statement.lower().startswith(f"insert into {table}"):
                stopped = True
                stop_myself()

        return indexed(pipeline)


def indexed(pipeline: Pipeline) -> str:
    try:
        pipeline.index()
    except LeaseLost:
        return "overtaken"
    return "done"


# --- the test --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def processes() -> Iterator[Zygote]:
    with zygote() as opened:
        yield opened


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with postgres_server() as url:
        yield url


class Rounds:
    """One home in which an index is stopped and overtaken again and again."""

    def __init__(self, folder: Path, url: str | None, processes: Zygote, keep_s: float = 0.0) -> None:
        self.home, self.logs, self.url, self.processes = folder / "home", folder / "logs", url, processes
        publish = PublishSettings(part_rows=5_000, keep_s=keep_s)
        self.pipeline = Pipeline(small_steps(self.home, database_url=url, lease={"ttl_s": 0.5}, publish=publish))
        self.expected: Counter[str] = Counter()
        self.n = 0
        self.load()
        self.pipeline.index()

    def load(self) -> None:
        self.n += 1
        path, items = self.logs / "a.jsonl", lines(5, start=100 * self.n)
        append(path, items) if path.exists() else write(path, items)
        assert self.pipeline.load([path]).records.new == 5
        self.expected.update(item["text"] for item in items)

    def begun(self, call: str, *arguments: Any) -> Child:
        self.load()
        return self.processes.fork(f"test_takeover:{call}", str(self.home), self.url, *arguments)

    def overtake(self, stopped: Child, meanwhile: Callable[[], None] = lambda: None) -> str:
        """Load and index while that one is stopped; then let it go on. Returns how it ended."""
        output = self.pipeline.output()
        before = current_number(output) or 0
        self.load()
        meanwhile()
        patient_index(self.pipeline)
        published = current_number(output) or 0
        assert published >= before
        assert texts(self.pipeline) == self.expected
        stopped.resume()
        ended = stopped.wait()
        assert ended.code == 0, ended.error
        assert current_number(output) == published, "the one that was stopped changed what is current"
        assert texts(self.pipeline) == self.expected
        assert failing(self.pipeline) == []
        return str(ended.result)


@pytest.fixture(params=["sqlite", "postgresql"])
def rounds(request: pytest.FixtureRequest, tmp_path: Path, processes: Zygote) -> Iterator[Rounds]:
    if request.param == "sqlite":
        made = Rounds(tmp_path, None, processes)
        yield made
        made.pipeline.close()
        return
    with fresh_database(request.getfixturevalue("postgres")) as url:
        made = Rounds(tmp_path, url, processes, keep_s=3_600)  # clean-up removes nothing that young
        yield made
        made.pipeline.close()


@pytest.mark.slow
def test_an_index_stopped_at_any_file_of_the_output_blocks_nobody_and_never_turns_current_back(rounds: Rounds) -> None:
    overtaken = rounds_done = 0
    for n in range(1, 200, 1 if rounds.url is None else 3):
        rounds_done += 1
        child = rounds.begun("index_that_stops", {"n": n})
        ended = child.wait()
        if not ended.stopped:
            assert (ended.code, ended.result) == (0, "done"), ended.error
            break
        overtaken += rounds.overtake(child) == "overtaken"
    assert n > 20, "parts, links, manifest, pointer, clean-up"
    assert overtaken > rounds_done / 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mutant", "at"),
    [
        ("swap_without_fence", {"call": "rename", "path": "/snapshots/000002"}),
        ("asides_not_revoked", {"call": "replace", "path": "default/current"}),
        ("swap_that_does_not_check_its_claim", {"call": "rename", "path": "/snapshots/000002"}),
        ("lease_without_token", {"call": "fsync", "path": "/parts"}),
        ("transaction_over_the_swap", {"call": "rename", "path": "/snapshots/000002"}),
    ],
)
def test_a_mutant_is_caught_by_stopping_it_and_taking_over(
    tmp_path: Path, processes: Zygote, mutant: str, at: dict[str, Any]
) -> None:
    rounds = Rounds(tmp_path, None, processes, keep_s=3_600)  # nor is clean-up to save it
    child = rounds.begun("index_that_stops", at, mutant)
    assert child.wait().stopped
    rounds.pipeline.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "busy_timeout_ms", 100)  # who is blocked at all is blocked for good
        for module in (loading, pipeline_module):
            patch.setattr(module, "retry_while_busy", lambda attempt: attempt())
        if mutant == "asides_not_revoked":  # it is the one who takes over that revokes
            patch.setattr(install, "_revoke_older", lambda _output, _token: None)
        try:
            assert rounds.overtake(child) == "overtaken"
        except (AssertionError, StoreBusy):
            return
        finally:
            child.kill()
            rounds.pipeline.close()
    pytest.fail(f"{mutant} was not caught")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "path"),
    [
        ("replace", "default/current"),
        ("fsync", "/parts"),
        ("fsync", "/snapshots"),
        ("rename", "/snapshots/000002"),
    ],
)
def test_a_restart_of_the_database_while_an_index_is_stopped_does_not_let_it_turn_current_back(
    postgres: str, tmp_path: Path, processes: Zygote, call: str, path: str
) -> None:
    name = f"t{uuid.uuid4().hex[:12]}"
    with connected(postgres) as admin:
        admin.execute(f"create database {name}")
    url = sa.make_url(postgres).set(database=name).render_as_string(hide_password=False)
    rounds = Rounds(tmp_path, url, processes)
    child = rounds.begun("index_that_stops", {"call": call, "path": path})
    assert child.wait().stopped

    def restart() -> None:
        crash_postgres(url)
        recovered(postgres)

    assert rounds.overtake(child, restart) == "overtaken"
    rounds.pipeline.close()
    with connected(postgres) as admin:
        admin.execute(f"drop database {name} with (force)")


@pytest.mark.slow
def test_an_index_stopped_within_a_transaction_is_thrown_out_by_postgresql(
    postgres: str, tmp_path: Path, processes: Zygote
) -> None:
    with fresh_database(postgres) as url:
        rounds = Rounds(tmp_path, url, processes)
        child = rounds.begun("index_that_stops_before_a_commit", "snapshot")
        assert child.wait().stopped
        assert rounds.overtake(child) == "overtaken"
        rounds.pipeline.close()


def test_publishing_holds_no_transaction_while_it_works_on_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Pipeline(small_steps(tmp_path / "home")) as pipeline:
        pipeline.load([write(tmp_path / "a.jsonl", lines(20))])
        within: set[int] = set()  # threads: the heartbeat has transactions of its own
        seen = 0

        @event.listens_for(pipeline.store.db.writer, "begin")
        def begun(_: Any) -> None:
            within.add(threading.get_ident())

        @event.listens_for(pipeline.store.db.writer, "commit")
        @event.listens_for(pipeline.store.db.writer, "rollback")
        def ended(_: Any) -> None:
            within.discard(threading.get_ident())

        def watched(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                nonlocal seen
                if "/output/" in path_of(name, arguments):
                    seen += 1
                    assert threading.get_ident() not in within, (name, arguments)
                return real(*arguments, **options)

            return call

        for name in calls:
            monkeypatch.setattr(os, name, watched(name, getattr(os, name)))
        pipeline.index()
        assert seen > 15
