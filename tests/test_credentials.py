"""Passwords of source URLs: known to every later load, and nowhere to be read but in one file for this user."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from api_world import settings_at
from databases import fresh_database, postgres_server
from hypothesis import given
from hypothesis import strategies as st

from api.problems import Problem
from api.routes.runs import _allowed_source
from components.credentials import Credentials
from components.errors import BadSetting
from components.locations import without_password
from components.pipeline import Pipeline
from components.settings import Settings
from components.store import Store
from components.store.engine import Database
from components.store.migrate import migrations
from components.wiring import open_credentials
from flows.runs import watched_sources

secret = "hunter2hunter2"


@pytest.fixture(scope="module")
def locked_postgres() -> Iterator[sa.URL]:
    """The URL of a user who has to give a password, and may read one table; without that password."""
    try:
        server = postgres_server()
        url = server.__enter__()
    except ImportError as error:
        pytest.skip(f"NO POSTGRESQL HERE, so this is not tested: {error}")
    with fresh_database(url) as database:
        engine = sa.create_engine(database, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in (
                f"create role reader login password '{secret}'",
                "create table steps (id serial primary key, text text)",
                "grant select on steps to reader",
                "insert into steps (text) values ('one'), ('two')",
            ):
                connection.exec_driver_sql(statement)
            rules = Path(connection.exec_driver_sql("show hba_file").scalar_one())
            lines = "local all reader scram-sha-256\nhost all reader all scram-sha-256\n"
            rules.write_text(lines + rules.read_text("utf-8"), "utf-8")
            connection.exec_driver_sql("select pg_reload_conf()")
        engine.dispose()
        yield sa.make_url(database).set(username="reader").update_query_dict({"table": "steps"})
    server.__exit__(None, None, None)


def spelled(url: sa.URL, password: str | None = secret) -> str:
    return url.set(password=password).render_as_string(hide_password=False) if password else str(bare(url))


def bare(url: sa.URL) -> str:
    return without_password(url.set(password="x").render_as_string(hide_password=False))


def places_of(word: str, folder: Path) -> list[str]:
    """Names of the files below the folder that hold the word."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sorted(path.name for path in files if word.encode() in path.read_bytes())


def add_row(url: sa.URL, text: str) -> None:
    engine = sa.create_engine(url.set(username="postgres").difference_update_query(["table"]))
    with engine.begin() as connection:
        connection.execute(sa.text("insert into steps (text) values (:text)"), {"text": text})
    engine.dispose()


def test_a_password_given_once_is_known_to_later_loads_and_kept_in_one_private_file(
    locked_postgres: sa.URL, tmp_path: Path
) -> None:
    settings = settings_at(tmp_path / "home")
    with Pipeline(settings) as pipeline:
        assert pipeline.load([spelled(locked_postgres)]).records.new == 2
        assert pipeline.sources() == (bare(locked_postgres),)
        assert watched_sources(settings, pipeline.store) == {"default": (spelled(locked_postgres),)}
        (entry,) = pipeline.store.ledger.entries(pipeline.dataset_id("default"))
        assert (entry.location, secret in entry.key) == (bare(locked_postgres), False)
    add_row(locked_postgres, "three")
    with Pipeline(settings) as pipeline:
        report = pipeline.load()
        assert (report.records.new, report.sources.failed) == (1, 0)
        pipeline.index()
        assert secret not in repr(pipeline.store.runs.last("default", "load"))
    assert places_of(secret, settings.home) == ["credentials.json"]
    file = settings.home / "credentials.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_another_password_for_the_same_table_is_the_same_source(locked_postgres: sa.URL, tmp_path: Path) -> None:
    with Pipeline(settings_at(tmp_path / "home")) as pipeline:
        first = pipeline.load([spelled(locked_postgres)]).records.new
        wrong = pipeline.load([spelled(locked_postgres, "not the password")])
        assert (wrong.sources.discovered, wrong.sources.failed, wrong.records.new) == (1, 1, 0)
        assert "datasets.NAME.sources" in wrong.problems[0].reason
        assert "not the password" not in repr(wrong)
        again = pipeline.load([spelled(locked_postgres)])
        assert (again.records.new, again.sources.failed) == (0, 0)
        assert pipeline.status()["default"].records == first


def test_a_password_in_the_settings_is_enough_and_goes_before_one_that_is_kept(
    locked_postgres: sa.URL, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    with Pipeline(settings_at(home)) as pipeline:
        pipeline.load([spelled(locked_postgres, "an old one")])
    named: dict[str, Any] = {"default": {"sources": [spelled(locked_postgres)]}}
    with Pipeline(settings_at(home, datasets=named)) as pipeline:
        report = pipeline.load()
        assert (report.sources.discovered, report.sources.failed) == (1, 0)
        assert report.records.new >= 2
    assert places_of(secret, home) == []


def test_without_any_password_the_message_names_the_places_for_one(locked_postgres: sa.URL, tmp_path: Path) -> None:
    with Pipeline(settings_at(tmp_path / "home")) as pipeline:
        report = pipeline.load([bare(locked_postgres)])
    assert report.sources.failed == 1
    for place in ("runatlas load", "datasets.NAME.sources", "~/.pgpass"):
        assert place in report.problems[0].reason


def test_a_url_that_names_no_table_is_not_remembered(tmp_path: Path) -> None:
    with Pipeline(settings_at(tmp_path / "home")) as pipeline:
        pipeline.load([f"postgresql://me:{secret}@db/app"])
        assert "default" not in pipeline.status()  # nothing was loaded, so there is no dataset to remember it
    assert places_of(secret, tmp_path / "home") == []


def test_the_shell_shows_sources_without_passwords(tmp_path: Path) -> None:
    url = f"postgresql://me:{secret}@127.0.0.1:1/app?table=t&connect_timeout=1&password={secret}"
    env = {
        **os.environ,
        "RUNATLAS_HOME": str(tmp_path / "home"),
        "RUNATLAS_DATASETS": orjson.dumps({"default": {"sources": [url]}}).decode(),
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }

    def shell(*arguments: str) -> str:
        line = [sys.executable, "-m", "api.cli.main", *arguments]
        done = subprocess.run(line, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    assert secret not in shell("load")
    shown = shell("status", "--json")
    assert secret not in shown
    assert "postgresql://me@127.0.0.1:1/app?connect_timeout=1&table=t" in shown


def test_a_load_over_http_takes_a_known_url_and_hands_it_on_without_its_password() -> None:
    own = ["postgresql://me@db/app?table=t"]
    for asked in (own[0], f"postgresql://me:{secret}@db/app?table=t"):
        assert _allowed_source(0, asked, own, "default") == own[0]
    with pytest.raises(Problem, match="not among the sources"):
        _allowed_source(0, "postgresql://me@db/other?table=t", own, "default")


def test_a_damaged_file_of_passwords_is_named_and_not_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "credentials.json"
    file.write_bytes(b'{"cut')
    with pytest.raises(BadSetting, match=r"credentials\.json"):
        Credentials(file).keep([f"postgresql://me:{secret}@db/app?table=t"])
    assert file.read_bytes() == b'{"cut'


parts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12)


@given(user=parts, password=parts, extra=parts)
def test_what_is_left_of_a_url_holds_no_password_and_opens_the_same_place(user: str, password: str, extra: str) -> None:
    url = sa.URL.create(
        "postgresql", user, f"{password}-{secret}", "db", 5432, "app", {"table": "t", "sslpassword": extra}
    )
    left = without_password(url.render_as_string(hide_password=False))
    assert secret not in left
    found = sa.make_url(left)
    assert (found.username, found.password, found.host, found.database) == (user, None, "db", "app")
    assert dict(found.query) == {"table": "t"}
    assert without_password(left) == left


# --- databases of older versions ---------------------------------------------------------------------------------------


def old_world(url: str) -> None:
    """The schema before passwords left it, with a table that was read under two passwords and another beside it."""
    database = Database(url)
    with database.write() as connection:
        config = Config()
        config.set_main_option("script_location", str(migrations))
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        sources = orjson.dumps([f"postgresql://me:{secret}@db/app?table=t", "/srv/logs"]).decode()
        add = "insert into dataset (id, name, sources, created_at) values (1, 'runs', :sources, '2026-01-01')"
        connection.execute(sa.text(add), {"sources": sources})
        locations = [
            f"postgresql://me:old-{secret}@db/app?table=t",
            f"postgresql://me:{secret}@db/app?table=t",
            "sqlite:////srv/app.db?table=t",
        ]
        add = (
            "insert into source (id, dataset_id, key, location, kind, format, status, reason, options, version, "
            "generation, size_bytes, mtime_ns, inode) "
            "values (:id, 1, :key, :location, 'table', '', 'loaded', '', '', 3, 1, 0, 0, 0)"
        )
        rows = [{"id": id, "key": f"k{id}", "location": location} for id, location in enumerate(locations, 1)]
        connection.execute(sa.text(add), rows)
    database.close()


def sources_of(store: Store) -> list[tuple[int, str, str]]:
    return sorted((entry.source_id, entry.location, entry.status) for entry in store.ledger.entries(1))


def test_an_upgrade_takes_passwords_out_of_the_database_and_keeps_them_for_the_next_load(tmp_path: Path) -> None:
    settings = settings_at(tmp_path / "home")
    settings.home.mkdir()
    old_world(settings.database)
    assert places_of(secret, settings.home)
    with Pipeline(settings) as pipeline:
        assert pipeline.store.datasets.sources(1) == ("postgresql://me@db/app?table=t", "/srv/logs")
        assert sources_of(pipeline.store) == [
            (1, "postgresql://me@db/app?table=t#1", "gone"),
            (2, "postgresql://me@db/app?table=t", "loaded"),
            (3, "sqlite:////srv/app.db?table=t", "loaded"),
        ]
        full = open_credentials(settings).completed("postgresql://me@db/app?table=t")
        assert full == f"postgresql://me:{secret}@db/app?table=t"
        assert places_of(secret, settings.home) == ["credentials.json"], "also while it is open: not in the log ahead"


def test_an_upgrade_of_postgresql_takes_passwords_out_as_well(locked_postgres: sa.URL, tmp_path: Path) -> None:
    server = locked_postgres.set(username="postgres").difference_update_query(["table"])
    with fresh_database(server.render_as_string(hide_password=False)) as url:
        old_world(url)
        settings: Settings = settings_at(tmp_path / "home", database_url=url)
        with Pipeline(settings) as pipeline:
            assert [location for _, location, _ in sources_of(pipeline.store)] == [
                "postgresql://me@db/app?table=t#1",
                "postgresql://me@db/app?table=t",
                "sqlite:////srv/app.db?table=t",
            ]
    assert places_of(secret, settings.home) == ["credentials.json"]
