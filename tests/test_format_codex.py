from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from reading import (
    check_golden,
    check_places,
    corpus,
    defects,
    events,
    json_values,
    reads,
    reads_file,
    rules,
    taken_of_others,
)
from shelf import Shelf

from components.sources.formats.codex import ROWS

KEYS = ("type", "payload", "response_item", "event_msg", "message", "role", "content", "output", "summary", "item")


def test_rollouts_legacy_files_and_exec_output_become_their_records() -> None:
    check_golden(ROWS, "codex")


@given(json_values(*KEYS), json_values(*KEYS))
def test_no_json_makes_the_reader_raise(value: object, other: object) -> None:
    kinds = ("message", "reasoning", "function_call", "function_call_output", "web_search_call")
    odd = [{"type": "response_item", "payload": {"type": kind, "content": value, "output": other}} for kind in kinds]
    odd += [{"type": kind, "payload": value} for kind in ("session_meta", "event_msg", "compacted", "turn_context")]
    odd += [{"type": "item.completed", "item": value}, {"type": "item.completed", "item": {"type": "error"}}, value]
    reads(ROWS[0], odd)


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
        check_places(found)


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


@pytest.mark.corpus
def test_no_file_of_another_kind_is_taken() -> None:
    assert taken_of_others(ROWS, "codex_rollout", "partial") == []
