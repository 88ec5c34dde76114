from __future__ import annotations

import orjson
import pytest
from reading import check_positions, corpus, defects, events, reads_file, rules
from shelf import Shelf

from components.sources.formats.codex import ROWS, Reader
from components.sources.formats.contract import Options


@pytest.mark.corpus
def test_every_line_of_a_real_rollout_is_accounted_for() -> None:
    for path in corpus("agent-logs/codex_rollout"):
        lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
        items = [line["payload"] for line in lines if line["type"] == "response_item"]
        found = reads_file(ROWS, path)
        assert len(found) == len(lines)
        assert defects(found) == []
        n_left_out = rules(found)["encrypted reasoning"] + rules(found)["ghost_snapshot item"]
        n_system = sum(
            line["type"] == "session_meta"
            and bool(line["payload"].get("base_instructions") or line["payload"].get("instructions"))
            for line in lines
        )
        assert len(events(found)) == len(items) + n_system - n_left_out - rules(found)["empty text"]
        check_positions(found)


@pytest.mark.corpus
def test_what_event_messages_repeat_is_read_once() -> None:
    for path in corpus("agent-logs/codex_rollout"):
        lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
        said = [line["payload"]["message"] for line in lines if line["payload"].get("type") == "agent_message"]
        texts = [event.text for event in events(reads_file(ROWS, path)) if event.type == "assistant"]
        assert [text for text in said if texts.count(text) != said.count(text)] == []


@pytest.mark.corpus
def test_loading_a_growing_rollout_is_loading_its_last_state(tmp_path) -> None:
    first, last = (path for path in corpus("agent-logs/codex_rollout") if path.name.startswith("growing"))
    growing = tmp_path / "rollout.jsonl"
    shelf, whole = Shelf(), Shelf(key="rollout.jsonl")
    for path in (first, last):
        growing.write_bytes(path.read_bytes())
        shelf.load(growing)
    whole.load(last)
    assert shelf.records == whole.records


def test_a_session_resumed_by_a_newer_version_does_not_read_its_last_prompt_twice() -> None:
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Go"}]}
    lines = [
        {"type": "response_item", "timestamp": "2026-01-01T00:00:00Z", "payload": item},
        {
            "type": "event_msg",
            "timestamp": "2026-01-01T00:00:01Z",
            "payload": {"type": "user_message", "message": "Go"},
        },
        {
            "type": "event_msg",
            "timestamp": "2026-01-01T00:00:02Z",
            "payload": {"type": "user_message", "message": "On"},
        },
    ]
    first = Reader(None, Options())
    assert [event.text for event in events(first.read(lines[0]))] == ["Go"]
    state = {key: value for key, value in first.state().items() if key != "prompts"}  # as it was kept before
    second = Reader(state, Options())
    assert [event.text for line in lines[1:] for event in events(second.read(line))] == ["On"]
