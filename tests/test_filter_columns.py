"""Columns that all formats have in common, failures, and how stored records get both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import orjson
import pytest
from databases import fresh_database, postgres_server
from reading import DATA
from shelf import Shelf

from components.columns import COLUMNS, own_name, with_columns
from components.failures import failure_of
from components.pipeline import Pipeline
from components.settings import DatasetSettings, LoadSettings, Settings
from components.store import Store

NEW = {*COLUMNS, "failed", "failure"}
LOGS = [DATA / name for name in ("claude_code", "codex", "openhands", "tau_bench", "otel")]


# --- columns ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extra", "columns"),
    [
        ({"score_match": "C", "score_other": "I"}, {"outcome": "pass", "score": 1.0}),
        ({"is_solved": True, "trial": 3}, {"outcome": "pass"}),
        ({"reward": 0.5}, {"score": 0.5}),
        ({"exit_status": "Submitted"}, {"outcome": "Submitted"}),
        ({"exit_status": 1}, {}),
        ({"resolved": False, "exit_status": "Submitted"}, {"outcome": "fail"}),
        ({"tokens_in": 9, "tokens_out": 3, "cost_usd": 0.25}, {"tokens": 3, "cost": 0.25}),
        ({"cost": 1.5, "model": "m", "tool": "ls"}, {}),
        ({"session_id": "", "cwd": " ", "output_tokens": True, "reward": float("nan")}, {}),
    ],
)
def test_what_a_log_says_becomes_columns(extra, columns) -> None:
    assert with_columns(extra) == columns


def test_a_run_that_is_only_counted_has_no_name() -> None:
    assert [own_name(name) for name in ("7", "run~2", "task_7~2", "a~b")] == ["", "", "task_7", "a~b"]


def test_a_result_names_the_tool_of_its_call_also_when_it_comes_with_a_later_load(tmp_path) -> None:
    call = {"type": "tool_use", "id": "c1", "name": "Bash", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "c1", "content": "x"}
    lines = [
        {"type": "assistant", "uuid": "1", "sessionId": "s", "cwd": "/w", "message": {"id": "m", "content": [call]}},
        {"type": "user", "uuid": "2", "sessionId": "s", "cwd": "/w", "message": {"content": [result]}},
    ]
    log, shelf = tmp_path / "a.jsonl", Shelf()
    for n in (1, 2):
        log.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines[:n]))
        shelf.load(log)
    found = {record.type: record.extra for record in shelf.records.values()}
    assert found["tool_result"]["tool"] == "Bash"
    assert found["tool_result"]["project"] == "/w"
    assert found["tool_result"]["run"] == "s"
    whole = Shelf()
    whole.load(log)
    assert whole.records == shelf.records


# --- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "extra", "kind"),
    [
        ("<returncode>1</returncode>\n<output>\nboom</output>", {}, "exit code"),
        ("Exit code 127\nzsh: command not found: fd", {}, "command not found"),
        ("ran\n[Command finished with exit code 2]", {}, "exit code"),
        ("cat: a.py: No such file or directory", {}, "file not found"),
        ("cat: a.py: No such file or directory", {"exit_code": 0}, None),
        ("Traceback (most recent call last):\n  File 'a'\nValueError: argument expected", {}, "exception"),
        ("Traceback (most recent call last):\n  File 'a'\nImportError: no x", {}, "import error"),
        ("Process exited with code 1\nOriginal token count: 0\nOutput:\n", {}, None),
        ("   12\tTraceback (most recent call last):\n   13\tValueError: a file that is shown", {}, None),
        ('{"error": "rate limit exceeded", "data": null}', {}, "rate limit"),
        ('{"error": null, "data": 1}', {}, None),
        ("==== 2 failed, 3 passed in 0.10s ====", {}, "tests failed"),
        ("==== 3 passed in 0.10s ====", {}, None),
        ("def f():\n    raise ValueError('Error: no')", {}, None),
        ("Command timed out before completing.", {}, "timeout"),
        ("make[1]: *** [Makefile:192: build] Error 2", {}, "exit code"),
    ],
)
def test_a_result_is_a_failure_by_what_it_says(text, extra, kind) -> None:
    found = failure_of("tool_result", text, extra)
    assert (found.kind if found else None) == kind


def test_what_a_person_declined_is_no_failure() -> None:
    found = failure_of("error", "The user doesn't want to proceed with this tool use. STOP.", {"tool": "Bash"})
    assert found is not None
    assert (found.kind, found.failed) == ("declined", False)
    assert failure_of("error", "No response requested.", {}) is None
    assert failure_of("assistant", "Error: it did not work", {}) is None


def test_a_span_fails_by_its_status() -> None:
    found = failure_of("span", "shop pay ERROR", {"status": "ERROR", "status_message": "connection refused"})
    assert found is not None
    assert found.kind == "connection"
    assert failure_of("span", "shop pay ERROR", {"status": "OK"}) is None


@pytest.mark.parametrize("text", ["=" * 60_000, "Error: " + "a: " * 20_000, "=" * 300 + " 1 failed" * 500, "{" * 9_000])
def test_no_text_makes_the_judgement_slow(text) -> None:
    import time

    began = time.process_time()
    for _ in range(20):
        failure_of("tool_result", text, {})
        failure_of("error", text, {})
    assert time.process_time() - began < 1.0


# --- stored records --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'runatlas.db'}"
        return
    with fresh_database(request.getfixturevalue("postgres")) as database:
        yield database


def _extras(store: Store) -> dict[str, dict[str, object]]:
    with store.db.read() as connection:
        rows = connection.exec_driver_sql("select id, extra from record")
        return {row.id: orjson.loads(row.extra) for row in rows}


def test_records_of_an_older_store_get_the_columns_without_their_logs(url: str, tmp_path: Path) -> None:
    sources = tuple(str(folder) for folder in LOGS)
    settings = Settings(
        home=tmp_path,
        database_url=url,
        load=LoadSettings(quiet_s=0),
        datasets={"default": DatasetSettings(sources=sources)},
    )
    with closing(Pipeline(settings)) as pipeline:
        pipeline.load()
    with closing(Store(url)) as store:
        loaded = _extras(store)
        with store.db.write() as connection:
            for id, extra in loaded.items():
                kept = {key: value for key, value in extra.items() if key not in NEW - {"tool", "model", "cost"}}
                keys = list(kept)
                if keys[-1:] == ["tool"] and {"call_id", "tool_call_id"} & set(keys):  # what a load adds comes last
                    del kept["tool"]
                text = orjson.dumps(kept).decode().replace("'", "''").replace("%", "%%")
                connection.exec_driver_sql(f"update record set extra = '{text}' where id = '{id}'")
            for later in ("index ix_record_filename", "table tagged", "table tagging"):
                connection.exec_driver_sql(f"drop {later}")
            connection.exec_driver_sql("alter table tally drop column texts")
            connection.exec_driver_sql("update alembic_version set version_num = '0015'")
        assert _extras(store) != loaded
    with closing(Store(url)) as store:
        store.status()
        assert _extras(store) == loaded
    named = {key for extra in loaded.values() for key in extra}
    assert named >= NEW - {"cost"}
