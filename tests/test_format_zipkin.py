from __future__ import annotations

import orjson
import pytest
from reading import check_positions, corpus, defects, events, reads_file

from components.sources.formats.contract import Head
from components.sources.formats.zipkin import ROWS, end_flat, end_zipkin

ZIPKIN, FLAT = ROWS[:2], ROWS[2:]


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


@pytest.mark.corpus
def test_every_span_of_a_real_file_is_one_record() -> None:
    for path in (path for path in corpus("traces") if path.name.startswith("zipkin")):
        found = reads_file(ZIPKIN, path)
        raw = orjson.loads(path.read_bytes())
        assert (len(found), len(events(found)), defects(found)) == (len(raw), len(raw), []), path.name
        assert sorted(e.extra["span_id"] for e in events(found)) == sorted(span["id"] for span in raw)
        assert {event.run for event in events(found)} == {span["traceId"] for span in raw}
        assert sum(event.timestamp is None for event in events(found)) == sum("timestamp" not in s for s in raw)
        check_positions(found)
