"""JSON nested as deep as the parser lets through is a defect at worst."""

from __future__ import annotations

from typing import Any

import pytest
from reading import reads

from components.contracts import Defect
from components.sources.formats import FORMATS
from components.sources.formats.contract import Format, Head, Options

DEPTH = 950  # the parser refuses more than 1,024 levels


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


@pytest.mark.parametrize("row", FORMATS, ids=lambda row: f"{row.name}-{row.shape}")
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


def deep(n: int, key: str | None = None) -> Any:
    value: Any = "bottom"
    for _ in range(n):
        value = {key: value} if key else [value]
    return value


EXPECTED = ("deep", "expected", "without", "neither", "no ")  # in the reason of a defect


@pytest.mark.parametrize("key", [None, "content", "values", "trace", "child_runs", "message"])
def test_a_thousand_levels_are_a_defect_and_no_crash(key: str | None) -> None:
    value = deep(1_000, key)
    otlp = {"key": "a", "value": {"kvlistValue": value} if isinstance(value, dict) else value}
    spans = [
        {
            "traceId": "t",
            "spanId": "s",
            "name": "n",
            "attributes": [otlp, {"key": "gen_ai.input.messages", "value": value}],
        }
    ]
    items = [
        {"traj": [{"role": "user", "content": value}], "reward": 1},
        {"question": "q", "question_ID": "i", "history": [{"role": "user", "content": value}]},
        {"prompt": value, "is_solved": True, "solution": value},
        {"idx": 1, "ys": [value]},
        {"trajectory": [{"role": "ai", "text": value}]},
        {"id": "i", "prompt": "p", "messages": [{"role": "user", "content": value}], "output": "o"},
        {"type": "agent.start", "prompt": value, "messages": [value]},
        {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]},
        {
            "traceId": "t",
            "id": "i",
            "name": "n",
            "tags": {"a": value},
            "trace_id": "t",
            "span_id": "s",
            "attributes": {"a": value},
        },
        {"id": "i", "run_type": "llm", "inputs": value, "outputs": value, "child_runs": [value]},
        {"id": "i", "type": "GENERATION", "traceId": "t", "input": value, "output": value},
    ]
    for row in (row for row in FORMATS if row.shape in ("lines", "document")):
        for item in (*items, value):
            row.recognises(Head(name="x", shape=row.shape, document=item, lines=[item]))
            for document in (item, [item]) if row.shape == "document" else ([item],):
                found = reads(row, document)
                reasons = [read.reason for read in found if isinstance(read, Defect)]
                assert all(any(word in reason for word in EXPECTED) for reason in reasons), reasons
                row.end(item)
