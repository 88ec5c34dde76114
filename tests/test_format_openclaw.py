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
    rules,
    taken_of_others,
)

from components.sources.formats.contract import Options
from components.sources.formats.messages import pieces_of
from components.sources.formats.openclaw import ROWS
from components.sources.formats.pieces import key_of

KEYS = ("type", "agent.start", "tool.start", "tool.end", "message.in", "sessionKey", "messages", "content", "role",
        "params", "toolName", "result", "error", "prompt", "ts", "arguments", "success")  # fmt: skip


def test_of_several_witnesses_of_a_message_the_first_counts() -> None:
    check_golden(ROWS, "openclaw")


def test_lines_are_read_on_from_any_place() -> None:
    lines = parsed_lines((DATA / "openclaw" / "telemetry.jsonl").read_bytes())
    reader = ROWS[0].reader
    assert reader is not None
    for cut in range(len(lines) + 1):
        first = reader(None, Options())
        found = [read for line in lines[:cut] for read in first.read(line)]
        second = reader(orjson.loads(orjson.dumps(first.state())), Options())
        assert found + [read for line in lines[cut:] for read in second.read(line)] == reads(ROWS[0], lines)


@given(json_values(*KEYS))
def test_no_json_makes_the_reader_raise(value: Any) -> None:
    reads(ROWS[0], [value, {**dict.fromkeys(KEYS, value)}])
    for kind in KEYS[1:5]:
        reads(ROWS[0], [{"type": kind, "messages": [value], "params": value, "content": value, "result": value}])


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
        check_places(found)


def key_of_event(event: Any) -> str:
    return key_of(event)


@pytest.mark.corpus
def test_no_file_of_another_kind_is_taken() -> None:
    assert taken_of_others(ROWS, "openclaw_events") == []
