"""The watcher on real folders and databases."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from contextlib import closing, contextmanager
from itertools import count

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

    def after(self, change, within_s=180.0):
        """The datasets called for after a change, which is made again and again until one is: `change(n)`, n = 0, 1, …

        The operating system tells of changes only once the watch stands, and nobody can say when that is.
        """
        known = len(self)
        end = time.monotonic() + within_s
        tries = count()
        while len(self) == known:
            assert time.monotonic() < end, "nobody was called"
            change(next(tries))
            for _ in range(20):
                if len(self) == known:
                    time.sleep(0.1)
        return self[known:]


class Looks:
    """Sources to watch, and how often the watch has asked for them."""

    def __init__(self, sources):
        self.sources, self.n = sources, 0

    def __call__(self):
        self.n += 1
        return self.sources()

    def wait_for_another(self, within_s=180.0):
        """Returns once the watch has looked at everything anew, from the sources on."""
        wanted, end = self.n + 2, time.monotonic() + within_s
        while self.n < wanted:
            assert time.monotonic() < end, "the watch looks no more"
            time.sleep(0.05)


@contextmanager
def watched(settings, monkeypatch, sources=None, on_change=None):
    """The datasets that are called for, and the looks of the watch, which has taken its first ones."""
    monkeypatch.setattr(watching, "rescan_s", 0.5)
    called, stop = Called(), threading.Event()
    looks = Looks(sources or (lambda: {name: dataset.sources for name, dataset in settings.datasets.items()}))

    def note(dataset):
        called.append(dataset)
        if on_change:
            on_change(dataset)

    thread = threading.Thread(target=watch, args=(settings, note, stop), kwargs={"sources": looks})
    thread.start()
    try:
        looks.wait_for_another()
        yield called, looks
    finally:
        stop.set()
        thread.join(120)
        assert not thread.is_alive()


def writer(folder):
    """A change: another file in the folder."""
    return lambda n: (folder / f"{n}-{time.monotonic_ns()}.jsonl").write_text("{}\n")


def test_a_burst_of_changes_is_one_call():
    changes = Debounce(quiet_s=0.3)
    for n in range(200):
        changes.note("runs", 10.0 + n / 1_000)
        assert changes.due(10.0 + n / 1_000) == []
    assert [changes.due(at) for at in (10.4, 10.5, 20.0)] == [[], ["runs"], []]


def test_changes_of_a_folder_are_noticed(tmp_path, monkeypatch):
    with watched(settings_for(runs=[tmp_path]), monkeypatch) as (called, _):
        assert called.after(writer(tmp_path))[0] == "runs"
    assert set(called) == {"runs"}


def test_each_dataset_is_called_for_its_own_folder_and_new_subfolders(tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    settings = settings_for(one=[tmp_path / "one"], two=[tmp_path / "two" / "*.jsonl"])
    with watched(settings, monkeypatch) as (called, _):
        (tmp_path / "one" / "deep").mkdir()
        assert set(called.after(writer(tmp_path / "one" / "deep"))) == {"one"}
        while "two" not in called.after(writer(tmp_path / "two")):
            pass


@pytest.mark.slow
def test_a_folder_that_is_deleted_and_comes_back_is_watched_on(tmp_path, monkeypatch):
    folder = tmp_path / "logs"
    folder.mkdir()
    with watched(settings_for(runs=[folder]), monkeypatch) as (called, looks):
        shutil.rmtree(folder)
        looks.wait_for_another()
        folder.mkdir()
        assert called.after(writer(folder))
        looks.wait_for_another()
        assert called.after(writer(folder))


def test_a_source_that_is_added_later_is_watched_too(tmp_path, monkeypatch):
    known = {}
    with watched(settings_for(), monkeypatch, sources=lambda: known) as (called, looks):
        known["late"] = (str(tmp_path),)
        looks.wait_for_another()
        assert called.after(writer(tmp_path))[0] == "late"


def test_a_commit_of_somebody_else_to_a_sqlite_table_is_noticed(tmp_path, monkeypatch):
    file = tmp_path / "runs.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("create table steps (id integer primary key, text)")

    def insert(n):
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("insert into steps (text) values (?)", (f"new {n}",))

    with watched(settings_for(rows=[f"sqlite:///{file}?table=steps"]), monkeypatch) as (called, looks):
        looks.wait_for_another()
        assert called == []
        assert called.after(insert) == ["rows"]


def test_a_callback_that_fails_is_tried_again_with_the_next_change(tmp_path, monkeypatch):
    def fails(_):
        raise OSError("no server")

    with watched(settings_for(runs=[tmp_path]), monkeypatch, on_change=fails) as (tries, _):
        assert tries.after(writer(tmp_path))
        assert tries.after(writer(tmp_path))


@pytest.mark.slow
def test_a_notification_of_postgresql_is_heard_again_after_its_connection_was_cut(monkeypatch):
    psycopg = pytest.importorskip("psycopg")
    with postgres_server() as server, fresh_database(server) as url:
        source = f"{url}{'&' if '?' in url else '?'}table=steps"
        plain, _ = connection_of(source)
        with (
            psycopg.connect(plain, autocommit=True) as other,
            watched(settings_for(rows=[source]), monkeypatch) as (called, looks),
        ):
            assert called.after(lambda _: other.execute("notify runatlas, 'steps'"))
            looks.wait_for_another()
            n = len(called)
            other.execute("notify runatlas, 'another'")
            looks.wait_for_another()
            assert len(called) == n
            cut = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'runatlas watch'"
            assert called.after(lambda n: n or other.execute(cut)), "what came while nobody listened is asked for"
            assert called.after(lambda _: other.execute("notify runatlas"))


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
