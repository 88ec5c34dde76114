from __future__ import annotations

from components.sources.formats.langfuse import end


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
