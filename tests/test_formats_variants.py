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
    "the output of a batch with a failure": (
        "b.jsonl",
        jsonl(
            {"custom_id": "1", "response": {"body": completion("1")}, "error": None},
            {"custom_id": "2", "response": None, "error": {"code": "expired", "message": "too late"}},
        ),
        "chat",
        ["1", "too late"],
    ),
    "a batch of Anthropic's": (
        "b.jsonl",
        jsonl(*({"custom_id": n, "result": {"type": "succeeded", "message": said(n)}} for n in "12")),
        "chat",
        ["1", "2"],
    ),
    "items of the Responses API": (
        "r.jsonl",
        jsonl(
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "q"}]},
            {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "t"}]},
            {"type": "web_search_call", "id": "ws", "action": {"query": "cats"}},
            {"type": "code_interpreter_call", "id": "ci", "code": "1", "outputs": [{"type": "logs", "logs": "l"}]},
            {"type": "mcp_call", "id": "m", "name": "f", "arguments": "{}", "output": "found"},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]},
        ),
        "chat",
        ["q", "t", 'web_search_call {"query":"cats"}', 'code_interpreter_call {"code":"1"}', "l", "f {}", "found", "a"],
    ),
    "a request whose input is a text": (
        "r.jsonl",
        jsonl({"request": {"model": "m", "instructions": "s", "input": "q"}, "response": said("a")}),
        "chat",
        ["s", "q", "a"],
    ),
    "prompts and completions": (
        "p.jsonl", jsonl(*({"prompt": f"p{n}", "completion": f"c{n}"} for n in "12")), "chat", ["p1", "c1", "p2", "c2"],
    ),
    "messages whose answer is a text": ("p.jsonl", jsonl({"messages": [ASKED], "response": "a"}), "chat", ["q ünï", "a"]),
    "answers that were compared": (
        "d.jsonl",
        jsonl(
            {"messages": [ASKED], "chosen": said("good"), "rejected": said("bad")},
            {"prompt": "q", "chosen": [ASKED, said("better")], "rejected": [ASKED, said("worse")]},
        ),
        "chat",
        ["q ünï", "good", "bad", "q ünï", "better", "worse"],
    ),
    "a call of LiteLLM": (
        "l.jsonl",
        jsonl({"kwargs": {"model": "m", "messages": [ASKED]}, "response_obj": completion("a")}),
        "chat",
        ["q ünï", "a"],
    ),
    "contents of the Gemini API": (
        "g.json",
        json.dumps(
            {
                "systemInstruction": {"parts": [{"text": "s"}]},
                "contents": [
                    {"role": "user", "parts": [{"text": "q"}]},
                    {"role": "model", "parts": [{"text": "t", "thought": True}, {"functionCall": {"name": "f"}}]},
                    {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"output": "r"}}}]},
                ],
            }
        ).encode(),
        "chat",
        ["s", "q", "t", "f", '{"output":"r"}'],
    ),
    "messages of the AI SDK": (
        "v.json",
        json.dumps(
            [
                {"role": "user", "parts": [{"type": "text", "text": "q"}]},
                {
                    "role": "assistant",
                    "parts": [
                        {"type": "step-start"},
                        {"type": "tool-f", "toolCallId": "c", "input": {"a": 1}, "output": {"t": 3}},
                        {"type": "text", "text": "a"},
                    ],
                },
            ]
        ).encode(),
        "chat",
        ["q", 'f {"a":1}', '{"t":3}', "a"],
    ),
    "messages as LangChain dumps them": (
        "l.json",
        json.dumps(
            [
                {"lc": 1, "id": ["langchain", "schema", "messages", f"{name}Message"], "kwargs": {"content": text}}
                for name, text in (("Human", "q"), ("AI", "a"), ("Tool", "r"))
            ]
        ).encode(),
        "chat",
        ["q", "a", "r"],
    ),
    "an export of Claude": (
        "c.json",
        json.dumps([{"uuid": "u", "chat_messages": [{"sender": "human", "text": "q"}, {"sender": "assistant", "text": "a"}]}]).encode(),
        "chat",
        ["q", "a"],
    ),
    "a trajectory of messages": ("t.jsonl", jsonl({"trajectory": [ASKED, ANSWERED], "resolved": 1}), "chat", ["q ünï", "a"]),
    "roles with a dash": (
        "m.json",
        json.dumps([ASKED, ANSWERED, {"role": "tool-call", "content": "f"}, {"role": "tool-response", "content": "r"}]).encode(),
        "chat",
        ["q ünï", "a", "f", "r"],
    ),
    "a spoken answer": (
        "a.jsonl",
        jsonl({"messages": [ASKED, {"role": "assistant", "content": None, "audio": {"id": "x", "transcript": "a"}}]}),
        "chat",
        ["q ünï", "a"],
    ),
    "scored runs on lines": (
        "t.jsonl", jsonl(*({"task_id": n, "reward": 1, "traj": [ASKED, ANSWERED]} for n in (1, 2))), "tau_bench", ["q ünï", "a"] * 2,
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
