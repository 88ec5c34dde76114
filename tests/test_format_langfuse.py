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
from components.sources.formats.langfuse import ROWS, end

KEYS = ("type", "GENERATION", "TOOL", "AGENT", "id", "traceId", "input", "output", "observations", "traces", "messages", "role",
        "content", "level", "ERROR", "startTime", "metadata", "usage", "data", "sessionId")  # fmt: skip


def test_a_trace_and_its_observations_become_its_records() -> None:
    check_golden(ROWS, "langfuse")
    for path in (DATA / "langfuse").glob("*.json*"):
        if ".expected." not in path.name:
            check_places(reads_file(ROWS, path))


def test_all_history_is_kept_on_request() -> None:
    for path in (DATA / "langfuse").glob("*.json*"):
        if ".expected." not in path.name:
            assert not rules(reads_file(ROWS, path, Options(history="all")))


def test_an_observation_without_an_end_time_is_still_running() -> None:
    one = {
        "id": "a",
        "traceId": "t",
        "type": "SPAN",
        "startTime": "2025-03-01T10:00:00Z",
        "endTime": "2025-03-01T10:00:01Z",
    }
    assert end([one]).mark
    assert not end([one, {**one, "id": "b", "endTime": None}]).mark
    assert end([one, {**one, "id": "b", "endTime": None, "type": "EVENT"}]).mark


def test_lines_are_read_on_from_any_place() -> None:
    row = row_of(ROWS, "lines")
    assert row.reader is not None
    lines = parsed_lines((DATA / "langfuse" / "observations.jsonl").read_bytes())
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
