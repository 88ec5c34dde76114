"""Which format a source is recognised as: behind bookkeeping, in tables, by its name; and what is refused by name."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shelf import QUIET, Shelf, jsonl, loaded

from components.errors import BadSetting, UnknownFormat
from components.settings import load_settings
from components.sources.files import FileSource

SESSION = "00000000-0000-4000-8000-000000000001"
QUEUED = {"type": "queue-operation", "operation": "enqueue", "sessionId": SESSION}
SNAPSHOT = {"type": "file-history-snapshot", "messageId": "m", "snapshot": {"trackedFileBackups": {}}}
ASKED = {"type": "user", "sessionId": SESSION, "uuid": "u1", "message": {"role": "user", "content": "Go on."}}


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(UnknownFormat) as refused:
        loaded(path)
    return str(refused.value).partition("\n")[0]


# --- bookkeeping -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 59, 60, 61, 5_000])
def test_a_log_is_recognised_however_late_its_first_message_comes(tmp_path, n):
    path = write(tmp_path / "a.jsonl", jsonl(*[QUEUED, SNAPSHOT] * n, ASKED))
    shelf = loaded(path)
    assert shelf.texts == ["Go on."]
    assert shelf.entry.cursor.format == "claude_code"
    assert shelf.skipped.total() == 2 * n


@pytest.mark.parametrize("n", [1, 100])
def test_a_log_of_bookkeeping_only_is_reported_as_such_and_read_on_when_it_grows(tmp_path, n):
    path = write(tmp_path / "a.jsonl", jsonl(*[QUEUED] * 2 * n))
    shelf = loaded(path)
    assert shelf.waits == (
        f"It holds {2 * n} lines of bookkeeping of claude_code and no message yet; a later load reads on once it grows."
    )
    assert not shelf.records
    assert shelf.decide(path).action == "skip"
    with path.open("ab") as file:
        file.write(jsonl(ASKED))
    assert shelf.load(path).action == "resume"
    assert shelf.records == loaded(path).records
    assert shelf.texts == ["Go on."]


def test_metrics_before_the_first_span_do_not_hide_it(tmp_path):
    span = {"traceId": "0" * 31 + "1", "spanId": "1" * 16, "name": "chat", "startTimeUnixNano": "1", "attributes": []}
    spans = {"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": [span]}]}]}
    path = write(tmp_path / "a.jsonl", jsonl(*[{"resourceMetrics": [{}]}] * 500, spans))
    shelf = loaded(path)
    assert shelf.entry.cursor.format == "otel_genai"
    assert len(shelf.records) == 1
    assert (
        "lines of bookkeeping of otel_genai"
        in loaded(write(tmp_path / "b.jsonl", jsonl(*[{"resourceMetrics": [{}]}] * 70))).waits
    )


def test_lines_that_no_format_knows_stay_unknown(tmp_path):
    path = write(tmp_path / "a.jsonl", jsonl(*[{"step": n, "loss": 0.5} for n in range(200)], ASKED))
    assert "JSON lines with the columns step, loss" in refusal(path)


def test_damage_at_the_beginning_does_not_hide_the_format(tmp_path):
    line = json.dumps(ASKED).encode()
    other = json.dumps({**ASKED, "uuid": "another"}).encode()
    path = write(tmp_path / "a.jsonl", line[:50] + line + other + b"\n")
    assert loaded(path).texts == ["Go on."] * 2
    assert loaded(path).entry.cursor.format == "claude_code"


def test_a_page_about_logs_is_no_log(tmp_path):
    page = b"# How to\n\n" + b'Send {"role": "user", "content": "hi"}\nand wait\nuntil it answers.\n' * 3
    refusal(write(tmp_path / "README.md", page))


# --- tables ----------------------------------------------------------------------------------------------------

RUNS = [
    {"id": f"run-{n}", "conversations": [{"from": "human", "value": f"q{n}"}, {"from": "gpt", "value": f"a{n}"}]}
    for n in range(3)
]


def contents_of(shelf: Shelf) -> list[tuple[object, ...]]:
    """All but the file's name, which differs between a table and its twin."""
    return [(r.filename.partition("#")[2], *r[3:7]) for r in shelf.records.values()]


@pytest.mark.parametrize("asked", [None, "chat"])
def test_conversations_in_the_columns_of_a_table_are_those_of_its_jsonl_twin(tmp_path, asked):
    twin = loaded(write(tmp_path / "twin.jsonl", jsonl(*RUNS)), format=asked)
    assert len(contents_of(twin)) == 6
    pq.write_table(pa.Table.from_pylist([{**run, "score": None} for run in RUNS]), tmp_path / "nested.parquet")
    as_text = [{**run, "conversations": json.dumps(run["conversations"])} for run in RUNS]
    pq.write_table(pa.Table.from_pylist(as_text), tmp_path / "text.parquet")
    quoted = [run["conversations"].replace('"', '""') for run in as_text]
    rows = "".join(f'{run["id"]},"{cell}"\n' for run, cell in zip(as_text, quoted, strict=True))
    write(tmp_path / "text.csv", f"id,conversations\n{rows}".encode())
    for name in ("nested.parquet", "text.parquet", "text.csv"):
        assert contents_of(loaded(tmp_path / name, format=asked)) == contents_of(twin), name


def test_messages_that_are_the_rows_of_a_table_are_one_run(tmp_path):
    path = write(tmp_path / "a.csv", b"role,content\nuser,hi\nassistant,ho\n")
    shelf = loaded(path)
    assert [(r.type, r.text, r.iteration) for r in shelf.records.values()] == [
        ("user", "hi", 0),
        ("assistant", "ho", 1),
    ]
    with path.open("ab") as file:
        file.write(b"user,more\n")
    shelf.load(path)
    assert shelf.records == loaded(path).records


def test_rows_that_are_records_are_generic_even_where_they_look_like_messages(tmp_path):
    rows = [{"role": "user", "text": "hi", "iteration": 0, "idx": 0, "messages": "[]"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert loaded(tmp_path / "a.parquet").entry.cursor.format == "generic"


def test_columns_come_before_any_guess(tmp_path):
    pq.write_table(pa.Table.from_pylist([{**run, "note": "n"} for run in RUNS]), tmp_path / "a.parquet")
    shelf = loaded(tmp_path / "a.parquet", columns={"text": "note"})
    assert shelf.entry.cursor.format == "generic"
    empty = b"note,role,content\n" + b",user,hi\n" * 100 + b"said,user,hi\n"
    assert loaded(write(tmp_path / "a.csv", empty), columns={"text": "note"}).texts == ["said"]


def test_columns_without_a_name_are_called_by_their_place(tmp_path):
    path = write(tmp_path / "a.csv", b",text,\n0,hi,x\n1,ho,y\n")
    shelf = loaded(path, columns={"text": "text"})
    assert [dict(r.extra) for r in shelf.records.values()] == [
        {"column_1": "0", "column_3": "x"},
        {"column_1": "1", "column_3": "y"},
    ]
    pq.write_table(pa.table([["0"], ["hi"]], names=["", "text"]), tmp_path / "a.parquet")
    (record,) = loaded(tmp_path / "a.parquet", columns={"text": "text"}).records.values()
    assert dict(record.extra) == {"column_1": "0"}


def test_a_table_is_judged_by_whole_rows_however_long(tmp_path):
    rows = b"".join(b'0,"%b",user,%d\n' % (b"word\n" * 20_000, n) for n in range(3))
    path = write(tmp_path / "a.csv", b"iteration,notes,type,text\n" + rows)
    assert loaded(path).texts == ["0", "1", "2"]


# --- plain text and other files --------------------------------------------------------------------------------


def test_a_table_of_stamped_rows_is_offered_as_a_table(tmp_path):
    raw = b"timestamp,message,level\n2025-01-01 10:00:00,started,INFO\n2025-01-01 10:00:01,broke,ERROR\n"
    for name in ("a.csv", "a.data", "a.txt"):
        said = refusal(write(tmp_path / name, raw))
        assert "a CSV table with the columns timestamp, message, level" in said
        assert "columns = {text = 'message'}" in said
    assert loaded(tmp_path / "a.csv", columns={"text": "message"}).texts == ["started", "broke"]
    assert loaded(tmp_path / "a.csv", format="generic").texts == ["started", "broke"]


STAMPED = b"2025-01-01 10:00:00,1 INFO | one | a\n2025-01-01 10:00:01,2 INFO | two | b\n"


@pytest.mark.parametrize("name", ["a.log", "a.txt", "a.log.1", "a.out", "syslog", "a.2025-01-01.log"])
def test_a_text_log_is_taken_by_its_ending(tmp_path, name):
    assert len(loaded(write(tmp_path / name, STAMPED)).records) == 2


@pytest.mark.parametrize("name", ["a.md", "a", "a.csv", "a.data"])
def test_a_text_of_another_ending_is_taken_only_when_asked_for(tmp_path, name):
    text = STAMPED.replace(b",", b".").replace(b"|", b":")
    said = refusal(write(tmp_path / name, text))
    assert "--format plain_text reads it anyway" in said
    assert len(loaded(tmp_path / name, format="plain_text").records) == 2


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n2025-01-01 10:00:00 INFO\n", "a PDF document"),
        (b"{\\rtf1\\ansi\n", "an RTF document"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "an old Microsoft Office document"),
        (
            b"SQLite format 3\x00" + bytes(600),
            "a SQLite database; name one of its tables, as sqlite:///PATH?table=NAME",
        ),
        (b"<!DOCTYPE html>\n<html>\n", "an HTML page"),
        (b"BZh91AY&SY" + bytes(60), "a bzip2 archive; unpack it first"),
        (b"ARROW1\x00\x00" + bytes(60), "an Arrow"),
    ],
)
@pytest.mark.parametrize("name", ["a.log", "a.pdf", "a.jsonl"])
def test_other_files_are_refused_by_name_whatever_their_ending(tmp_path, name, start, kind):
    path = write(tmp_path / name, start)
    assert f"It is {kind}" in refusal(path)
    with pytest.raises(UnknownFormat, match="It is"):
        list(
            FileSource(QUIET.model_copy(update={"quiet_s": 3_600}), format="plain_text").read(
                Shelf().locator(path), None
            )
        )


def test_office_documents_are_refused_by_name_too(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/workbook.xml", "<workbook/>")
    assert "It is a Microsoft Excel workbook; save its sheet as CSV" in refusal(tmp_path / "a.xlsx")


# --- one limit -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("former", ["max_line_bytes", "max_document_bytes"])
def test_a_former_name_of_the_limit_is_refused_with_the_new_one(monkeypatch, former):
    monkeypatch.setenv(f"RUNATLAS_LOAD__{former.upper()}", "1000")
    with pytest.raises(BadSetting, match=rf"load\.{former} is now load\.max_item_bytes"):
        load_settings()
