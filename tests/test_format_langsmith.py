from __future__ import annotations

from reading import events, reads, row_of

from components.sources.formats.langsmith import ROWS, end


def test_a_run_without_an_end_time_is_still_running() -> None:
    run = {"id": "a", "run_type": "llm", "inputs": {}, "end_time": "2025-03-01T10:00:00"}
    assert end([run]).mark
    assert not end([run, {**run, "end_time": None}]).mark


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
