"""Bad days: what a user is promised when disks, databases, services, files and other runs misbehave."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from databases import fresh_database
from faults import (
    build_shim,
    connected,
    crash_postgres,
    failing,
    limited_files,
    nobody,
    patient_index,
    recovered,
    remount,
    said,
    shell,
    small_disk,
    small_steps,
    texts,
)
from logs import append, lines, write
from test_embedding_service import Service, serve, well_behaved

from components.embedders.hashing import hash_vector
from components.errors import (
    BadSetting,
    DimensionMismatch,
    LeaseHeld,
    SchemaTooNew,
    ServiceUnavailable,
    StoreBusy,
)
from components.pipeline import Pipeline
from components.settings import DatasetSettings, EmbedSettings, PublishSettings
from components.store import Store


@dataclass
class World:
    """A home, a folder of logs, and pipelines on them, as many as are asked for."""

    folder: Path
    url: str | None = None
    opened: list[Pipeline] = field(default_factory=list)

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def settings(self, **changes: Any) -> Any:
        return small_steps(self.home, database_url=self.url, **changes)

    def pipeline(self, **changes: Any) -> Pipeline:
        self.opened.append(Pipeline(self.settings(**changes)))
        return self.opened[-1]

    def grown(self, n: int = 60, **changes: Any) -> Pipeline:
        """A pipeline with two published snapshots, of `n` records and ten more."""
        pipeline = self.pipeline(**changes)
        path = write(self.logs / "a.jsonl", lines(n))
        pipeline.load([self.logs])
        pipeline.index()
        append(path, lines(10, start=n))
        pipeline.load()
        pipeline.index()
        return pipeline


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    for pipeline in made.opened:
        pipeline.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, world: World) -> Iterator[World]:
    """The same world on either database."""
    if request.param == "sqlite":
        yield world
        return
    with fresh_database(request.getfixturevalue("postgres")) as world.url:
        yield world
        for pipeline in world.opened:
            pipeline.close()


def at_once(*jobs: Callable[[], Any]) -> list[Any]:
    """What each gives, or the error that it raises; all run at the same time."""
    given: list[Any] = [None] * len(jobs)
    gate = threading.Barrier(len(jobs))

    def run(n: int, job: Callable[[], Any]) -> None:
        gate.wait()
        try:
            given[n] = job()
        except Exception as error:  # noqa: BLE001 - it is what is looked at
            given[n] = error

    threads = [threading.Thread(target=run, args=item) for item in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return given


def texts_of(items: Sequence[dict[str, Any]]) -> Counter[str]:
    return Counter(item["text"] for item in items)


# --- several at once -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_loads_that_read_the_same_growing_files_lose_and_double_nothing(either: World) -> None:
    expected: Counter[str] = Counter()
    for n in range(3):
        write(either.logs / f"{n}.jsonl", items := lines(60, seed=n))
        expected.update(texts_of(items))
    pipelines = [either.pipeline() for _ in range(3)]

    def load(pipeline: Pipeline) -> int:
        return sum(pipeline.load([either.logs]).records.new for _ in range(4))

    def grow() -> int:
        for step in range(8):
            append(either.logs / f"{step % 3}.jsonl", items := lines(15, seed=step % 3, start=1_000 + 100 * step))
            expected.update(texts_of(items))
            time.sleep(0.02)
        return 0

    given = at_once(grow, *[lambda p=p: load(p) for p in pipelines])
    assert not [error for error in given if isinstance(error, Exception)]
    last = pipelines[0].load()
    assert sum(given) + last.records.new == sum(expected.values())
    pipelines[0].index()
    assert texts(pipelines[0]) == expected
    assert failing(pipelines[0]) == []


def test_of_two_indexes_at_once_one_does_the_work_and_the_other_is_told_who(either: World) -> None:
    write(either.logs / "a.jsonl", items := lines(150))
    first, second = either.pipeline(), either.pipeline()
    first.load([either.logs])
    given = at_once(first.index, second.index)
    held = [one for one in given if isinstance(one, LeaseHeld)]
    assert all(isinstance(one, LeaseHeld) or one.rows == 150 for one in given)
    assert len(held) <= 1
    assert texts(first) == texts_of(items)
    assert failing(first) == []


def test_records_that_are_loaded_while_an_index_runs_are_taken_by_it(either: World) -> None:
    write(either.logs / "0.jsonl", lines(40))
    loader, indexer = either.pipeline(), either.pipeline()
    loader.load([either.logs])
    n_loaded = 40

    def load_more(step: str, _done: int, _total: int) -> None:
        nonlocal n_loaded
        if step in {"fetch", "embed", "keep positions", "publish"} and n_loaded < 160:
            write(either.logs / f"{n_loaded}.jsonl", lines(10, seed=n_loaded))
            n_loaded += loader.load().records.new

    assert indexer.index(progress=load_more).rows == n_loaded
    assert n_loaded == 160
    assert failing(indexer) == []


@pytest.mark.parametrize("moment", ["fetch", "embed", "keep positions", "publish", "rewrite"])
@pytest.mark.parametrize("recompute", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_rewrite_in_the_middle_of_an_index_leaves_the_output_whole(
    either: World, moment: str, recompute: bool
) -> None:
    replacing = {"default": DatasetSettings(on_rewrite="replace")}
    loader, indexer = either.pipeline(datasets=replacing), either.pipeline(datasets=replacing)
    path = write(either.logs / "a.jsonl", lines(60))
    write(either.logs / "b.jsonl", lines(20, seed=5))
    loader.load([either.logs])
    indexer.index()
    write(path, [*lines(40), *lines(30, seed=8)])
    loader.load()
    left = [lines(20) + lines(10, seed=9), [*lines(60), *lines(20, seed=8)]]  # then half of them come back

    def rewrite(step: str, _done: int, _total: int) -> None:
        if step == moment and left:
            write(path, left.pop(0))
            loader.load()

    indexer.index(progress=rewrite, recompute=recompute)
    indexer.index()
    final = [*lines(60), *lines(20, seed=8)]
    if left:  # that moment came less than twice
        final = lines(20) + lines(10, seed=9) if len(left) == 1 else [*lines(40), *lines(30, seed=8)]
    assert texts(indexer) == texts_of(final) + texts_of(lines(20, seed=5))
    assert failing(indexer) == []


def test_a_record_that_left_and_came_back_before_the_next_index_stands_there_once(world: World) -> None:
    pipeline = world.pipeline(datasets={"default": DatasetSettings(on_rewrite="replace")})
    path = write(world.logs / "a.jsonl", lines(30))
    pipeline.load([world.logs])
    pipeline.index()
    write(path, lines(20))
    assert pipeline.load().records.superseded == 10
    assert failing(pipeline) == [], "what leaves the next snapshot may be in this one"
    write(path, lines(30))
    pipeline.load()
    assert failing(pipeline) == []
    assert pipeline.index().rows == 30
    assert failing(pipeline) == []


def test_readers_meet_a_consistent_pair_at_any_moment(world: World) -> None:
    pipeline = world.grown(publish=PublishSettings(keep_s=0, keep_snapshots=3, part_rows=5_000))
    done = threading.Event()
    torn: list[str] = []
    n_read = 0

    def read() -> None:
        nonlocal n_read
        reader = Pipeline(world.settings())
        while not done.is_set():
            snapshot = reader.snapshot()
            ids = [
                [id for path in files for id in pq.read_table(path, columns=["id"])["id"].to_pylist()]
                for files in (snapshot.logs_files, snapshot.embeddings_files)
            ]
            if ids[0] != ids[1] or len(ids[0]) != snapshot.manifest.rows:
                torn.append(f"{snapshot.number}: {len(ids[0])} and {len(ids[1])} of {snapshot.manifest.rows}")
            n_read += 1

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for n in range(100):
        append(world.logs / "a.jsonl", lines(5, start=1_000 * (n + 1)))
        pipeline.load()
        pipeline.index(recompute=n % 3 == 2)
        if n >= 7 and n_read > 20:
            break
    done.set()
    for reader in readers:
        reader.join()
    assert torn == []
    assert n_read > 20


@pytest.mark.slow
def test_an_index_that_stalled_for_too_long_writes_nothing_more(either: World) -> None:
    write(either.logs / "a.jsonl", items := lines(400))
    pipeline, patient = either.pipeline(), either.pipeline()
    pipeline.load([either.logs])
    for attempt in range(8):
        child = shell(either.settings(), "index", "--recompute")
        while child.poll() is None and not pipeline.store.leases.holder("index:default").is_held:
            time.sleep(0.005)
        time.sleep(0.02 * attempt)
        child.send_signal(signal.SIGSTOP)
        taker = threading.Thread(target=lambda: patient_index(patient))
        taker.start()
        taker.join(5)  # longer where it was stopped within a transaction: then nobody can write until it goes on
        child.send_signal(signal.SIGCONT)
        taker.join()
        code, err = said(child)
        assert texts(patient) == texts_of(items)
        assert failing(patient) == []
        if "took over" in err:
            assert code == 1
            return
        assert code == 0 or "is already being indexed" in err, err
    pytest.fail("the index was never stopped in the middle")


# --- a published folder that was damaged by hand ----------------------------------------------------------------------

current, latest = "current", "snapshots/000002"
damages: dict[str, Callable[[Path], Any]] = {
    "current removed": lambda output: (output / current).unlink(),
    "snapshot removed": lambda output: shutil.rmtree(output / latest),
    "parts removed": lambda output: shutil.rmtree(output / "parts"),
    "everything removed": shutil.rmtree,
    "a part removed from the snapshot": lambda output: next((output / latest / "logs").iterdir()).unlink(),
    "manifest removed": lambda output: (output / latest / "manifest.json").unlink(),
    "manifest damaged": lambda output: (output / latest / "manifest.json").write_bytes(b"{"),
    "manifest of an old one removed": lambda output: (output / "snapshots/000001/manifest.json").unlink(),
    "a part cut short": lambda output: os.truncate(next((output / latest / "embeddings").iterdir()), 100),
    "current and a part removed": lambda output: [(output / current).unlink(), shutil.rmtree(output / latest / "logs")],
}
quiet_damages: dict[str, Callable[[Path], Any]] = {
    "labels damaged": lambda output: (output / latest / "labels.parquet").write_bytes(b"PAR1"),
    "a part changed": lambda output: _flip(next((output / latest / "logs").iterdir())),
}


def _flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    path.write_bytes(raw)


@pytest.mark.parametrize("damage", [*damages, *quiet_damages])
def test_publish_makes_a_damaged_output_anew_from_the_database(world: World, damage: str) -> None:
    pipeline = world.grown(20)
    expected = texts(pipeline)
    (damages | quiet_damages)[damage](pipeline.output())
    is_seen = not damage.startswith(("parts removed", "manifest of an old"))
    assert bool(failing(pipeline)) == is_seen
    pipeline.publish()
    assert failing(pipeline) == []
    assert texts(pipeline) == expected
    append(world.logs / "a.jsonl", lines(5, start=500))
    pipeline.load()
    assert pipeline.index().rows == 35
    assert failing(pipeline) == []


@pytest.mark.slow
@pytest.mark.parametrize("damage", damages)
def test_index_makes_missing_files_of_the_output_anew(world: World, damage: str) -> None:
    pipeline = world.grown(20)
    damages[damage](pipeline.output())
    append(world.logs / "a.jsonl", lines(5, start=500))
    pipeline.load()
    assert pipeline.index().rows == 35
    assert failing(pipeline) == []


def test_a_home_whose_database_was_removed_begins_anew_beyond_the_old_snapshots(world: World) -> None:
    world.grown(20)
    for path in world.home.glob("runatlas.db*"):
        path.unlink()
    pipeline = world.pipeline()
    pipeline.load([world.logs])
    done = pipeline.index()
    assert (done.rows, done.snapshot) == (30, 3)
    assert failing(pipeline) == []


# --- databases that can't be used -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["", "nonsense", "postgresql://me:secret@host:port/x", "mysql://me:secret@host/x", "postgresql://"]
)
def test_a_database_url_that_is_none_is_refused_without_telling_its_secrets(url: str) -> None:
    with pytest.raises((BadSetting, StoreBusy)) as refused:
        Store(url)
    assert "secret" not in str(refused.value)


def test_a_file_that_is_no_database_is_named_and_left_alone(world: World) -> None:
    world.home.mkdir()
    path = world.home / "runatlas.db"
    path.write_bytes(b"these are my notes, not a database " * 200)
    with pytest.raises(BadSetting, match="not a database"):
        world.pipeline().status()
    assert path.read_bytes().startswith(b"these are my notes")


def test_a_home_that_is_a_file_is_refused_with_the_way_out(world: World) -> None:
    world.home.write_text("a file")
    with pytest.raises(BadSetting, match="RUNATLAS_HOME"):
        world.pipeline().status()


def test_a_database_of_a_newer_version_is_refused_by_load_and_index(either: World) -> None:
    pipeline = either.pipeline()
    pipeline.status()
    with pipeline.store.db.write() as connection:
        connection.exec_driver_sql("update alembic_version set version_num = '9999'")
    for call in (lambda p: p.load([either.logs]), lambda p: p.index()):
        with pytest.raises(SchemaTooNew, match="Update runatlas"):
            call(either.pipeline())


def test_a_refused_login_is_no_reason_to_wait(postgres: str) -> None:
    from sqlalchemy import make_url

    url = make_url(postgres).set(database="no_such_database")
    with pytest.raises(BadSetting, match="does not exist"):
        Store(url.render_as_string(hide_password=False))


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "..", ".hidden", "a\0b", "x" * 101, "a b", "*"])
def test_a_dataset_name_never_leaves_the_home(world: World, name: str) -> None:
    write(world.logs / "a.jsonl", lines(3))
    pipeline = world.pipeline()
    for call in (
        lambda: pipeline.load([world.logs], name),
        lambda: pipeline.index(name),
        lambda: pipeline.publish(name),
        lambda: pipeline.verify(name),
        lambda: pipeline.output(name),
    ):
        with pytest.raises(BadSetting, match="Dataset name"):
            call()
    assert {path.name for path in world.folder.iterdir()} <= {"logs", "home"}
    assert not world.home.exists() or {path.suffix for path in world.home.iterdir()} <= {".db", ".db-shm", ".db-wal"}


# --- databases that crash ---------------------------------------------------------------------------------------------


@pytest.fixture
def crashing(postgres: str, world: World) -> Iterator[World]:
    """A world on a PostgreSQL that is up again afterwards."""
    name = f"t{uuid.uuid4().hex[:12]}"
    with connected(postgres) as admin:
        admin.execute(f"create database {name}")
    world.url = sa.make_url(postgres).set(database=name).render_as_string(hide_password=False)
    yield world
    recovered(postgres)
    for pipeline in world.opened:
        pipeline.close()
    with connected(postgres) as admin:
        admin.execute(f"drop database {name} with (force)")


@pytest.mark.slow
def test_a_database_that_crashes_during_a_load_is_waited_for(crashing: World) -> None:
    expected: Counter[str] = Counter()
    for n in range(3):
        write(crashing.logs / f"{n}.jsonl", items := lines(60, seed=n))
        expected.update(texts_of(items))
    pipeline = crashing.pipeline()
    assert crashing.url is not None
    url = crashing.url

    def crash(_step: str, done: int, _total: int) -> None:
        if done < 3:
            crash_postgres(url)
            recovered(url)  # PostgreSQL starts its server processes anew one crash at a time

    crasher = threading.Timer(0.05, lambda: crash_postgres(url))
    crasher.start()
    report = pipeline.load([crashing.logs], progress=crash)
    crasher.join()
    assert report.records.unindexed == sum(expected.values())
    assert pipeline.index().rows == sum(expected.values())
    assert texts(pipeline) == expected
    assert failing(pipeline) == []


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["fetch", "embed", "fit", "keep positions", "publish"])
def test_a_database_that_crashes_during_an_index_is_waited_for(crashing: World, moment: str) -> None:
    write(crashing.logs / "a.jsonl", items := lines(80))
    pipeline = crashing.pipeline()
    pipeline.load([crashing.logs])
    crashes: list[str] = []

    def crash(step: str, _done: int, _total: int) -> None:
        if step == moment and not crashes:
            crashes.append(step)
            crash_postgres(crashing.url or "")

    assert pipeline.index(progress=crash).rows == 80
    assert crashes == [moment]
    assert texts(pipeline) == texts_of(items)
    assert failing(pipeline) == []


@pytest.mark.campaign
@pytest.mark.parametrize("step", ["load", "index"])
def test_kills_with_postgresql_as_state_lose_and_double_nothing(crashing: World, step: str) -> None:
    rng = random.Random(f"kills {step}")
    pipeline = crashing.pipeline()
    expected: Counter[str] = Counter()
    command = ("load", crashing.logs) if step == "load" else ("index",)
    n_killed = attempt = 0
    whole_s = 0.0
    while n_killed < 6 and attempt < 30:
        attempt += 1
        write(crashing.logs / f"{attempt}.jsonl", items := lines(120, seed=attempt))
        expected.update(texts_of(items))
        if step == "index":
            pipeline.load([crashing.logs])
        began = time.monotonic()
        child = shell(crashing.settings(), *command)
        if not whole_s:  # the first one is not killed: it shows how long it takes on this machine
            child.communicate()
            whole_s = time.monotonic() - began
            continue
        time.sleep(whole_s * rng.uniform(0.4, 1.0))
        child.kill()
        child.communicate()
        is_killed = child.returncode == -signal.SIGKILL
        n_killed += is_killed
        whole_s *= 1.0 if is_killed else 0.7  # it was quicker than the first one
        if rng.random() < 0.5:
            pipeline.load([crashing.logs])
            patient_index(pipeline)
            assert texts(pipeline) == expected
    pipeline.load([crashing.logs])
    patient_index(pipeline)
    assert texts(pipeline) == expected
    assert failing(pipeline) == []
    assert n_killed == 6


# --- records at their worst -------------------------------------------------------------------------------------------

odd_lines = [
    rb'{"iteration":0,"idx":0,"type":"user","text":"half a pair \ud800","k\ud800":"v\udfff"}',
    rb'{"iteration":1,"idx":0,"type":"us\u0000er","text":"a \u0000 inside","what":"a\u0000b"}',
    rb'{"iteration":2,"idx":0,"type":"user","text":"year 1","timestamp":"0001-01-01T00:00:00+14:00"}',
    rb'{"iteration":2,"idx":1,"type":"user","text":"year 9999","timestamp":"9999-12-31T23:59:59-14:00"}',
    rb'{"iteration":2,"idx":2,"type":"user","text":"no such second","timestamp":1e300}',
    rb'{"iteration":2,"idx":3,"type":"user","text":"before all","timestamp":-62135596801}',
    rb'{"iteration":3,"idx":0,"type":"user","text":"cost","cost":"NaN","n":1e400,"flag":"yes","what":{"a":[1,{}]}}',
    rb'{"iteration":3,"idx":1,"type":"user","text":"cost2","cost":1e999,"n":123456789012345678901234,"flag":true}',
    rb'{"iteration":3,"idx":2,"type":"user","text":"cost3","cost":[1],"n":9223372036854775808,"what":[]}',
    rb'{"iteration":3,"idx":3,"type":"user","text":"cost4","cost":0.5,"n":-9223372036854775808,"what":"plain"}',
    *[rb'{"iteration":4,"idx":0,"type":"user","text":"said thrice"}'] * 3,
    orjson.dumps({"iteration": 5, "idx": 0, "type": "user", "text": "a word " * 150_000}),
    orjson.dumps({"iteration": 5, "idx": 1, "type": "t" * 10_000, "text": "a long type"}),
]
bad_lines = [
    rb'{"iteration":-5,"idx":-1,"type":"user","text":"negative"}',
    rb'{"iteration":99999999999,"idx":0,"type":"user","text":"huge"}',
    b'{"iteration":6,"idx":0,"type":"user","text":"cut',
]


def test_odd_records_are_mended_or_defects_and_all_others_reach_the_output(either: World) -> None:
    extras = ("cost:float", "n:int", "flag:bool", "what")
    pipeline = either.pipeline(datasets={"default": DatasetSettings(extras=extras)})
    either.logs.mkdir()
    (either.logs / "a.jsonl").write_bytes(b"\n".join([*odd_lines, *bad_lines, odd_lines[0]]) + b"\n")
    report = pipeline.load([either.logs])
    assert (report.records.new, report.defects) == (len(odd_lines) + 1, len(bad_lines))
    assert pipeline.index().rows == len(odd_lines) + 1
    assert failing(pipeline) == []
    table = pq.read_table(pipeline.snapshot().logs_files[0])
    assert set(table["n"].to_pylist()) == {None, -(2**63)}
    assert set(table["cost"].to_pylist()) == {None, 0.5}
    assert table["text"].to_pylist().count("said thrice") == 3
    assert pipeline.load().records.new == 0


def test_a_file_whose_name_is_not_utf8_is_named_and_the_others_are_read(either: World) -> None:
    write(either.logs / "a.jsonl", lines(3))
    write(either.logs / "two\nlines.jsonl", lines(3, seed=1))
    shutil.copy(either.logs / "a.jsonl", either.logs / os.fsdecode(b"\xff.jsonl"))
    pipeline = either.pipeline()
    report = pipeline.load([either.logs])
    assert (report.records.new, report.sources.failed) == (6, 1)
    assert "rename it" in report.problems[0].reason
    assert pipeline.index().rows == 6
    assert set(pq.read_table(pipeline.snapshot().logs_files[0])["filename"].to_pylist()) == {
        "a.jsonl",
        "two\nlines.jsonl",
    }


# --- embedding services that misbehave --------------------------------------------------------------------------------


@pytest.fixture
def service() -> Iterator[Service]:
    running = Service()
    server = serve(running)
    yield running
    server.shutdown()
    server.server_close()


def spoilt(how: Callable[[list[Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    """A service whose answers are all wrong in one way."""

    def answer(body: dict[str, Any]) -> Any:
        status, headers, said_ = well_behaved(body)
        how(said_["data"])
        return status, headers, said_

    return answer


def _spoil(value: Any) -> Callable[[list[Any]], None]:
    def spoil(data: list[Any]) -> None:
        data[-1]["embedding"] = value

    return spoil


wrong_answers: dict[str, Callable[[dict[str, Any]], Any]] = {
    "wrong dimension": spoilt(_spoil([0.1] * 7)),
    "all of a wrong dimension": spoilt(lambda data: [item.update(embedding=[0.1] * 7) for item in data]),
    "NaN": spoilt(_spoil([float("nan")] * 16)),
    "zeros": spoilt(_spoil([0.0] * 16)),
    "short": spoilt(lambda data: data.pop()),
    "repeated index": spoilt(lambda data: [item.update(index=0) for item in [*data, data[0]]] + [data.append(data[0])]),
    "no JSON": lambda _: (200, {}, b"<html>sign in</html>"),
    "limited": lambda _: (429, {"Retry-After": "0.01"}, {"error": "slow down"}),
    "failing": lambda _: (500, {}, {"error": "oops"}),
}


def checked_against_the_texts(pipeline: Pipeline) -> None:
    """Each published vector is the one of its record's text."""
    snapshot = pipeline.snapshot()
    by_id = {row["id"]: row["vector"] for path in snapshot.embeddings_files for row in pq.read_table(path).to_pylist()}
    for path in snapshot.logs_files:
        for row in pq.read_table(path, columns=["id", "text"]).to_pylist():
            assert np.allclose(by_id[row["id"]], hash_vector(row["text"], 16), atol=1e-3)


@pytest.mark.parametrize("wrong", wrong_answers)
def test_a_service_that_answers_wrongly_fails_the_run_and_no_wrong_vector_is_stored(
    world: World, service: Service, wrong: str
) -> None:
    write(world.logs / "a.jsonl", lines(40))
    pipeline = world.pipeline(
        model=f"openai://tiny?base_url={service.url}/v1&dimensions=16", embed=EmbedSettings(retries=1, backoff_s=0.01)
    )
    pipeline.load([world.logs])
    service.answer = wrong_answers[wrong]
    with pytest.raises(ServiceUnavailable, match="Progress is saved"):
        pipeline.index()
    assert pipeline.status()["default"].failed == 0
    service.answer = well_behaved
    assert pipeline.index().rows == 40
    checked_against_the_texts(pipeline)
    assert failing(pipeline) == []


def test_a_service_that_is_moody_gives_right_vectors_in_the_end(world: World, service: Service) -> None:
    write(world.logs / "a.jsonl", lines(60))
    rng = random.Random(3)

    def moody(body: dict[str, Any]) -> Any:
        if rng.random() < 0.6:
            return wrong_answers[rng.choice(["limited", "failing"])](body)
        status, headers, said_ = well_behaved(body)
        rng.shuffle(said_["data"])
        return status, headers, said_

    service.answer = moody
    pipeline = world.pipeline(
        model=f"openai://tiny?base_url={service.url}/v1&batch=8", embed=EmbedSettings(retries=30, backoff_s=0.001)
    )
    pipeline.load([world.logs])
    assert pipeline.index().rows == 60
    checked_against_the_texts(pipeline)
    assert failing(pipeline) == []


def test_a_service_too_slow_to_answer_is_named_and_the_next_run_goes_on(world: World, service: Service) -> None:
    given_up = threading.Event()

    def slow(body: dict[str, Any]) -> Any:
        given_up.wait(300)
        return well_behaved(body)

    write(world.logs / "a.jsonl", lines(20))
    model = f"openai://tiny?base_url={service.url}/v1&dimensions=16"
    pipeline = world.pipeline(model=model, embed=EmbedSettings(retries=1, backoff_s=0.01, timeout_s=0.1))
    pipeline.load([world.logs])
    service.answer = slow
    with pytest.raises(ServiceUnavailable, match="within"):
        pipeline.index()
    given_up.set()
    service.answer = well_behaved
    patient = world.pipeline(model=model)
    assert patient.index().rows == 20
    assert failing(patient) == []


def test_a_service_whose_model_was_changed_under_its_name_needs_a_recompute(world: World, service: Service) -> None:
    def wider(body: dict[str, Any]) -> Any:
        data = [{"index": i, "embedding": hash_vector(text, 24).tolist()} for i, text in enumerate(body["input"])]
        return 200, {}, {"data": data}

    model = f"openai://tiny?base_url={service.url}/v1"
    world.grown(30, model=model)
    service.answer = wider
    append(world.logs / "a.jsonl", lines(10, start=500))
    changed = world.pipeline(model=model)
    changed.load()
    with pytest.raises(DimensionMismatch, match="recompute"):
        changed.index()
    done = changed.index(recompute=True)
    assert (done.rows, changed.snapshot().manifest.dim) == (50, 24)
    assert failing(changed) == []


def test_a_text_that_a_new_model_refuses_leaves_the_map_and_comes_back_when_tried_again(
    world: World, service: Service
) -> None:
    def choosy(body: dict[str, Any]) -> Any:
        if any("retry" in text for text in body["input"]):
            return 400, {}, {"error": "I don't like it"}
        return well_behaved(body)

    pipeline = world.grown(30)
    n_refused = sum("retry" in text for text in texts(pipeline).elements())
    assert n_refused
    service.answer = choosy
    other = world.pipeline(model=f"openai://tiny?base_url={service.url}/v1&dimensions=16")
    done = other.index(recompute=True)
    assert (done.rows, done.failed, len(other.failed())) == (40 - n_refused, n_refused, n_refused)
    assert failing(other) == []
    service.answer = well_behaved
    assert other.index(retry_failed=True).rows == 40
    assert failing(other) == []


# --- disks ------------------------------------------------------------------------------------------------------------


def expect_told(child: Any, *words: str) -> None:
    """It ended in one line that says what is wrong and what to do."""
    code, err = said(child)
    assert code == 1, err
    assert "Traceback" not in err
    assert all(word in err for word in words), err


@pytest.mark.slow
@pytest.mark.parametrize("step", ["load", "index", "recompute"])
def test_a_full_disk_is_told_and_the_next_run_completes(world: World, tmp_path: Path, step: str) -> None:
    with small_disk(tmp_path / "home", "64m") as home:
        pipeline = world.grown(60)
        before = texts(pipeline)
        write(world.logs / "b.jsonl", items := lines(2_000, seed=3))
        if step != "load":
            pipeline.load()
        pipeline.close()  # its log is written back: what is free then is what the step has
        used = shutil.disk_usage(home).used
        remount(home, f"size={used + 150_000}")
        words = ["load"] if step == "load" else ["index", *(["--recompute"] if step == "recompute" else [])]
        expect_told(shell(world.settings(), *words), "run it again")
        assert texts(pipeline) == before, "readers see the old snapshot"
        remount(home, "size=64m")
        pipeline.load()
        patient_index(pipeline)
        assert texts(pipeline) == before + texts_of(items)
        assert failing(pipeline) == []
        pipeline.close()


@pytest.mark.slow
@pytest.mark.parametrize("step", ["load", "index"])
def test_a_disk_that_became_read_only_is_told(world: World, tmp_path: Path, step: str) -> None:
    with small_disk(tmp_path / "home", "64m") as home:
        pipeline = world.grown(20)
        append(world.logs / "a.jsonl", lines(5, start=500))
        pipeline.close()
        remount(home, "ro")
        expect_told(shell(world.settings(), step), "writable")
        remount(home, "rw")
        pipeline.load()
        assert pipeline.index().rows == 35
        assert failing(pipeline) == []
        pipeline.close()


@pytest.mark.slow
@pytest.mark.parametrize("step", ["load", "index", "publish"])
def test_files_that_may_not_grow_are_told_and_the_next_run_completes(world: World, step: str) -> None:
    pipeline = world.grown(60)
    write(world.logs / "b.jsonl", items := lines(3_000, seed=3))
    if step == "index":
        pipeline.load()
    if step == "publish":
        shutil.rmtree(pipeline.output())
    expected = texts_of([*lines(60), *lines(10, start=60), *items])
    limit = 2_000 if step == "publish" else 40_000
    expect_told(shell(world.settings(), step, preexec_fn=limited_files(limit)), "run it again")
    pipeline.load()
    patient_index(pipeline)
    assert texts(pipeline) == expected
    assert failing(pipeline) == []


@pytest.mark.slow
@pytest.mark.parametrize("step", ["load", "index"])
def test_a_home_that_another_user_may_not_write_is_told(world: World, step: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can act as another user")
    pipeline = world.grown(20)
    append(world.logs / "a.jsonl", lines(5, start=500))
    pipeline.close()
    for folder in (world.folder, *world.folder.parents):
        if not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    try:
        child = shell(world.settings(), step, user=nobody, group=nobody)
    except PermissionError as error:
        pytest.skip(f"another user can't run this interpreter: {error}")
    code, err = said(child)
    if "No module named" in err:
        pytest.skip("another user can't read this project")
    assert code in {1, 2}
    assert "Traceback" not in err
    assert "writable" in err, err
    pipeline.load()
    assert pipeline.index().rows == 35


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "calls", "number"),
    [
        ("/output/", "fsync", errno.EIO),
        ("/output/", "write", errno.ENOSPC),
        ("/output/default/current", "rename", errno.EIO),
        ("/output/default/snapshots/000003", "rename", errno.EROFS),
        ("/output/default/parts/", "rename", errno.ENOSPC),
        ("runatlas.db", "fsync", errno.EIO),
        ("runatlas.db", "write", errno.ENOSPC),
    ],
)
def test_a_disk_that_refuses_a_call_is_told_and_the_next_index_completes(
    world: World, tmp_path: Path, path: str, calls: str, number: int
) -> None:
    library = build_shim(tmp_path)
    pipeline = world.grown(20)
    before = texts(pipeline)
    append(world.logs / "a.jsonl", lines(5, start=500))
    pipeline.load()
    pipeline.close()
    faulty = {"LD_PRELOAD": str(library), "FAULT_PATH": path, "FAULT_CALLS": calls, "FAULT_ERRNO": str(number)}
    expect_told(shell(world.settings(), "index", more=faulty), "run it again")
    assert texts(pipeline) == before, "readers see the old snapshot"
    patient_index(pipeline)
    assert pipeline.snapshot().manifest.rows == 35
    assert failing(pipeline) == []
