"""Databases and folders of other programs: each session is a source, and the program's files are only ever read."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from components.contracts import Locator
from components.errors import NotReady, SourceError
from components.pipeline import Pipeline
from components.settings import DatasetSettings, LoadSettings, Settings
from components.sources.files import FileSource
from components.sources.stores import snapshot
from components.sources.stores.companions import companion_rule
from components.sources.stores.contract import SETTLED_S

QUIET = LoadSettings(quiet_s=0)
OLD_MS = 1_767_571_200_000  # 2026-01-05: long ago, so that nobody goes on with these sessions
OPENCODE = """
create table session (id text primary key, parent_id text, directory text, title text, time_updated integer);
create table message (id text primary key, session_id text, time_created integer, time_updated integer, data text);
create table part (id text primary key, message_id text, session_id text, time_created integer, time_updated integer, data text);
"""
CURSOR = "create table cursorDiskKV (key text primary key, value text); create table ItemTable (key text, value text)"
GOOSE = """
create table sessions (id text primary key, working_dir text, description text, created_at text);
create table messages (id integer primary key, message_id text, session_id text, role text, content_json text,
  created_timestamp integer, metadata_json text, tokens integer);
"""


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[Pipeline]:
    with Pipeline(Settings(home=tmp_path / "home", model="hash://32", load=QUIET)) as opened:
        yield opened


def database(path: Path, script: str, *, wal: bool = False) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    if wal:
        connection.execute("pragma journal_mode = wal")
    connection.executescript(script)
    return connection


def say(
    db: sqlite3.Connection, session: str, n: int, role: str, *parts: dict[str, Any], done: bool = True, at: int = OLD_MS
) -> None:
    """Add a message with its parts, as opencode does."""
    when = {"created": at + n, **({"completed": at + n} if done else {})}
    data = json.dumps({"role": role, "time": when})
    db.execute("insert or ignore into session values (?, null, '/srv/shop', 't', ?)", (session, at))
    db.execute("update session set time_updated = ? where id = ?", (at + n, session))
    db.execute("insert into message values (?, ?, ?, ?, ?)", (f"{session}m{n}", session, at + n, at + n, data))
    for k, part in enumerate(parts):
        row = (f"{session}p{n}{k}", f"{session}m{n}", session, at + n, at + n, json.dumps(part))
        db.execute("insert into part values (?, ?, ?, ?, ?, ?)", row)


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def texts(path: Path) -> dict[str, list[str]]:
    source = FileSource(QUIET)
    found = source.discover([str(path)])
    assert not found.problems
    return {one.key: [r.text for batch in source.read(one, None) for r in batch.records] for one in found.locators}


def fingerprint(folder: Path) -> dict[str, tuple[str, int, int]]:
    """Name, content, size and time of writing of every file in a folder."""
    return {
        path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.iterdir())
    }


# --- sessions are sources --------------------------------------------------------------------------------------------


def test_each_session_of_a_database_is_a_source_of_its_own(tmp_path: Path) -> None:
    db = database(tmp_path / "opencode.db", OPENCODE)
    say(db, "ses_a", 1, "user", text("hello"))
    say(db, "ses_b", 2, "user", text("other"))
    assert texts(tmp_path) == {"opencode.db/ses_a": ["hello"], "opencode.db/ses_b": ["other"]}


def test_a_session_that_grows_is_read_on_and_the_others_are_not_opened(pipeline: Pipeline, tmp_path: Path) -> None:
    db = database(tmp_path / "logs" / "opencode.db", OPENCODE)
    say(db, "ses_a", 1, "user", text("hello"))
    say(db, "ses_b", 2, "user", text("other"))
    first = pipeline.load([tmp_path / "logs"])
    assert (first.records.new, first.sources.loaded) == (2, 2)
    say(db, "ses_a", 3, "assistant", text("hi"))
    second = pipeline.load()
    assert (second.records.new, second.records.existing, second.sources.resumed, second.sources.skipped) == (1, 0, 1, 1)
    assert pipeline.load().sources.skipped == 2


def test_a_part_that_changes_in_place_is_read_again_and_nothing_comes_twice(pipeline: Pipeline, tmp_path: Path) -> None:
    db = database(tmp_path / "logs" / "opencode.db", OPENCODE)
    call = {"type": "tool", "tool": "bash", "callID": "c", "state": {"status": "running", "input": {"command": "make"}}}
    say(db, "ses_a", 1, "user", text("build"))
    say(db, "ses_a", 2, "assistant", text("On it."), call)
    say(db, "ses_a", 3, "user", text("and?"))
    assert pipeline.load([tmp_path / "logs"]).records.new == 4
    call["state"] |= {"status": "completed", "output": "ok"}
    db.execute("update part set data = ?, time_updated = time_updated + 9 where id = 'ses_ap21'", (json.dumps(call),))
    report = pipeline.load()
    assert (report.records.existing, report.sources.loaded) == (3, 1)
    assert report.records.new == 2  # the result, and the prompt that has another place now


def test_an_edited_session_supersedes_itself_when_asked_to(tmp_path: Path) -> None:
    db = database(tmp_path / "logs" / "opencode.db", OPENCODE)
    say(db, "ses_a", 1, "user", text("first words"))
    replacing = {"default": DatasetSettings(on_rewrite="replace")}
    with Pipeline(Settings(home=tmp_path / "home", model="hash://32", load=QUIET, datasets=replacing)) as pipeline:
        pipeline.load([tmp_path / "logs"])
        db.execute("update part set data = ?, time_updated = time_updated + 1", (json.dumps(text("other words")),))
        report = pipeline.load()
        assert (report.records.new, report.records.superseded) == (1, 1)


def test_a_deleted_session_is_gone_and_its_records_stay(pipeline: Pipeline, tmp_path: Path) -> None:
    db = database(tmp_path / "logs" / "opencode.db", OPENCODE)
    say(db, "ses_a", 1, "user", text("hello"))
    say(db, "ses_b", 2, "user", text("other"))
    pipeline.load([tmp_path / "logs"])
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "x.jsonl").write_text('{"role": "user", "content": "q"}\n')
    assert pipeline.load([tmp_path / "else"]).sources.gone == 0  # the database was not asked for
    db.execute("delete from session where id = 'ses_a'")
    assert pipeline.load().sources.gone == 1


def test_the_last_message_waits_until_it_is_complete_or_the_session_was_left(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    now_ms = int(time.time() * 1000)
    db = database(tmp_path / "logs" / "opencode.db", OPENCODE)
    say(db, "ses_a", 1, "user", text("question"), at=now_ms)
    say(db, "ses_a", 2, "assistant", text("half an ans"), done=False, at=now_ms)
    report = pipeline.load([tmp_path / "logs"])
    assert (report.records.new, report.sources.not_ready) == (1, 1)
    assert "not complete yet" in report.problems[0].reason
    later = FileSource(QUIET, now=lambda: time.time() + SETTLED_S + 60)
    (locator,) = later.discover([str(tmp_path / "logs")]).locators
    assert [r.text for batch in later.read(locator, None) for r in batch.records] == ["question", "half an ans"]


def test_composers_are_read_in_their_own_order_with_rows_that_lack_a_value(tmp_path: Path) -> None:
    db = database(tmp_path / "state.vscdb", CURSOR)
    headers = [{"bubbleId": name} for name in ("b2", "b1", "gone", "null", "inner")]
    rows = {
        "composerData:c1": {"lastUpdatedAt": OLD_MS, "fullConversationHeadersOnly": headers},
        "bubbleId:c1:b1": {"type": 2, "text": "second"},
        "bubbleId:c1:b2": {"type": 1, "text": "first"},
        "bubbleId:c1:row": {"type": 1, "bubbleId": "inner", "text": "third"},
        "composerData:old": {"createdAt": OLD_MS, "conversation": [{"type": 1, "text": "inline"}]},
        "composerData:empty": {"createdAt": OLD_MS},
        "composerData:odd": 7,
    }
    db.executemany("insert into cursorDiskKV values (?, ?)", [(key, json.dumps(value)) for key, value in rows.items()])
    db.execute("insert into cursorDiskKV values ('bubbleId:c1:null', null), ('composerData:null', null)")
    db.execute("insert into cursorDiskKV values ('composerData:bad', '{cut')")
    assert texts(tmp_path) == {"state.vscdb/c1": ["first", "second", "third"], "state.vscdb/old": ["inline"]}


def test_messages_of_goose_come_in_the_order_of_their_times(tmp_path: Path) -> None:
    db = database(tmp_path / "sessions.db", GOOSE)
    db.execute("insert into sessions values ('g1', '/srv/shop', 'd', '2026-01-05 00:00:00'), ('g2', '/', '', '')")
    for n, role, said, at in ((1, "assistant", "late", 1767571209), (2, "user", "early", 1767571200)):
        content = json.dumps([{"type": "text", "text": said}])
        db.execute("insert into messages values (?, null, 'g1', ?, ?, ?, '{}', 5)", (n, role, content, at))
    assert texts(tmp_path) == {"sessions.db/g1": ["early", "late"]}


def storage(folder: Path, session: str, *said: str) -> None:
    for place, value in (
        (f"session/proj/{session}.json", {"id": session, "directory": "/srv/shop", "time": {"created": OLD_MS}}),
        *(
            (f"message/{session}/m{n}{session}.json", {"id": f"m{n}{session}", "role": "user", "time": {"created": n}})
            for n, _ in enumerate(said)
        ),
        *(
            (f"part/m{n}{session}/p.json", {"id": "p", "messageID": f"m{n}{session}", **text(one)})
            for n, one in enumerate(said)
        ),
    ):
        path = folder / "storage" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))


def test_many_small_files_make_one_run(pipeline: Pipeline, tmp_path: Path) -> None:
    storage(tmp_path / "logs", "ses_a", "one", "two")
    assert texts(tmp_path / "logs") == {"storage/session/proj/ses_a.json": ["one", "two"]}
    report = pipeline.load([tmp_path / "logs"])
    assert (report.records.new, report.sources.discovered) == (2, 1)
    assert report.skipped_by_rule["message or part of a session in a storage folder"] == 4
    storage(tmp_path / "logs", "ses_a", "one", "two", "three")
    assert (pipeline.load().records.new, pipeline.load().sources.skipped) == (1, 1)


def test_a_session_in_the_database_and_in_the_old_folder_is_read_once(tmp_path: Path) -> None:
    storage(tmp_path, "ses_a", "one")
    storage(tmp_path, "ses_b", "two")
    say(database(tmp_path / "opencode.db", OPENCODE), "ses_a", 1, "user", text("one"))
    found = FileSource(QUIET).discover([str(tmp_path)])
    assert [one.key for one in found.locators] == ["opencode.db/ses_a", "storage/session/proj/ses_b.json"]
    assert found.left_out["same session in another file"] == 1


def test_a_single_part_is_no_chat_and_says_what_to_load(pipeline: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "part.json").write_text(json.dumps({"id": "p", "sessionID": "s", "messageID": "m", **text("alone")}))
    (problem,) = pipeline.load([tmp_path / "part.json"]).problems
    assert "load the folder `storage` that holds it" in problem.reason


# --- the program's files are only read -------------------------------------------------------------------------------

WRITER = """
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("pragma journal_mode = " + sys.argv[2])
db.execute("pragma wal_autocheckpoint = 20")
print("ready", flush=True)
end = time.time() + float(sys.argv[3])
n = 0
while time.time() < end:
    n += 1
    db.execute("begin immediate")
    for half in (0, 1):  # both halves of a pair, or neither
        db.execute("insert into message values (?, 's', ?, ?, '{\\"role\\": \\"user\\", \\"time\\": {}}')", (f"m{n:06}{half}", n, n))
        db.execute("insert into part values (?, ?, 's', ?, ?, ?)", (f"p{n:06}{half}", f"m{n:06}{half}", n, n, '{"type": "text", "text": "%d"}' % n))
        db.execute("update session set directory = ? where id = 's'", ("x" * (n % 3000),))
    db.execute("commit")
    time.sleep(float(sys.argv[4]))
"""


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_database_that_is_being_written_gives_whole_transactions(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "opencode.db"
    db = database(path, OPENCODE)
    say(db, "s", 1, "user", text("0"))
    db.close()
    pause = "0.001" if mode == "wal" else "0.05"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path), mode, "0.8", pause], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline()
    sizes = []
    while writer.poll() is None:
        try:
            connection = snapshot.connect(str(path)).connection
        except NotReady:
            continue
        (n,) = connection.execute("select count(*) from part").fetchone()
        (check,) = connection.execute("pragma integrity_check").fetchone()
        connection.close()
        assert (n % 2, check[:2]) == (1, "ok")
        sizes.append(n)
    assert writer.wait() == 0
    writer.stdout.close()
    assert len(set(sizes)) > 1  # it was read while it grew


def test_an_open_database_is_read_without_a_trace(tmp_path: Path) -> None:
    path = tmp_path / "opencode.db"
    db = database(path, OPENCODE, wal=True)
    say(db, "ses_a", 1, "user", text("in the log"))
    db.execute("begin immediate")  # the program is in the middle of a transaction
    say(db, "ses_a", 2, "user", text("not committed"))
    before, folders = fingerprint(tmp_path), set(Path(tempfile.gettempdir()).iterdir())
    assert texts(path) == {"opencode.db/ses_a": ["in the log"]}
    assert fingerprint(tmp_path) == before
    assert set(before) == {"opencode.db", "opencode.db-wal", "opencode.db-shm"}
    left = set(Path(tempfile.gettempdir()).iterdir()) - folders
    assert not [name for name in left if name.name.startswith("runatlas-")]
    db.execute("commit")  # nobody holds a lock
    assert texts(path) == {"opencode.db/ses_a": ["in the log", "not committed"]}


def test_a_folder_that_can_not_be_written_to_is_read(tmp_path: Path) -> None:
    db = database(tmp_path / "ro" / "opencode.db", OPENCODE, wal=True)
    say(db, "ses_a", 1, "user", text("hello"))
    (tmp_path / "ro").chmod(0o500)
    try:
        assert texts(tmp_path / "ro") == {"opencode.db/ses_a": ["hello"]}
    finally:
        (tmp_path / "ro").chmod(0o700)


def test_a_large_database_at_rest_is_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db = database(tmp_path / "opencode.db", OPENCODE)
    say(db, "ses_a", 1, "user", text("hello"))
    db.close()
    os.utime(tmp_path / "opencode.db", (1, 1))
    monkeypatch.setattr(snapshot, "IN_PLACE_BYTES", 0)
    monkeypatch.setattr(snapshot, "_copied", lambda *_: pytest.fail("it was copied"))
    before = fingerprint(tmp_path)
    assert texts(tmp_path) == {"opencode.db/ses_a": ["hello"]}
    assert fingerprint(tmp_path) == before


def test_a_database_that_is_written_while_it_is_read_in_place_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = database(tmp_path / "opencode.db", OPENCODE)
    say(db, "ses_a", 1, "user", text("hello"))
    os.utime(tmp_path / "opencode.db", (1, 1))
    monkeypatch.setattr(snapshot, "IN_PLACE_BYTES", 0)
    source = FileSource(QUIET)
    (locator,) = source.discover([str(tmp_path)]).locators
    say(db, "ses_a", 2, "user", text("more"))
    with pytest.raises(NotReady, match="wrote to the database while it was read"):
        list(source.read(locator, None))


def test_a_database_without_a_session_is_counted(pipeline: Pipeline, tmp_path: Path) -> None:
    database(tmp_path / "logs" / "state.vscdb", CURSOR)
    assert pipeline.load([tmp_path / "logs"]).skipped_by_rule == {"database without a session": 1}


def test_reading_a_database_that_this_process_has_open_drops_none_of_its_locks(tmp_path: Path) -> None:
    """POSIX locks belong to a process and a file: closing any descriptor of the file drops all of them."""
    path = tmp_path / "opencode.db"
    db = database(path, OPENCODE)
    say(db, "ses_a", 1, "user", text("hello"))
    db.execute("begin immediate")
    assert texts(path) == {"opencode.db/ses_a": ["hello"]}
    code = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('begin immediate')"
    other = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert "database is locked" in other.stderr


def test_a_database_of_this_process_itself_is_no_source(tmp_path: Path) -> None:
    db = database(tmp_path / "own.db", "create table record (id integer)")
    found = FileSource(QUIET).discover([str(tmp_path)])
    assert (list(found.locators), found.left_out) == ([], {"database that this process has open": 1})
    db.close()


# --- bad databases ---------------------------------------------------------------------------------------------------


def problem_of(path: Path) -> str:
    found = FileSource(QUIET).discover([str(path)])
    return " ".join(problem.reason for problem in found.problems)


def test_a_damaged_database_is_named_and_others_are_read(tmp_path: Path) -> None:
    say(database(tmp_path / "a" / "opencode.db", OPENCODE), "ses_a", 1, "user", text("hello"))
    raw = (tmp_path / "a" / "opencode.db").read_bytes()
    (tmp_path / "half.db").write_bytes(raw[: len(raw) // 2])
    (tmp_path / "head.db").write_bytes(raw[:100])
    found = FileSource(QUIET).discover([str(tmp_path)])
    assert [one.key for one in found.locators] == ["a/opencode.db/ses_a"]
    assert {problem.source for problem in found.problems} == {"half.db", "head.db"}
    assert all("database" in problem.reason for problem in found.problems)


def test_no_damage_of_a_database_does_more_than_name_it(tmp_path: Path) -> None:
    path = tmp_path / "opencode.db"
    db = database(path, OPENCODE)
    for n in range(40):
        say(db, f"ses_{n % 3}", n, "user", text("words " * 50))
    db.close()
    raw = path.read_bytes()
    for n in range(36):
        dice = random.Random(n)
        damaged = bytearray(raw[: dice.randrange(1, len(raw))] if n % 3 == 0 else raw)
        for _ in range(dice.randint(1, 400)):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        path.write_bytes(damaged)
        source = FileSource(QUIET)
        for locator in source.discover([str(path)]).locators:
            with suppress(SourceError):
                for batch in source.read(locator, None):
                    assert all(record.text.strip() for record in batch.records), n


def test_a_database_of_a_newer_version_says_what_it_lacks(tmp_path: Path) -> None:
    database(tmp_path / "opencode.db", OPENCODE.replace("data text", "body blob"))
    assert "lacks columns of opencode: message.data, part.data" in problem_of(tmp_path)


def test_a_database_of_another_program_is_refused_as_before(tmp_path: Path) -> None:
    database(tmp_path / "notes.db", "create table note (id integer primary key)").close()
    source = FileSource(QUIET)
    (locator,) = source.discover([str(tmp_path)]).locators
    with pytest.raises(SourceError, match="name one of its tables"):
        list(source.read(locator, None))


def test_a_database_that_is_replaced_between_the_listing_and_the_reading_gives_what_was_listed(tmp_path: Path) -> None:
    say(database(tmp_path / "opencode.db", OPENCODE), "ses_a", 1, "user", text("hello"))
    source = FileSource(QUIET)
    (locator,) = source.discover([str(tmp_path)]).locators
    (tmp_path / "opencode.db").write_bytes(b"something else")
    assert [r.text for batch in source.read(locator, None) for r in batch.records] == ["hello"]
    assert isinstance(locator, Locator)


def test_a_part_whose_data_is_no_json_is_a_defect(tmp_path: Path) -> None:
    db = database(tmp_path / "opencode.db", OPENCODE)
    say(db, "ses_a", 1, "user", text("hello"))
    db.execute("insert into part values ('z', 'ses_am1', 'ses_a', 1, 1, '{cut')")
    source = FileSource(QUIET)
    (locator,) = source.discover([str(tmp_path)]).locators
    (batch,) = source.read(locator, None)
    assert ([r.text for r in batch.records], [d.reason for d in batch.defects]) == (
        ["hello"],
        ["expected an object, found str"],
    )


# --- companions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left_out", "beside"),
    [
        ("p/state.vscdb.backup", "p/state.vscdb"),
        ("p/state.vscdb-wal", "p/state.vscdb"),
        ("kimi/s1/context.jsonl", "kimi/s1/wire.jsonl"),
        ("tasks/1/focus_chain_taskid_1.md", "tasks/1/ui_messages.json"),
        ("p/s1/tool-results/call.txt", "p/s1.jsonl"),
        ("session-state/s1/checkpoints/1.md", "session-state/s1/events.jsonl"),
        ("tasks/1/task_metadata.json", "tasks/1/ui_messages.json"),
        ("tasks/1/api_conversation_history.json", "tasks/1/ui_messages.json"),
        ("kimi/s1/state.json", "kimi/s1/agents/main/wire.jsonl"),
        ("droid/s1.settings.json", "droid/s1.jsonl"),
        ("grok/s1/summary.json", "grok/s1/chat_history.jsonl"),
        ("brain/1/transcript.jsonl", "brain/1/transcript_full.jsonl"),
        ("w/chatSessions/a.json", "w/chatSessions/a.jsonl"),
    ],
)
def test_a_file_of_a_session_is_left_out_only_beside_it(left_out: str, beside: str) -> None:
    assert companion_rule(left_out, {left_out, beside})
    assert not companion_rule(left_out, {left_out})
    assert not companion_rule(beside, {left_out, beside})


def test_companions_are_counted_and_no_failures(pipeline: Pipeline, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    (logs / "s1" / "tool-results").mkdir(parents=True)
    (logs / "s1" / "tool-results" / "a.txt").write_text("User: much\nTool: output\nUser: x\nTool: y\n")
    line = {"type": "user", "uuid": "u", "sessionId": "s1", "message": {"role": "user", "content": "hi"}}
    (logs / "s1.jsonl").write_text(json.dumps(line) + "\n")
    report = pipeline.load([logs])
    assert (report.records.new, report.sources.failed, report.sources.discovered) == (1, 0, 1)
    assert report.skipped_by_rule == {"tool result that a session keeps as a file": 1}
    assert pipeline.load().skipped_by_rule == {}


def test_a_folder_that_holds_only_aiders_hidden_history_is_read(tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / ".aider.chat.history.md").write_text(
        "\n# aider chat started at 2026-06-09 14:01:00\n\n#### add it  \n\nDone.\n"
    )
    (tmp_path / "repo" / ".secret.md").write_text("no")
    assert texts(tmp_path / "repo") == {".aider.chat.history.md": ["add it", "Done."]}


def test_aiders_history_is_read_on_when_a_chat_is_added(tmp_path: Path) -> None:
    path = tmp_path / ".aider.chat.history.md"
    path.write_text("# aider chat started at 2026-06-09 14:01:00\n\n#### add it  \n\nDone.\n\n")
    source = FileSource(QUIET)
    (locator,) = source.discover([str(tmp_path)]).locators
    *_, batch = source.read(locator, None)
    with path.open("a") as file:
        file.write("# aider chat started at 2026-06-09 15:00:00\n\n#### more  \n\nMore.\n")
    (locator,) = source.discover([str(tmp_path)]).locators
    (rest,) = source.read(locator, batch.cursor)
    assert [(r.filename.partition("#")[2], r.text, r.iteration) for r in rest.records] == [
        ("2026-06-09 15:00:00", "more", 0),
        ("2026-06-09 15:00:00", "More.", 1),
    ]
    shutil.copy(path, tmp_path / "whole.md")
    assert len(texts(tmp_path / "whole.md")["whole.md"]) == 4
