"""The store keeps its promises on SQLite and on PostgreSQL alike."""

from __future__ import annotations

import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from databases import fresh_database

from components.contracts import Batch, Cursor, Defect, LedgerEntry, Locator, Record, record_id
from components.errors import LeaseHeld, LeaseLost, SchemaTooNew
from components.store import Store
from components.store.engine import Database
from components.store.index_requests import IndexRequest, expires_after, request_t
from components.store.lease import Fence, lease_t
from components.store.ledger import SourceMoved
from components.store.migrate import upgrade
from components.store.runs import cancelled_by_user, stopped_by_signal
from components.store.tables import RecordState
from components.store.vectors import Tally


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'runatlas.db'}"
        return
    with fresh_database(request.getfixturevalue("postgres")) as database:
        yield database


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = Store(url, lease_ttl_s=3_600)
    yield opened
    opened.close()


def record(text: str, iteration: int = 0, filename: str = "a.jsonl") -> Record:
    return Record(
        id=record_id(filename=filename, iteration=iteration, idx_in_iteration=0, type="user", text=text),
        timestamp=datetime(2026, 1, 2, 3, 4, 5, 678_901, UTC),
        filename=filename,
        text=text,
        iteration=iteration,
        idx_in_iteration=0,
        type="user",
        extra={"model": "m", "cost": 0.5},
    )


def batch(records: Sequence[Record], offset: int = 100, defects: Sequence[Defect] = ()) -> Batch:
    cursor = Cursor(format="generic", offset=offset, size_bytes=offset, mtime_ns=2**62, inode=2**64 - 1)
    return Batch(records=records, defects=defects, cursor=cursor, size_bytes=offset)


def register(store: Store, key: str = "a.jsonl", root: str = "/logs") -> tuple[int, LedgerEntry]:
    dataset_id = store.datasets.id("default", create=True)
    assert dataset_id is not None
    return dataset_id, store.ledger.register(dataset_id, Locator(location=f"{root}/{key}", key=key, root=root))


def persist(store: Store, records: Sequence[Record], *, generation: int = 1, defects: Sequence[Defect] = ()) -> int:
    dataset_id, entry = register(store)
    kept = store.writer.persist(
        dataset_id, entry, batch(records, defects=defects), generation=generation, version=entry.version
    )
    return kept.new


def texts(store: Store, *states: RecordState) -> list[str]:
    dataset_id, _ = register(store)
    return [s.record.text for rows in store.records.stream(dataset_id, *(states or tuple(RecordState))) for s in rows]


def fence(store: Store) -> Fence:
    return store.leases.acquire("index:default", "test")


class TestLedger:
    def test_records_come_back_as_they_were_given(self, store: Store) -> None:
        given = record("naïve \N{SNOWMAN} text")
        persist(store, [given])
        dataset_id, _ = register(store)
        assert store.records.by_id(dataset_id, given.id).record == given  # type: ignore[union-attr]

    def test_the_same_batch_on_an_old_version_is_refused_whole(self, store: Store) -> None:
        dataset_id, entry = register(store)
        store.writer.persist(dataset_id, entry, batch([record("one")]), generation=1, version=entry.version)
        with pytest.raises(SourceMoved):
            store.writer.persist(dataset_id, entry, batch([record("two")]), generation=1, version=entry.version)
        assert texts(store) == ["one"]

    def test_a_new_generation_finds_what_is_there_and_adds_what_is_new(self, store: Store) -> None:
        assert persist(store, [record("one"), record("two")]) == 2
        assert persist(store, [record("two"), record("three")], generation=2) == 1
        assert sorted(texts(store)) == ["one", "three", "two"]

    def test_equal_records_of_one_source_are_each_kept(self, store: Store) -> None:
        assert persist(store, [record("same")] * 3) == 3
        assert persist(store, [record("same")] * 2) == 2  # the log went on with two more
        assert persist(store, [record("same")] * 5, generation=2) == 0  # and was then read again whole
        assert persist(store, [record("same")] * 6, generation=3) == 1

    def test_replacing_marks_what_the_newest_generation_lacks_and_revives_what_returns(self, store: Store) -> None:
        persist(store, [record("one"), record("two")])
        persist(store, [record("two")], generation=2)
        _, entry = register(store)
        assert store.writer.finish(entry, version=entry.version, generation=2, on_rewrite="replace") == 1
        assert texts(store, RecordState.SUPERSEDED) == ["one"]
        persist(store, [record("one"), record("two")], generation=3)
        assert sorted(texts(store, RecordState.WAITING)) == ["one", "two"]

    def test_a_defect_is_kept_once_and_goes_with_its_generation(self, store: Store) -> None:
        defect = Defect(offset=7, reason="not JSON\0", excerpt="{\ud800")
        persist(store, [], defects=[defect])
        dataset_id, entry = register(store)
        assert store.defects.rows(dataset_id) == [
            {"source": "a.jsonl", "offset": 7, "reason": "not JSON\ufffd", "excerpt": "{?"}
        ]
        persist(store, [record("mended")], generation=2)
        store.writer.finish(entry, version=entry.version + 1, generation=2, on_rewrite="keep")
        assert store.defects.count(dataset_id) == 0

    def test_the_same_path_under_two_roots_gets_two_keys(self, store: Store) -> None:
        _, one = register(store, root="/logs/one")
        _, two = register(store, root="/logs/two")
        _, again = register(store, root="/logs/one")
        assert (one.key, two.key, again.key) == ("a.jsonl", "two/a.jsonl", "a.jsonl")

    def test_sources_given_by_hand_are_remembered_once(self, store: Store) -> None:
        dataset_id, _ = register(store)
        store.datasets.remember(dataset_id, ["/logs", "/more"])
        store.datasets.remember(dataset_id, ["/more", "/logs"])
        assert store.datasets.sources(dataset_id) == ("/logs", "/more")


class TestVectors:
    def test_vectors_come_back_in_the_order_asked_for(self, store: Store) -> None:
        vectors = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        model_id = store.vectors.model_id("test model", 8)
        digests = [bytes([n]) * 32 for n in range(5)]
        assert store.vectors.put(fence(store), model_id, digests, vectors) == 5
        known = store.vectors.known(model_id, [*digests, b"x" * 32])
        wanted = [known[digests[n]] for n in (3, 0, 3, 4)]
        np.testing.assert_allclose(store.vectors.get(wanted, 8), vectors[[3, 0, 3, 4]], atol=1e-3)

    def test_the_same_text_is_stored_once(self, store: Store) -> None:
        held = fence(store)
        model_id = store.vectors.model_id("test model", 2)
        vector = np.array([[1.0, 0.0]], np.float32)
        assert [store.vectors.put(held, model_id, [b"d" * 32], vector) for _ in range(2)] == [1, 0]
        assert store.vectors.model_id("test model", 2) == model_id

    def test_what_batches_took_adds_up(self, store: Store) -> None:
        held, (dataset_id, _) = fence(store), register(store)
        model_id = store.vectors.model_id("test model", 2)
        for n in range(3):
            took = Tally(dataset_id=dataset_id, texts=1, tokens=2**31, seconds=0.5)
            store.vectors.put(held, model_id, [bytes([n]) * 32], np.array([[1.0, 0.0]], np.float32), took)
        summed = Tally(dataset_id=dataset_id, texts=3, tokens=3 * 2**31, seconds=1.5, batches=3)
        assert store.vectors.tallies() == {dataset_id: summed}


class TestIndexRequests:
    def test_a_request_is_open_until_an_index_has_done_it(self, store: Store) -> None:
        store.index_requests.add("default")
        store.index_requests.add("default", recompute=True)
        store.index_requests.add("default", retry_failed=True)
        store.index_requests.add("other", recompute=True)
        request = store.index_requests.open("default")
        assert (request.recompute, request.retry_failed, len(request.ids)) == (True, True, 3)
        store.index_requests.add("default")
        store.index_requests.close(fence(store), request)
        assert len(store.index_requests.open("default").ids) == 1, "what came later is still open"
        store.index_requests.withdraw("default")
        assert store.index_requests.open("default") == IndexRequest()
        assert store.index_requests.open("other").recompute

    def test_a_request_that_no_index_did_for_long_expires(self, store: Store) -> None:
        store.index_requests.add("default", recompute=True)
        long_ago = datetime.now(UTC) - 2 * expires_after
        with store.db.write() as connection:
            connection.execute(sa.update(request_t).values(asked_at=long_ago))
        assert store.index_requests.open("default") == IndexRequest()


def sleep_too_long(store: Store) -> None:
    """As if every holder had been asleep for longer than its lease lasts."""
    ago = store.leases.ttl_s + 1
    with store.db.write() as connection:
        times = {"expires_at": lease_t.c.expires_at - ago, "heartbeat_at": lease_t.c.heartbeat_at - ago}
        connection.execute(sa.update(lease_t).values(times))


class TestLease:
    def test_only_one_holds_it_until_it_is_given_back(self, store: Store) -> None:
        held = fence(store)
        message = (
            r"already being indexed \(test, for \d+ s; last heartbeat \d+ s ago, expires in 3\d+ s without another\)\."
        )
        with pytest.raises(LeaseHeld, match=message):
            fence(store)
        store.leases.release(held)
        assert fence(store).token == held.token + 1

    def test_a_sleeper_that_lost_its_lease_can_write_no_more(self, store: Store) -> None:
        sleeper = fence(store)
        sleep_too_long(store)
        assert store.leases.holder("index:default").is_stale
        fence(store)
        with pytest.raises(LeaseLost), sleeper.write():
            pytest.fail("the sleeper got in")
        assert not store.leases.renew(sleeper, "")

    def test_a_sleeper_whom_nobody_followed_goes_on(self, store: Store) -> None:
        sleeper = fence(store)
        sleep_too_long(store)
        assert store.leases.renew(sleeper, "")
        with pytest.raises(LeaseHeld):
            fence(store)

    def test_a_clock_that_was_set_back_does_not_make_a_dead_holder_immortal(self, store: Store) -> None:
        dead = fence(store)
        with store.db.write() as connection:
            hour_ahead = {"expires_at": lease_t.c.expires_at + 3_600, "heartbeat_at": lease_t.c.heartbeat_at + 3_600}
            connection.execute(sa.update(lease_t).values(hour_ahead))
        assert not store.leases.holder("index:default").is_held
        store.leases.wait_for_stale_holder("index:default")
        assert fence(store).token == dead.token + 1

    def test_of_many_that_want_it_at_once_one_gets_it(self, store: Store) -> None:
        got: list[int] = []
        refused: list[str] = []

        def want() -> None:
            try:
                got.append(fence(store).token)
            except LeaseHeld as error:
                refused.append(str(error))

        threads = [threading.Thread(target=want) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(got), len(refused)) == (1, 5)


def test_a_fresh_database_is_opened_by_many_at_once(tmp_path: Path) -> None:
    code = """
import sys
from components.store import Store
for url in sys.argv[1:]:
    print("ready", flush=True)
    sys.stdin.readline()
    Store(url).status()
"""
    urls = [f"sqlite:///{tmp_path / f'{n}.db'}" for n in range(4)]
    piped = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    children = [subprocess.Popen([sys.executable, "-c", code, *urls], text=True, **piped) for _ in range(4)]
    for _ in urls:
        assert [child.stdout.readline() for child in children] == ["ready\n"] * 4
        for child in children:
            child.stdin.write("go\n")
            child.stdin.flush()
    assert [child.communicate(timeout=300)[1] for child in children] == [""] * 4


class TestSchema:
    def test_the_migrations_make_just_the_tables_of_the_code(self, store: Store) -> None:
        from alembic import command
        from alembic.config import Config

        from components.store.migrate import migrations

        config = Config()
        config.set_main_option("script_location", str(migrations))
        with store.db.write() as connection:
            config.attributes["connection"] = connection
            command.check(config)  # raises on a difference

    def test_a_database_of_the_first_version_is_brought_up_with_what_it_holds(self, url: str) -> None:
        from alembic import command
        from alembic.config import Config

        from components.store.migrate import migrations

        config = Config()
        config.set_main_option("script_location", str(migrations))
        with closing(Database(url)) as db, db.write() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "0001")
            row = "insert into lease (name, owner, token, expires_at, heartbeat_at, progress) values "
            connection.exec_driver_sql(f"{row}('index:default', '', 7, 0, 0, '')")
        with closing(Store(url)) as store:
            assert fence(store).token == 8
            assert store.index_requests.open("default") == IndexRequest()

    def test_open_requests_survive_the_migration_that_renames_their_table(self, url: str) -> None:
        from alembic import command
        from alembic.config import Config

        from components.store.migrate import migrations

        config = Config()
        config.set_main_option("script_location", str(migrations))
        with closing(Database(url)) as db, db.write() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "0007")
            recent = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
            connection.exec_driver_sql(
                "insert into wish (id, dataset, recompute, retry_failed, asked_at, done_at) values "
                f"('a', 'default', true, false, '{recent}', null)"
            )
        with closing(Store(url)) as store:
            assert store.index_requests.open("default") == IndexRequest(ids=("a",), recompute=True)
            assert store.datasets.settings() == {}

    def test_a_database_of_a_newer_version_is_refused(self, store: Store) -> None:
        with store.db.write() as connection:
            connection.exec_driver_sql("update alembic_version set version_num = '9999'")
        with pytest.raises(SchemaTooNew, match="9999"):
            upgrade(store.db)

    def test_processes_that_start_together_migrate_once(self, url: str) -> None:
        code = "import sys; from components.store import Store; Store(sys.argv[1]).status(); print('up')"
        children = [
            subprocess.Popen(
                [sys.executable, "-c", code, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            for _ in range(3)
        ]
        for child in children:
            out, err = child.communicate(timeout=300)
            assert out == "up\n", err


def test_a_vector_takes_less_than_1000_bytes(store: Store) -> None:
    n = 5_000
    vectors = np.random.default_rng(0).normal(size=(n, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    model_id = store.vectors.model_id("test model", 384)
    before = store.db.size_bytes()
    digests = [np.random.default_rng(i).bytes(16) for i in range(n)]
    store.vectors.put(fence(store), model_id, digests, vectors)
    assert (store.db.size_bytes() - before) / n <= 1_000


def test_runs_tell_their_progress_and_their_end(store: Store) -> None:
    store.runs.start("r1", "default", "index")
    store.runs.progress("r1", "embed", 5, 10)
    assert [(run.step, run.done, run.total) for run in store.runs.active("index")] == [("embed", 5, 10)]
    store.runs.finish("r1", "done", report={"rows": 3})
    assert store.runs.active() == []
    assert store.runs.last("default", "index").report == {"rows": 3}  # type: ignore[union-attr]


def load_of(store: Store, dataset: str, new: int) -> None:
    store.runs.start(id := uuid.uuid4().hex, dataset, "load")
    store.runs.finish(id, "done", report={"records": {"new": new}})


def test_a_cancelled_index_is_held_back_until_something_new_is_loaded(store: Store) -> None:
    store.runs.start("r1", "default", "index")
    assert not store.runs.is_held_back("default")
    store.runs.finish("r1", "cancelled", error=cancelled_by_user)
    assert store.runs.is_held_back("default")
    load_of(store, "default", new=0)
    load_of(store, "other", new=5)
    assert store.runs.is_held_back("default")
    load_of(store, "default", new=1)
    assert not store.runs.is_held_back("default")
    assert store.runs.user_cancelled_at("default") == store.runs.get("r1").finished_at  # type: ignore[union-attr]


def test_a_cancelled_index_is_held_back_until_somebody_starts_one(store: Store) -> None:
    store.runs.start("r1", "default", "index")
    store.runs.finish("r1", "cancelled", error=cancelled_by_user)
    store.runs.start("r2", "default", "index")
    assert not store.runs.is_held_back("default")


def test_an_index_that_was_stopped_with_its_process_is_not_held_back(store: Store) -> None:
    store.runs.start("r1", "default", "index")
    store.runs.finish("r1", "cancelled", error=stopped_by_signal)
    assert not store.runs.is_held_back("default")
    assert store.runs.user_cancelled_at("default") is None


def test_a_cancelled_index_of_all_datasets_holds_back_those_that_it_had_not_done(store: Store) -> None:
    store.runs.start("r1", "*", "index")
    store.runs.start("r1/done", "done", "index")
    store.runs.finish("r1/done", "done")
    store.runs.start("r1/begun", "begun", "index")
    for line in ("r1/begun", "r1"):
        store.runs.finish(line, "cancelled", error=cancelled_by_user)
    store.runs.start("r2", "*", "index")  # of the night, which leaves these out
    store.runs.finish("r2", "done")
    assert [store.runs.is_held_back(name) for name in ("done", "begun", "not begun")] == [False, True, True]


def test_a_cancellation_that_the_run_could_not_note_is_noted_for_it(store: Store) -> None:
    at = datetime.now(UTC)
    store.runs.start("killed", "*", "index")
    store.runs.start("killed/a", "a", "index")
    store.runs.start("killed2", "b", "index")
    for id, dataset in (("killed", "*"), ("never begun", "c")):
        store.runs.record_cancelled(id, dataset, at=at)
    found = {id: store.runs.get(id) for id in ("killed", "killed/a", "killed2", "never begun")}
    assert {id: run.state for id, run in found.items() if run} == {
        "killed": "cancelled",
        "killed/a": "cancelled",
        "killed2": "running",
        "never begun": "cancelled",
    }
    assert found["never begun"].error == cancelled_by_user  # type: ignore[union-attr]
    assert store.runs.is_held_back("c")


def test_a_run_that_fell_silent_has_crashed(store: Store) -> None:
    store.runs.start("r1", "default", "index")
    with store.db.write() as connection:
        connection.execute(sa.text("update run set heartbeat_at = :then"), {"then": "2020-01-01 00:00:00.000000"})
    assert store.runs.get("r1").state == "crashed"  # type: ignore[union-attr]
    assert store.runs.active() == []


def test_opening_the_database_again_drops_no_lock_of_this_process(tmp_path):
    """POSIX locks belong to a process and a file: closing any descriptor of the file drops all of them.

    Without its lock another process, when it closes the database, takes itself for the last one and removes the
    write-ahead log that this one still uses.
    """
    url = f"sqlite:///{tmp_path / 'runatlas.db'}"
    first = Store(url)
    first.datasets.id("a", create=True)
    with first.db.read() as connection:
        connection.exec_driver_sql("select count(*) from dataset").scalar()
        log = (tmp_path / "runatlas.db-wal").stat().st_ino
        Store(url).close()
        code = f"import sqlite3; c = sqlite3.connect({str(tmp_path / 'runatlas.db')!r}); c.execute('create table t(x)'); c.close()"
        subprocess.run([sys.executable, "-c", code], check=True)
        assert (tmp_path / "runatlas.db-wal").stat().st_ino == log
    first.datasets.id("b", create=True)
    assert set(first.datasets.ids()) == {"a", "b"}
    first.close()
