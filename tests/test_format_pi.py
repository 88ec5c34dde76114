"""Sessions of the pi agent: every entry once, resumable after any line."""

from __future__ import annotations

from reading import row_of

from components.sources.formats.contract import Head
from components.sources.formats.pi import ROWS

LINES = row_of(ROWS, "lines")


def test_a_session_of_another_agent_is_declined() -> None:
    lines = [{"type": "session", "id": "x"}, {"type": "message.in"}]
    assert not LINES.recognises(Head(name="x.jsonl", shape="lines", lines=lines)).accepted
