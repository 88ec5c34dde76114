from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from reading import (
    DATA,
    check_golden,
    check_places,
    corpus,
    events,
    json_values,
    parsed_lines,
    reads,
    reads_file,
    row_of,
    rules,
    taken_of_others,
    taker,
)

from components.sources.formats.contract import Options
from components.sources.formats.langsmith import ROWS, end

KEYS = ("run_type", "llm", "tool", "chain", "id", "inputs", "outputs", "messages", "generations", "kwargs", "content", "message",
        "parent_run_id", "dotted_order", "extra", "metadata", "error", "child_runs", "start_time", "role")  # fmt: skip


def test_the_runs_of_a_trace_become_its_records() -> None:
    check_golden(ROWS, "langsmith")
    for path in (DATA / "langsmith").glob("*.json*"):
        if ".expected." not in path.name:
            check_places(reads_file(ROWS, path))


def test_all_history_is_kept_on_request() -> None:
    for path in (DATA / "langsmith").glob("*.json*"):
        if ".expected." not in path.name:
            assert not rules(reads_file(ROWS, path, Options(history="all")))


def test_a_run_without_an_end_time_is_still_running() -> None:
    run = {"id": "a", "run_type": "llm", "inputs": {}, "end_time": "2025-03-01T10:00:00"}
    assert end([run]).mark
    assert not end([run, {**run, "end_time": None}]).mark


def test_lines_are_read_on_from_any_place() -> None:
    row = row_of(ROWS, "lines")
    assert row.reader is not None
    lines = parsed_lines((DATA / "langsmith" / "tree.jsonl").read_bytes())
    for cut in range(len(lines) + 1):
        first = row.reader(None, Options())
        found = [read for line in lines[:cut] for read in first.read(line)]
        second = row.reader(orjson.loads(orjson.dumps(first.state())), Options())
        assert found + [read for line in lines[cut:] for read in second.read(line)] == reads(row, lines)


@given(json_values(*KEYS))
def test_no_json_makes_a_reader_raise(value: Any) -> None:
    item = dict.fromkeys(KEYS, value)
    for row in ROWS:
        reads(row, value if row.shape == "document" else [value])
        for kind in ("llm", "tool", "chain", "GENERATION", "TOOL", "AGENT"):
            reads(row, [{**item, "run_type": kind, "type": kind, "id": "i", "traceId": "t"}])
    end(value)


@pytest.mark.corpus
def test_no_file_of_another_kind_is_taken() -> None:
    assert taken_of_others(ROWS) == []
    assert [path.name for path in corpus("traces") if taker(ROWS, path)] == []


def test_runs_of_one_moment_stand_in_their_dotted_order() -> None:
    """Exports give the newest first; a child often begins in the microsecond in which its parent does."""
    at = "2025-03-01T12:00:00.000000"
    stamp = "20250301T120000000000Z"
    root = {"id": "r", "trace_id": "r", "run_type": "chain", "name": "root", "start_time": at, "end_time": at}
    child = {"id": "c", "trace_id": "r", "parent_run_id": "r", "run_type": "chain", "name": "child", "start_time": at}
    document = [
        {**child, "end_time": at, "inputs": {}, "dotted_order": f"{stamp}r.{stamp}c"},
        {**root, "inputs": {}, "dotted_order": f"{stamp}r"},
    ]
    texts = [event.text for event in events(reads(row_of(ROWS, "document"), document))]
    assert [text.split()[0] for text in texts] == ["root", "child"]
