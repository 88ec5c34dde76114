"""Shapes that tools write besides the usual ones: other versions, one run alone, packed, printed, in batches."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from shelf import jsonl, loaded

ASKED, ANSWERED = {"role": "user", "content": "q ünï"}, {"role": "assistant", "content": "a"}
SPAN = {
    "name": "chat m",
    "context": {"trace_id": "0x" + "aa" * 16, "span_id": "0x" + "bb" * 8, "trace_state": "[]"},
    "kind": "SpanKind.CLIENT",
    "parent_id": None,
    "start_time": "2025-01-01T00:00:00.000000Z",
    "end_time": "2025-01-01T00:00:01.000000Z",
    "status": {"status_code": "UNSET"},
    "attributes": {
        "gen_ai.operation.name": "chat",
        "gen_ai.prompt.0.role": "user",
        "gen_ai.prompt.0.content": "q",
        "gen_ai.completion.0.content": "a",
    },
    "events": [],
    "resource": {"attributes": {"service.name": "s"}},
}
OTHER_SPAN = {
    **SPAN,
    "context": {**SPAN["context"], "span_id": "0x" + "cc" * 8},
    "attributes": {**SPAN["attributes"], "gen_ai.prompt.0.content": "q2", "gen_ai.completion.0.content": "a2"},
}


def completion(text: str) -> dict[str, Any]:
    return {"id": f"c-{text}", "object": "chat.completion", "created": 1741476542, "choices": [{"message": said(text)}]}


def said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def claude(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "session_id": "s", **more}


USER_LINE = {**claude("user"), "uuid": "u", "message": ASKED, "timestamp": "2025-01-01T00:00:00Z"}
PRINTED = [
    claude("system", subtype="init", tools=[]),
    USER_LINE,
    claude("assistant", message={"id": "m", "content": [{"type": "text", "text": "a"}]}),
    claude("result", result="a"),
]

CASES = {
    "a packed session": ("s", gzip.compress(jsonl({"type": "progress"}, USER_LINE)), "claude_code", ["q ünï"]),
    "a session printed as one list": ("o.json", json.dumps(PRINTED).encode(), "claude_code", ["q ünï", "a"]),
    "a session printed line by line": ("o.jsonl", jsonl(*PRINTED), "claude_code", ["q ünï", "a"]),
    "the output of a batch": (
        "b.jsonl",
        jsonl(*({"custom_id": n, "response": {"body": completion(n)}, "error": None} for n in ("1", "2"))),
        "chat",
        ["1", "2"],
    ),
    "the input of a batch": (
        "b.jsonl",
        jsonl(*({"custom_id": n, "url": "/v1/chat/completions", "body": {"messages": [ASKED]}} for n in ("1", "2"))),
        "chat",
        ["q ünï", "q ünï"],
    ),
    "one completion": ("c.json", json.dumps(completion("a"), indent=2).encode(), "chat", ["a"]),
    "one response": (
        "r.json",
        json.dumps(
            {
                "id": "r",
                "object": "response",
                "output": [
                    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "t"}]},
                    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]},
                ],
            }
        ).encode(),
        "chat",
        ["t", "a"],
    ),
    "messages as LangChain stores them": (
        "l.json",
        json.dumps([{"type": "human", "data": {"content": "q"}}, {"type": "ai", "data": {"content": "a"}}]).encode(),
        "chat",
        ["q", "a"],
    ),
    "chat in UTF-16": ("u.jsonl", (json.dumps(ASKED) + "\n" + json.dumps(ANSWERED)).encode("utf-16"), "chat", ["q ünï", "a"]),
    "spans printed to the console": (
        "out.txt",
        b"".join(json.dumps(span, indent=4).encode() + b"\n" for span in (SPAN, OTHER_SPAN)),
        "otel_genai",
        ["q", "a", "q2", "a2"],
    ),
    "one span printed to the console": ("out.txt", json.dumps(SPAN, indent=4).encode(), "otel_genai", ["q", "a"]),
    "an early ATIF version": (
        "t.json",
        json.dumps(
            {
                "schema_version": "ATIF-v1.2",
                "agent": {"name": "a"},
                "steps": [{"source": "user", "message": "q"}, {"source": "agent", "message": "a"}],
            }
        ).encode(),
        "atif",
        ["q", "a"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_is_recognised_and_read_whole(tmp_path, case):
    name, content, format, texts = CASES[case]
    path = tmp_path / name
    path.write_bytes(content)
    shelf = loaded(path)
    assert shelf.entry.cursor.format == format
    assert shelf.texts == texts
    assert not shelf.defects
