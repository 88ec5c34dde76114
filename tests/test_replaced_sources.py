"""Sources that are rotated in steps, trimmed, renamed, replaced or unreadable for a while: each record once."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from logs import append, lines, write
from test_exactly_once import load_and_die

from components.contracts import LoadReport
from components.pipeline import Pipeline
from components.settings import DatasetSettings, LoadSettings, Settings
from components.store.tables import RecordState


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[Pipeline]:
    with Pipeline(Settings(home=tmp_path / "home", model="hash://16", load=LoadSettings(quiet_s=0))) as opened:
        yield opened


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "app.jsonl"


def records(pipeline: Pipeline) -> list[Any]:
    streamed = pipeline.store.records.stream(pipeline.dataset_id("default"), *RecordState)
    return [stored.record for batch in streamed for stored in batch]


def texts(pipeline: Pipeline) -> list[str]:
    return sorted(record.text for record in records(pipeline))


def entries(*numbers: int) -> list[dict[str, Any]]:
    """Lines without a place of their own: the reader counts them."""
    return [
        {"timestamp": f"2026-01-01T00:{n // 60:02d}:{n % 60:02d}Z", "type": "user", "text": f"entry {n}"}
        for n in numbers
    ]


def said(items: Sequence[dict[str, Any]]) -> list[str]:
    return sorted(str(item["text"]) for item in items)


def load(pipeline: Pipeline, log: Path, **options: Any) -> LoadReport:
    return pipeline.load([log.parent], **options)


# --- rotation in steps -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_loaded_first", [True, False])
def test_a_log_packed_beside_itself_and_then_removed_is_read_once(
    pipeline: Pipeline, log: Path, is_loaded_first: bool
) -> None:
    write(log, items := lines(20))
    if is_loaded_first:
        load(pipeline, log)
    log.with_name("app.jsonl.gz").write_bytes(gzip.compress(log.read_bytes()))
    load(pipeline, log)
    assert texts(pipeline) == said(items)
    log.unlink()
    last = load(pipeline, log)
    assert (last.records.new, last.sources.gone) == (0, 0)
    assert texts(pipeline) == said(items)
    assert {record.filename for record in records(pipeline)} == {"app.jsonl"}


def test_a_document_packed_beside_itself_and_then_removed_is_read_once(pipeline: Pipeline, log: Path) -> None:
    document = log.with_name("chat.json")
    document.parent.mkdir()
    document.write_bytes(orjson.dumps([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]))
    load(pipeline, log)
    log.with_name("chat.json.gz").write_bytes(gzip.compress(document.read_bytes()))
    assert load(pipeline, log).records.new == 0
    document.unlink()
    assert load(pipeline, log).records.new == 0
    assert texts(pipeline) == ["hello", "hi"]


@pytest.mark.parametrize("grows", ["never", "before the load", "after the load"])
def test_a_log_copied_and_then_truncated_is_read_once(pipeline: Pipeline, log: Path, grows: str) -> None:
    items = lines(20)
    write(log, items)
    load(pipeline, log)
    append(log, more := lines(5, start=20))
    items += more
    shutil.copy(log, log.with_name("app.jsonl.1"))
    if grows == "before the load":
        append(log, more := lines(3, start=25))
        items += more
    load(pipeline, log)
    if grows == "after the load":
        append(log, more := lines(3, start=25))
        items += more
        load(pipeline, log)
    assert texts(pipeline) == said(items)
    write(log, more := lines(4, seed=7))
    items += more
    load(pipeline, log)
    assert load(pipeline, log, verify=True).records.new == 0
    assert texts(pipeline) == said(items)


def test_a_half_written_copy_is_not_read(pipeline: Pipeline, log: Path) -> None:
    write(log, items := lines(20))
    load(pipeline, log)
    half = log.with_name("app.jsonl.1")
    half.write_bytes(log.read_bytes()[:500])
    load(pipeline, log)
    shutil.copy(log, half)
    load(pipeline, log)
    assert texts(pipeline) == said(items)


def test_a_copy_that_goes_on_by_itself_is_a_source_of_its_own(pipeline: Pipeline, log: Path) -> None:
    write(log, items := lines(20))
    load(pipeline, log)
    shutil.copy(log, log.with_name("app.jsonl.fork"))
    assert load(pipeline, log).records.new == 0
    append(log.with_name("app.jsonl.fork"), more := lines(2, seed=3))
    assert load(pipeline, log).records.new == 22
    assert texts(pipeline) == said([*items, *items, *more])


def test_an_unchanged_copy_is_not_compared_again(pipeline: Pipeline, log: Path) -> None:
    write(log, lines(20))
    load(pipeline, log)
    shutil.copy(log, log.with_name("app.jsonl.bak"))
    load(pipeline, log)
    versions = set()
    for n in range(3):
        append(log, lines(1, start=20 + n))
        assert load(pipeline, log).sources.resumed == 1
        versions |= {entry.version for entry in pipeline.store.ledger.entries(1) if entry.status == "copy"}
    assert len(versions) == 1


# --- logs that keep only their last lines ----------------------------------------------------------------------------


@pytest.mark.parametrize("keeps", [5, 30, 200])
def test_a_log_that_keeps_only_its_last_lines_gives_each_line_once(pipeline: Pipeline, log: Path, keeps: int) -> None:
    """Kept lines keep their ids, and the numbering goes on."""
    n, step = keeps, max(1, keeps // 3)
    write(log, entries(*range(n)))
    load(pipeline, log)
    before = {record.text: record.id for record in records(pipeline)}
    for _ in range(4):
        kept = [*orjson_lines(log), *entries(*range(n, n + step))][-keeps:]
        n += step
        write(log.with_name("app.tmp"), kept).replace(log)
        assert load(pipeline, log).records.new == step
        now = {record.text: record.id for record in records(pipeline)}
        assert now.items() >= before.items()
        before = now
    assert texts(pipeline) == said(entries(*range(n)))
    positions = sorted((record.iteration, record.idx_in_iteration) for record in records(pipeline))
    assert positions == [(0, i) for i in range(n)], "as if nothing had been cut off"
    assert [check for check in pipeline.verify() if not check.ok] == []


def test_a_log_cut_in_place_goes_on_too(pipeline: Pipeline, log: Path) -> None:
    write(log, entries(*range(30)))
    load(pipeline, log)
    write(log, entries(*range(10, 40)))
    assert load(pipeline, log).records.new == 10
    append(log, entries(40))
    assert load(pipeline, log).records.new == 1
    assert texts(pipeline) == said(entries(*range(41)))


def test_what_replaces_the_lines_that_were_cut_off_is_read(pipeline: Pipeline, log: Path) -> None:
    """The end is known, the beginning is not: a summary of the old lines, or an edited one."""
    write(log, entries(*range(200)))
    load(pipeline, log)
    summary = {"timestamp": "2026-01-01T00:00:00Z", "type": "summary", "text": "what was before"}
    write(log, [summary, *entries(*range(100, 200))])
    load(pipeline, log)
    assert "what was before" in texts(pipeline)


def test_a_log_that_starts_over_is_read_from_its_start(pipeline: Pipeline, log: Path) -> None:
    write(log, first := entries(*range(10)))
    load(pipeline, log)
    write(log, second := entries(*range(100, 125)))
    assert load(pipeline, log).records.new == 25
    assert texts(pipeline) == said([*first, *second])


def test_a_table_of_text_that_keeps_its_header_and_its_last_rows_goes_on(pipeline: Pipeline, log: Path) -> None:
    table = log.with_suffix(".csv")
    table.parent.mkdir()

    def put(*numbers: int) -> None:
        rows = [f"2026-01-01T00:{n // 60:02d}:{n % 60:02d}Z,user,entry {n}\n" for n in numbers]
        table.write_text("timestamp,type,text\n" + "".join(rows))

    put(*range(30))
    load(pipeline, log)
    put(*range(10, 40))
    assert load(pipeline, log).records.new == 10
    assert texts(pipeline) == said(entries(*range(40)))


# --- documents that drop their oldest messages ------------------------------------------------------------------------


def chat(*numbers: int) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[n % 2], "content": f"message {n}"} for n in numbers]


@pytest.mark.parametrize("is_led_by_a_system_prompt", [True, False])
@pytest.mark.parametrize("batch_records", [3, 5_000])
def test_a_chat_that_drops_its_oldest_messages_gives_each_message_once(
    tmp_path: Path, log: Path, is_led_by_a_system_prompt: bool, batch_records: int
) -> None:
    document = log.with_name("chat.json")
    document.parent.mkdir()
    first = [{"role": "system", "content": "Be brief."}] if is_led_by_a_system_prompt else []

    def put(*numbers: int) -> None:
        document.write_bytes(orjson.dumps({"messages": [*first, *chat(*numbers)]}))

    settings = Settings(
        home=tmp_path / "home", model="hash://16", load=LoadSettings(quiet_s=0, batch_records=batch_records)
    )
    with Pipeline(settings) as pipeline:
        before: dict[str, str] = {}
        for start, end in ((0, 10), (0, 13), (4, 16), (7, 16), (7, 19), (14, 24)):
            put(*range(start, end))
            load(pipeline, log)
            now = {record.text: record.id for record in records(pipeline)}
            assert now.items() >= before.items()
            before = now
        whole = document.with_name("whole.json")
        whole.write_bytes(orjson.dumps({"messages": [*first, *chat(*range(24))]}))
        load(pipeline, log)
        for key in ("chat.json", "whole.json"):
            found = [record for record in records(pipeline) if record.filename.startswith(key)]
            positions = sorted((record.iteration, record.idx_in_iteration, record.text) for record in found)
            if key == "chat.json":
                expected = positions
        assert expected == positions, "as if nothing had been dropped"
        assert [check for check in pipeline.verify() if not check.ok] == []


@pytest.mark.parametrize("after", [1, 2, 3, 4])
def test_a_crash_while_a_chat_without_its_oldest_messages_is_read_changes_nothing(
    tmp_path: Path, log: Path, after: int
) -> None:
    document = log.with_name("chat.json")
    document.parent.mkdir()
    settings = Settings(home=tmp_path / "home", model="hash://16", load=LoadSettings(quiet_s=0, batch_records=3))
    with Pipeline(settings) as pipeline:
        document.write_bytes(orjson.dumps({"messages": chat(*range(10))}))
        load(pipeline, log)
        before = {record.text: record.id for record in records(pipeline)}
        document.write_bytes(orjson.dumps({"messages": chat(*range(4, 15))}))
        load_and_die(pipeline, document, after=after)
        load(pipeline, log)
        now = {record.text: record.id for record in records(pipeline)}
        assert len(records(pipeline)) == len(now) == 15
        assert now.items() >= before.items()


def test_a_chat_that_was_edited_gives_what_is_new(pipeline: Pipeline, log: Path) -> None:
    document = log.with_name("chat.json")
    document.parent.mkdir()
    for messages, new in (
        (chat(0, 1, 2, 3), 4),
        ([*chat(0, 1), {"role": "user", "content": "message 2, better"}, *chat(3)], 1),
        (chat(0, 1), 0),
        (chat(0, 1, 2, 3, 4), 1),
    ):
        document.write_bytes(orjson.dumps({"messages": messages}))
        assert load(pipeline, log).records.new == new


def test_what_a_chat_dropped_leaves_the_map_where_rewritten_sources_replace(tmp_path: Path, log: Path) -> None:
    document = log.with_name("chat.json")
    document.parent.mkdir()
    replacing = {"default": DatasetSettings(on_rewrite="replace")}
    settings = Settings(home=tmp_path / "home", model="hash://16", load=LoadSettings(quiet_s=0), datasets=replacing)
    with Pipeline(settings) as pipeline:
        for start in (0, 4):
            document.write_bytes(orjson.dumps({"messages": chat(*range(start, 10 + start))}))
            report = load(pipeline, log)
        assert (report.records.new, report.records.superseded) == (4, 4)


# --- renamed, or another one that begins alike -----------------------------------------------------------------------


@pytest.mark.parametrize("common", [1, 2])
def test_a_run_that_begins_like_one_that_vanished_has_its_own_name(pipeline: Pipeline, log: Path, common: int) -> None:
    first, second = log.with_name("a.jsonl"), log.with_name("b.jsonl")
    write(first, lines(common))
    load(pipeline, log)
    first.unlink()
    write(second, [*lines(common), *lines(3, seed=5)])  # many file systems give it the inode that is free now
    load(pipeline, log)
    assert {record.filename for record in records(pipeline)} == {"a.jsonl", "b.jsonl"}
    assert sum(record.filename == "b.jsonl" for record in records(pipeline)) == common + 3


@pytest.mark.parametrize("how", ["renamed", "renamed and grown", "moved to another disk", "copied and removed"])
def test_a_run_that_was_moved_keeps_its_name(pipeline: Pipeline, log: Path, how: str) -> None:
    first, second = log.with_name("a.jsonl"), log.with_name("b.jsonl")
    write(first, lines(10 if how == "copied and removed" else 1))
    load(pipeline, log)
    if how.startswith("renamed"):
        first.rename(second)
    else:
        (shutil.copy2 if "disk" in how else shutil.copy)(first, second)
        first.unlink()
    if "grown" in how:
        append(second, lines(2, seed=5))
    assert load(pipeline, log).records.new == (2 if "grown" in how else 0)
    assert {record.filename for record in records(pipeline)} == {"a.jsonl"}


@pytest.mark.parametrize("is_removed_first", [True, False])
def test_a_file_replaced_by_one_of_equal_size_and_time_is_read(
    pipeline: Pipeline, log: Path, is_removed_first: bool
) -> None:
    write(log, lines(10))
    load(pipeline, log)
    info = log.stat()
    other = log.with_name("other")
    other.write_bytes(log.read_bytes().replace(b"user", b"USER"))
    if is_removed_first:
        content = other.read_bytes()
        other.unlink()
        log.unlink()
        log.write_bytes(content)
    else:
        other.replace(log)
    os.utime(log, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert load(pipeline, log).sources.loaded == 1
    assert "USER" in {record.type for record in records(pipeline)}


def test_a_format_that_is_asked_for_after_a_load_is_obeyed(pipeline: Pipeline, log: Path) -> None:
    write(log, lines(10))
    load(pipeline, log)
    again = pipeline.load([log], format="plain_text")
    assert again.sources.loaded == 1
    assert again.records.new > 0
    assert pipeline.load([log], format="plain_text").sources.skipped == 1
    assert load(pipeline, log).records.new == 0, "a load that asks for no format keeps to it"


def test_a_format_that_is_set_after_a_load_is_obeyed(tmp_path: Path, log: Path) -> None:
    write(log, lines(10))
    for format, is_loaded in ((None, 1), ("plain_text", 1), ("plain_text", 0)):
        settings = Settings(
            home=tmp_path / "home",
            model="hash://16",
            load=LoadSettings(quiet_s=0),
            datasets={"default": DatasetSettings(format=format)},
        )
        with Pipeline(settings) as pipeline:
            assert load(pipeline, log).sources.loaded == is_loaded


# --- reading that fails for a while ----------------------------------------------------------------------------------


@contextmanager
def refused(path: Path) -> Iterator[None]:
    """Within, this process may not open the file: it runs as another user, who may do all else."""
    if os.geteuid() != 0:
        pytest.skip("needs another user to be refused")
    home = path.parents[1]
    for folder in (home, *home.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o755)
    for inside in home.rglob("*"):
        inside.chmod(0o777)
    before = path.stat()
    path.chmod(0o600)
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)
        assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


@pytest.mark.parametrize("is_known", [True, False])
def test_a_source_that_could_not_be_read_is_tried_again(pipeline: Pipeline, log: Path, is_known: bool) -> None:
    write(log, items := lines(10))
    write(log.with_name("other.jsonl"), others := lines(3, seed=4))
    if is_known:
        load(pipeline, log)
        append(log, more := lines(2, start=10))
        items += more
    else:
        pipeline.load([log.with_name("other.jsonl")])
    with refused(log):
        report = load(pipeline, log)
        assert report.sources.failed == 1
        assert "Permission denied" in report.problems[0].reason
        assert load(pipeline, log).sources.failed == 1
    assert load(pipeline, log).sources.failed == 0
    assert texts(pipeline) == said([*items, *others])


def test_a_new_name_that_could_not_be_compared_is_not_taken_for_a_new_source(pipeline: Pipeline, log: Path) -> None:
    write(log, items := lines(10))
    load(pipeline, log)
    moved = log.rename(log.with_name("moved.jsonl"))
    with refused(moved):
        report = load(pipeline, log)
        assert (report.sources.failed, report.records.new) == (1, 0)
    assert load(pipeline, log).sources.failed == 0
    assert texts(pipeline) == said(items)
    assert {record.filename for record in records(pipeline)} == {"app.jsonl"}


def test_what_can_not_be_recognised_waits_for_a_change(pipeline: Pipeline, log: Path) -> None:
    log.parent.mkdir()
    log.write_bytes(bytes(range(256)) * 10)
    assert load(pipeline, log).sources.failed == 1
    version = pipeline.store.ledger.entries(1)[0].version
    assert load(pipeline, log).sources.failed == 1
    assert pipeline.store.ledger.entries(1)[0].version == version, "it was not looked at again"


def orjson_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]
