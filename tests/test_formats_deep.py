"""JSON nested as deep as the parser lets through is a defect at worst."""

from __future__ import annotations

from typing import Any

import pytest

from components.sources.formats import FORMATS
from components.sources.formats.contract import Format, Head, Options

DEPTH = 950  # the parser refuses more than 1,024 levels
NOT_YET = ()


def nested(key: str) -> Any:
    value: Any = "deep"
    for level in range(DEPTH):
        value = [value] if level % 2 else {key: value, "type": "text"}
    return value


def chained(key: str) -> Any:
    value: Any = {"messages": [{"role": "user", "content": "deep"}]}
    for _ in range(DEPTH):
        value = {key: value}
    return value


def hostile() -> list[Any]:
    deep = nested("content")
    message = {"role": "user", "content": deep, "agent": "a", "tool_calls": deep, "extra": {"response": deep}}
    answer = {**message, "role": "assistant", "reasoning": deep}
    step = {"action": deep, "observation": deep, "thought": deep, "source": "agent", "message": deep}
    event = {"action": "run", "args": {"thought": deep, "more": deep}, "source": "agent", "timestamp": deep}
    gemini = {
        "type": "gemini",
        "id": "1",
        "timestamp": "x",
        "content": deep,
        "toolCalls": [{"args": deep, "result": deep}],
    }
    sample = {"messages": [message, answer], "attachments": {"a": "b"}, "error": deep, "events": [deep], "scores": deep}
    return [
        deep,
        [deep, deep],
        *(chained(key) for key in ("input", "request", "response", "output", "history", "message", "child_runs")),
        *(nested(key) for key in ("input", "response", "children", "attributes", "payload", "subagent_trajectories")),
        message,
        [message, answer],
        {"messages": [message, answer], "info": {"exit_status": deep}, "response": deep, "system": deep},
        {"trajectory": [step], "history": [message], "info": deep},
        {"history": [message]},
        {"history": [event], "instance_id": deep},
        [event, {"observation": "run", "content": deep, "extras": {}}],
        {"samples": [sample], "eval": {}, "status": "success", "version": 2},
        sample,
        {"schema_version": "ATIF-v1.8", "steps": [step, {**step, "observation": {"results": [{"content": deep}]}}]},
        {"sessionId": "s", "projectHash": "p", "messages": [gemini]},
        {"type": "message", "message": answer},
        {"type": "compaction", "summary": deep},
        {"type": "user", "uuid": "u", "message": message},
        {"type": "response_item", "timestamp": "x", "payload": {"type": "message", "role": "user", "content": deep}},
        {"text": deep, "iteration": 1, "type": "user", "more": deep},
    ]


@pytest.mark.parametrize(
    "row", [row for row in FORMATS if row.name not in NOT_YET], ids=lambda row: f"{row.name}-{row.shape}"
)
def test_no_depth_makes_a_format_raise(row: Format) -> None:
    for item in hostile():
        head = Head(name="x", shape=row.shape, lines=[item, item], document=item)
        assert row.recognises(head).reason
        row.end(item)
        if row.read is not None and row.shape == "document":
            list(row.read(item, Options()))
        if row.read_member is not None:
            list(row.read_member("samples/1_epoch_1.json", item, Options()))
        if row.reader is not None and row.shape == "lines":
            reader = row.reader(None, Options())
            list(reader.read(item))
            reader.state()
