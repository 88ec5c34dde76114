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
    defects,
    events,
    json_values,
    parsed_lines,
    reads,
    reads_file,
    row_of,
    taken_of_others,
    taker,
)

from components.sources.formats.contract import Head, Options
from components.sources.formats.zipkin import ROWS, end_flat, end_zipkin

ZIPKIN, FLAT = ROWS[:2], ROWS[2:]
KEYS = ("traceId", "id", "parentId", "name", "timestamp", "duration", "tags", "localEndpoint", "trace_id", "span_id",
        "attributes", "status", "events", "annotations", "kind", "spans", "error", "duration_ms")  # fmt: skip


def test_spans_become_records_of_their_trace() -> None:
    check_golden(ROWS, "zipkin")


def test_flat_lines_are_read_on_from_any_place() -> None:
    row = row_of(FLAT, "lines")
    assert row.reader is not None
    lines = parsed_lines((DATA / "zipkin" / "flat.jsonl").read_bytes())
    for cut in range(len(lines) + 1):
        first = row.reader(None, Options())
        found = [read for line in lines[:cut] for read in first.read(line)]
        second = row.reader(orjson.loads(orjson.dumps(first.state())), Options())
        assert found + [read for line in lines[cut:] for read in second.read(line)] == reads(row, lines)


def test_a_log_line_that_names_its_span_is_no_span() -> None:
    line = {
        "trace_id": "t",
        "span_id": "s",
        "name": "app.db",
        "message": "connected",
        "timestamp": "2025-03-01T10:00:00",
    }
    assert not any(row.recognises(Head(name="x", shape="lines", lines=[line])).accepted for row in ROWS)


def test_a_trace_without_its_root_span_is_still_running() -> None:
    root, child = {"traceId": "t", "id": "1"}, {"traceId": "t", "id": "2", "parentId": "1"}
    assert end_zipkin([child, root]).mark
    assert not end_zipkin([child]).mark
    assert end_flat([{"trace_id": "t", "span_id": "1"}]).mark
    assert not end_flat([{"trace_id": "t", "span_id": "1", "parent_span_id": "0"}]).mark


@given(json_values(*KEYS))
def test_no_json_makes_a_reader_raise(value: Any) -> None:
    span = dict.fromkeys(KEYS, value)
    for row in ROWS:
        reads(row, value if row.shape == "document" else [value])
        reads(row, [span, {**span, "traceId": "t", "id": "i", "trace_id": "t", "span_id": "s"}])
    end_zipkin(value)
    end_flat(value)


@pytest.mark.corpus
def test_every_span_of_a_real_file_is_one_record() -> None:
    for path in (path for path in corpus("traces") if path.name.startswith("zipkin")):
        found = reads_file(ZIPKIN, path)
        raw = orjson.loads(path.read_bytes())
        assert (len(found), len(events(found)), defects(found)) == (len(raw), len(raw), []), path.name
        assert sorted(e.extra["span_id"] for e in events(found)) == sorted(span["id"] for span in raw)
        assert {event.run for event in events(found)} == {span["traceId"] for span in raw}
        assert sum(event.timestamp is None for event in events(found)) == sum("timestamp" not in s for s in raw)
        check_places(found)


@pytest.mark.corpus
def test_no_file_of_another_kind_is_taken() -> None:
    assert taken_of_others(ROWS) == []
    taken = [path.name for path in corpus("traces") if taker(ROWS, path)]
    assert all(name.startswith("zipkin") for name in taken)
    assert len(taken) == 7
