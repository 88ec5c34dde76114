from __future__ import annotations

from typing import Any

import pytest
from reading import (
    check_positions,
    corpus,
    defects,
    events,
    parsed_lines,
    reads_file,
    rules,
)

from components.sources.formats.messages import pieces_of
from components.sources.formats.openclaw import ROWS
from components.sources.formats.pieces import key_of


@pytest.mark.corpus
def test_every_event_of_a_real_file_is_accounted_for() -> None:
    for path in corpus("agent-logs/openclaw_events"):
        lines = parsed_lines(path.read_bytes())
        found = reads_file(ROWS, path)
        assert not defects(found)
        live = sum(line["type"] != "tool.end" for line in lines)
        told = [piece for line in lines for message in line.get("messages", []) for piece in pieces_of(message)]
        assert len(events(found)) + rules(found)["repeated message"] == live + len(told)
        assert rules(found)["event without text"] == sum(line["type"] == "tool.end" for line in lines)
        kept = {event.text for event in events(found)}
        texts = {line.get("content") or line.get("prompt") for line in lines} - {None}
        assert texts | {piece.text for piece in told} <= kept
        said = [
            (event.run, key_of_event(event)) for event in events(found) if event.type in ("assistant", "tool_result")
        ]
        assert len(said) == len(set(said))  # nothing in this sample was said twice
        check_positions(found)


def key_of_event(event: Any) -> str:
    return key_of(event)
