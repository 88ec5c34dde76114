"""Database tables as sources: the same promises on SQLite and on PostgreSQL."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from databases import fresh_database, postgres_server
from hypothesis import given
from hypothesis import strategies as st
from shelf import QUIET, Shelf

from components.errors import Unreadable
from components.locations import without_credentials
from components.sources.files import FileSource


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    try:
        server = postgres_server()
        url = server.__enter__()
    except ImportError as error:
        pytest.skip(f"NO POSTGRESQL HERE, so this is not tested: {error}")
    yield url
    server.__exit__(None, None, None)


@dataclass
class Base:
    """A database that people write logs into."""

    url: str
    engine: sa.Engine

    @property
    def dialect(self) -> str:
        return self.engine.dialect.name

    def run(self, *statements: str) -> None:
        with self.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def add(self, table: str, *rows: dict[str, Any]) -> None:
        names = list(rows[0])
        values = ", ".join(f":{name}" for name in names)
        with self.engine.begin() as connection:
            connection.execute(sa.text(f"insert into {table} ({', '.join(names)}) values ({values})"), list(rows))

    def table(self, name: str, **parameters: str) -> str:
        return sa.make_url(self.url).update_query_dict({"table": name, **parameters}).render_as_string(False)


@pytest.fixture(params=["sqlite", "postgresql"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Base]:
    if request.param == "sqlite":
        engine = sa.create_engine(f"sqlite:///{tmp_path / 'app.db'}")
        yield Base(url=f"sqlite:///{tmp_path / 'app.db'}", engine=engine)
        engine.dispose()
        return
    with fresh_database(request.getfixturevalue("postgres")) as url:
        engine = sa.create_engine(url)
        yield Base(url=url, engine=engine)
        engine.dispose()


def shelf(batch_records: int = 5_000, **source: Any) -> Shelf:
    return Shelf(source=FileSource(QUIET.model_copy(update={"batch_records": batch_records}), **source))


def refusal(url: str) -> str:
    (locator,) = shelf().source.discover([url]).locators
    with pytest.raises(Unreadable) as refused:
        list(shelf().source.read(locator, None))
    return str(refused.value)


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"text": text, "type": "user", **more}


# --- reading on ------------------------------------------------------------------------------------------------


def test_a_table_that_grows_is_read_on_from_its_last_row(base):
    base.run("create table log (n integer primary key, text text, type text)")
    base.add("log", *(said(f"text {i}", n=i) for i in range(2_500)))
    kept, url = shelf(batch_records=1_000), base.table("log", cursor="n")
    kept.load(url)
    assert kept.texts == [f"text {i}" for i in range(2_500)]
    assert kept.n_batches == 3
    base.add("log", said("late", n=5_000), said("later", n=5_001))
    kept.load(url)
    kept.load(url)
    assert kept.texts[2_500:] == ["late", "later"]
    assert not kept.defects


def test_a_load_that_was_cut_short_goes_on_where_it_was(base):
    base.run("create table log (n integer primary key, text text, type text)")
    base.add("log", *(said(f"text {i}", n=i) for i in range(2_500)))
    kept, url = shelf(batch_records=700), base.table("log")
    for _ in range(5):
        kept.load(url, stop_after=1)
    assert kept.texts == [f"text {i}" for i in range(2_500)]


@pytest.mark.parametrize("key", ["n integer primary key, ", "n integer, "])
def test_rows_that_come_late_with_the_last_value_are_taken_once(base, key):
    base.run(f"create table log ({key}at integer, text text, type text)")
    base.add("log", said("a", n=5, at=1), said("b", n=6, at=2), said("c", n=8, at=2))
    kept, url = shelf(), base.table("log", cursor="at")
    kept.load(url)
    base.add("log", said("late", n=7, at=2), said("lower", n=1, at=2), said("next", n=2, at=3))
    kept.load(url)
    kept.load(url)
    assert sorted(kept.texts) == ["a", "b", "c", "late", "lower", "next"]


@pytest.mark.parametrize("key", ["n integer primary key, ", "n integer, "])
def test_more_rows_of_one_value_than_a_page_holds_are_all_taken(base, key):
    base.run(f"create table log ({key}at integer, text text, type text)")
    base.add("log", *(said(f"text {i}", n=i, at=i // 3_000) for i in range(6_500)))
    kept, url = shelf(batch_records=900), base.table("log", cursor="at")
    kept.load(url, stop_after=2)
    kept.load(url)
    assert sorted(kept.texts) == sorted(f"text {i}" for i in range(6_500))


def test_equal_rows_without_a_key_are_each_taken(base):
    base.run("create table log (at integer, text text, type text)")
    base.add("log", *[said("again", at=1)] * 3)
    kept, url = shelf(), base.table("log", cursor="at")
    kept.load(url)
    base.add("log", *[said("again", at=1)] * 2)
    kept.load(url)
    kept.load(url)
    assert len(kept.records) == 5


def test_very_many_rows_of_one_value_need_a_key(base):
    base.run(
        "create table log (at integer, text text, type text)",
        "create table keyed (n integer primary key, at integer, text text)",
    )
    numbers = "with recursive c(i) as (select 1 union all select i + 1 from c where i < 12000) "
    base.run(
        f"insert into log {numbers} select 1, 'text ' || i, 'user' from c",
        f"insert into keyed {numbers} select i, 1, 'text ' || i from c",
    )
    assert "no primary key" in refusal(base.table("log", cursor="at"))
    kept, url = shelf(), base.table("keyed", cursor="at")
    kept.load(url)
    base.run("insert into keyed values (20000, 1, 'late')")
    kept.load(url)
    assert len(set(kept.texts)) == len(kept.records) == 12_001


@given(waves=st.lists(st.lists(st.integers(0, 3), max_size=5), max_size=5), page=st.integers(1, 4))
def test_whatever_comes_at_or_after_the_last_value_is_taken_once(waves, page):
    """Rows of a value that is not below any that was read, in any order, with any page."""
    engine = sa.create_engine("sqlite://")
    from components.sources import tables

    with engine.begin() as connection:
        connection.exec_driver_sql("create table log (at integer, text text)")
    keys = tables._keys(engine, {"table": "log", "cursor": "at"})
    position, highest, n, read = tables._Position(), 0, 0, []
    for wave in waves:
        for step in wave:
            with engine.begin() as connection:
                connection.exec_driver_sql("insert into log values (?, ?)", (highest + step, f"text {n}"))
            n += 1
        while found := tables._page(engine, keys, position)[:page]:
            read += [row["text"] for row in found]
            position = tables._advanced(position, keys, found)
        highest = position.last[0] if position.last else 0
    engine.dispose()
    assert sorted(read) == sorted(f"text {i}" for i in range(n))


# --- what columns hold -----------------------------------------------------------------------------------------


def test_text_that_is_null_or_empty_is_no_record_and_no_defect(base):
    base.run("create table log (n integer primary key, text text, type text)")
    base.add("log", said("a", n=1), {"text": None, "type": "user", "n": 2}, said(" ", n=3), said("b", n=4))
    kept = shelf()
    kept.load(base.table("log"))
    assert (kept.texts, kept.defects, kept.skipped["empty text"]) == (["a", "b"], [], 2)


def test_times_numbers_and_nested_values_of_postgresql_become_plain(postgres):
    with fresh_database(postgres) as url:
        base = Base(url=url, engine=sa.create_engine(url))
        base.run(
            "create table log (id uuid primary key, at timestamptz, text text, type text, cost numeric, meta jsonb,"
            " tags text[], took interval, day date, raw bytea, sort real, ok boolean)",
            "insert into log values ('00000000-0000-0000-0000-000000000001', '2025-01-01 12:00:00.5+02', 'a', 'user',"
            " 1.25, '{\"k\": [1, null]}', '{x,y}', '90 seconds', '2025-01-02', '\\x00ff', 'nan', true)",
            "insert into log (id, at, text, type, cost) values ('00000000-0000-0000-0000-000000000002',"
            " '2025-01-01 10:00:00.500001+00', 'b', 'user', 'nan')",
        )
        kept = shelf(columns={"timestamp": "at"})
        kept.load(base.table("log", cursor="at"))
        first, second = kept.records.values()
        assert first.timestamp == datetime(2025, 1, 1, 10, 0, 0, 500_000, UTC)
        assert second.timestamp == datetime(2025, 1, 1, 10, 0, 0, 500_001, UTC)
        assert {name: first.extra[name] for name in ("id", "cost", "meta", "tags", "took", "day", "ok")} == {
            "id": "00000000-0000-0000-0000-000000000001",
            "cost": 1.25,
            "meta": {"k": [1, None]},
            "tags": ["x", "y"],
            "took": 90.0,
            "day": "2025-01-02",
            "ok": True,
        }
        assert second.extra["cost"] is None
        base.run(
            "insert into log values ('00000000-0000-0000-0000-000000000000', '2025-01-01 10:00:00.500001+00', 'c')"
        )
        kept.load(base.table("log", cursor="at"))
        assert kept.texts == ["a", "b", "c"]
        base.engine.dispose()


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("uuid", ["00000000-0000-0000-0000-00000000000a", "00000000-0000-0000-0000-00000000000b"]),
        ("numeric", ["1.10", "1.20"]),
        ("date", ["2025-01-01", "2025-01-02"]),
        ("time", ["10:00", "10:00:00.000001"]),
        ("timestamp", ["2025-01-01 00:00:00", "2025-01-01 00:00:00.000001"]),
        ("text", ["a", "ä"]),
        ("bigint", [str(2**60), str(2**60 + 1)]),
    ],
)
def test_any_column_that_grows_may_be_the_cursor(postgres, kind, values):
    with fresh_database(postgres) as url:
        base = Base(url=url, engine=sa.create_engine(url))
        base.run(f"create table log (at {kind} primary key, text text)")
        kept, source = shelf(), base.table("log", cursor="at")
        for value in values:
            base.run(f"insert into log values ('{value}', 'text {value}')")
            kept.load(source)
        base.engine.dispose()
        assert kept.texts == [f"text {value}" for value in values]


@pytest.mark.parametrize("odd", ["infinity", "0044-03-15 00:00:00 BC"])
def test_a_time_that_no_calendar_here_knows_costs_no_row(postgres, odd):
    with fresh_database(postgres) as url:
        base = Base(url=url, engine=sa.create_engine(url))
        base.run("create table log (n integer primary key, at timestamptz, text text)")
        base.run(f"insert into log values (1, '{odd}', 'a'), (2, '2025-01-01', 'b')")
        kept = shelf(columns={"timestamp": "at"})
        kept.load(base.table("log", cursor="n"))
        base.engine.dispose()
        assert [record.timestamp is None for record in kept.records.values()] == [True, False]


@pytest.mark.parametrize("spelled", ["2025-01-01T00:00:0{}Z", "2025-01-01 00:00:0{}", "2025-01-01T00:00:0{}.5+02:00"])
def test_a_time_in_sqlite_is_compared_as_it_is_spelled(tmp_path, spelled):
    base = Base(url=f"sqlite:///{tmp_path}/a.db", engine=sa.create_engine(f"sqlite:///{tmp_path}/a.db"))
    base.run("create table log (at datetime, text text, cost numeric, meta json, ok boolean)")
    kept, url = shelf(columns={"timestamp": "at"}), base.table("log", cursor="at")
    for n in range(3):
        base.add("log", {"at": spelled.format(n), "text": f"text {n}", "cost": 1.5, "meta": "{no json", "ok": 1})
        kept.load(url)
        kept.load(url)
    base.engine.dispose()
    assert kept.texts == ["text 0", "text 1", "text 2"]
    assert all(record.timestamp for record in kept.records.values())


# --- what is wrong ---------------------------------------------------------------------------------------------


def test_a_missing_table_or_column_is_named_with_those_that_are_there(base):
    base.run("create table steps (n integer primary key, text text)", "create table loose (n integer, text text)")
    assert refusal(base.table("step")) == "There is no table 'step' there; there is: loose, steps."
    assert refusal(base.table("steps", cursor="at")) == "Table 'steps' has no column 'at'; it has: n, text."
    assert "no primary key" in refusal(base.table("loose"))


def test_a_table_may_be_named_with_its_schema_and_be_a_view(postgres):
    with fresh_database(postgres) as url:
        base = Base(url=url, engine=sa.create_engine(url))
        base.run(
            "create schema logs",
            "create table logs.steps (n integer primary key, text text)",
            "insert into logs.steps values (1, 'a')",
            "create view logs.seen as select * from logs.steps",
        )
        for spec in (
            base.table("logs.steps"),
            base.table("steps", schema="logs"),
            base.table("logs.seen", cursor="n"),
        ):
            kept = shelf()
            kept.load(spec)
            assert kept.texts == ["a"]
        base.engine.dispose()


def test_a_server_that_is_down_or_refuses_is_reported_without_credentials(postgres):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        message = refusal(f"postgresql://me:hunter2@127.0.0.1:{port}/app?table=log&connect_timeout=5")
    assert "can't be read" in message
    assert "hunter2" not in message
    there = sa.make_url(postgres)
    nobody = there.set(username="nobody", password="hunter2").update_query_dict({"table": "log"})
    message = refusal(nobody.render_as_string(False))
    assert "nobody" in message
    assert "hunter2" not in message
    nowhere = there.set(database="nowhere").update_query_dict({"table": "log"})
    assert "does not exist" in refusal(nowhere.render_as_string(False))


def test_a_database_file_that_is_not_there_is_not_made(tmp_path):
    assert refusal(f"sqlite:///{tmp_path}/none.db?table=log") == "There is no file 'none.db'."
    assert list(tmp_path.iterdir()) == []


def test_a_driver_that_is_not_installed_is_named():
    assert "can't be opened" in refusal("mysql://me:hunter2@db/app?table=log")


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("postgresql://me:hunter2@db/app?table=t&password=hunter2", "postgresql://db/app?table=t"),
        ("postgresql://me:hunter2@db:5432/app?table=t&schema=s", "postgresql://db:5432/app?table=t&schema=s"),
        ("postgresql://me:h/un?te#r2hunter2@db/app?table=t", "postgresql://db/app?table=t"),
        ("postgresql://me:x@hunter2@db/app?table=t", "postgresql://db/app?table=t"),
        ("postgresql://me:hunter2@[::1]:5432/app?table=t", "postgresql://[::1]:5432/app?table=t"),
        ("postgresql://me:hunter2@db:port/app?table=t", "postgresql://…"),
        ("sqlite:////srv/hunter2/app.db?table=t", "sqlite:///app.db?table=t"),
    ],
)
def test_a_key_names_the_table_and_holds_no_secret(url, key):
    assert without_credentials(url) == key
    assert "hunter2" not in str(shelf().source.discover([url]).problems)
