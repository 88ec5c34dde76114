"""The watcher on real folders and databases."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from contextlib import contextmanager

import pytest
from databases import fresh_database, postgres_server

from components.settings import DatasetSettings, LoadSettings, Settings, WatchSettings
from flows import watch as watching
from flows.watch import Debounce, concerns, connection_of, datasets_of, folder_of, watch


def settings_for(**sources):
    return Settings(
        load=LoadSettings(quiet_s=0.0),
        watch=WatchSettings(debounce_s=0.3),
        datasets={name: DatasetSettings(sources=tuple(map(str, given))) for name, given in sources.items()},
    )


class Called(list):
    """The datasets that were called for, in order."""

    def wait_for(self, n, within_s=20.0):
        end = time.monotonic() + within_s
        while len(self) < n and time.monotonic() < end:
            time.sleep(0.05)
        return list(self)


@contextmanager
def watched(settings, monkeypatch, sources=None):
    monkeypatch.setattr(watching, "rescan_s", 0.5)
    called, stop = Called(), threading.Event()
    thread = threading.Thread(target=watch, args=(settings, called.append, stop), kwargs={"sources": sources})
    thread.start()
    time.sleep(1.0)  # the watch has begun
    try:
        yield called
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def test_a_burst_of_changes_is_one_call(tmp_path, monkeypatch):
    with watched(settings_for(runs=[tmp_path]), monkeypatch) as called:
        for n in range(200):
            (tmp_path / f"{n}.jsonl").write_text("{}\n")
        assert called.wait_for(1) == ["runs"]
        time.sleep(1)
    assert called == ["runs"]


def test_each_dataset_is_called_for_its_own_folder_and_new_subfolders(tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with watched(settings_for(one=[tmp_path / "one"], two=[tmp_path / "two" / "*.jsonl"]), monkeypatch) as called:
        (tmp_path / "one" / "deep").mkdir()
        (tmp_path / "one" / "deep" / "a.jsonl").write_text("{}\n")
        assert called.wait_for(1) == ["one"]
        (tmp_path / "two" / "a.jsonl").write_text("{}\n")
        assert called.wait_for(2)[1] == "two"


def test_a_folder_that_is_deleted_and_comes_back_is_watched_on(tmp_path, monkeypatch):
    folder = tmp_path / "logs"
    folder.mkdir()
    with watched(settings_for(runs=[folder]), monkeypatch) as called:
        shutil.rmtree(folder)
        time.sleep(2)
        n = len(called)
        folder.mkdir()
        (folder / "a.jsonl").write_text("{}\n")
        assert len(called.wait_for(n + 1)) > n
        time.sleep(1.5)
        n = len(called)
        (folder / "b.jsonl").write_text("{}\n")
        assert len(called.wait_for(n + 1)) > n


def test_a_source_that_is_added_later_is_watched_too(tmp_path, monkeypatch):
    known = {}
    with watched(settings_for(), monkeypatch, sources=lambda: known) as called:
        known["late"] = (str(tmp_path),)
        time.sleep(1.5)
        (tmp_path / "a.jsonl").write_text("{}\n")
        assert called.wait_for(1) == ["late"]


def test_a_commit_of_somebody_else_to_a_sqlite_table_is_noticed(tmp_path, monkeypatch):
    file = tmp_path / "runs.db"
    with sqlite3.connect(file) as connection:
        connection.execute("create table steps (id integer primary key, text)")
    with watched(settings_for(rows=[f"sqlite:///{file}?table=steps"]), monkeypatch) as called:
        time.sleep(1)
        assert called == []
        with sqlite3.connect(file) as connection:
            connection.execute("insert into steps (text) values ('new')")
        assert called.wait_for(1) == ["rows"]


def test_a_callback_that_fails_is_tried_again_with_the_next_change(tmp_path, monkeypatch):
    tries, stop = Called(), threading.Event()

    def fails(dataset):
        tries.append(dataset)
        raise OSError("no server")

    monkeypatch.setattr(watching, "rescan_s", 0.5)
    thread = threading.Thread(target=watch, args=(settings_for(runs=[tmp_path]), fails, stop))
    thread.start()
    time.sleep(1)
    for n in (1, 2):
        (tmp_path / f"{n}").write_text("x")
        assert len(tries.wait_for(n)) == n
    stop.set()
    thread.join(10)


@pytest.mark.slow
def test_a_notification_of_postgresql_is_heard_again_after_its_connection_was_cut(monkeypatch):
    psycopg = pytest.importorskip("psycopg")
    with postgres_server() as server, fresh_database(server) as url:
        source = f"{url}{'&' if '?' in url else '?'}table=steps"
        plain, _ = connection_of(source)
        with (
            psycopg.connect(plain, autocommit=True) as other,
            watched(settings_for(rows=[source]), monkeypatch) as called,
        ):
            other.execute("notify runatlas, 'another'")
            time.sleep(1.5)
            assert called == []
            other.execute("notify runatlas, 'steps'")
            assert called.wait_for(1) == ["rows"]
            other.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'runatlas watch'"
            )
            assert len(called.wait_for(2)) == 2, "what came while nobody listened is asked for"
            other.execute("notify runatlas")
            assert len(called.wait_for(3)) == 3


def test_what_never_falls_quiet_is_loaded_all_the_same():
    changes = Debounce(quiet_s=1.0)
    seen = []
    for tick in range(100):
        changes.note("runs", tick / 2)
        seen += changes.due(tick / 2)
    assert len(seen) == 4


def test_notifications_name_a_table_or_all():
    url, table = connection_of("postgresql+psycopg://me:pw@db:5433/logs?table=public.steps&cursor=id&sslmode=require")
    assert (url, table) == ("postgresql://me:pw@db:5433/logs?sslmode=require", "public.steps")
    assert concerns("steps", table)
    assert concerns("", table)
    assert not concerns("others", table)


def test_a_path_belongs_to_every_dataset_whose_folder_holds_it(tmp_path):
    owners = [(tmp_path, "all"), (tmp_path / "a", "a"), (tmp_path / "ab", "ab")]
    assert datasets_of([(1, str(tmp_path / "a" / "x.jsonl"))], owners) == {"all", "a"}


def test_a_file_is_watched_by_its_folder(tmp_path):
    (tmp_path / "a.jsonl").write_text("")
    assert folder_of(str(tmp_path / "a.jsonl")) == tmp_path
    assert folder_of(str(tmp_path / "**" / "*.jsonl")) == tmp_path
