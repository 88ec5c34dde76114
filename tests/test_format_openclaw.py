from __future__ import annotations

import pytest
from reading import check_positions, corpus, defects, events, parsed_lines, reads_file, rules

from components.sources.formats.deduplication import key_of
from components.sources.formats.messages import pieces_of
from components.sources.formats.openclaw import ROWS


@pytest.mark.corpus
def test_every_event_of_a_real_file_is_accounted_for() -> None:
    for path in corpus("agent-logs/openclaw_events"):
        lines = parsed_lines(path.read_bytes())
        found = reads_file(ROWS, path)
        assert not defects(found)
        live = sum(line["type"] != "tool.end" for line in lines)
        history = [piece for line in lines for message in line.get("messages", []) for piece in pieces_of(message)]
        assert len(events(found)) + rules(found)["repeated message"] == live + len(history)
        assert rules(found)["event without text"] == sum(line["type"] == "tool.end" for line in lines)
        kept = {event.text for event in events(found)}
        texts = {line.get("content") or line.get("prompt") for line in lines} - {None}
        assert texts | {piece.text for piece in history} <= kept
        answers = [(event.run, key_of(event)) for event in events(found) if event.type in ("assistant", "tool_result")]
        assert len(answers) == len(set(answers))  # no message of this sample occurs twice
        check_positions(found)
