"""What holds for every format: golden logs, reading on from any line, hostile JSON, other formats' files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import (
    CORPUS,
    check_golden,
    check_positions,
    check_resumable,
    corpus,
    golden_logs,
    json_values,
    parsed_lines,
    reads_file,
    rows_of,
    rules,
    taken_of_others,
    taker,
)

from components.sources.formats import FORMATS
from components.sources.formats.contract import Format, Head, Options

MODULES = list(dict.fromkeys(row.recognises.__module__.rpartition(".")[2] for row in FORMATS))
LOGS = golden_logs()
LINES = [log for log in LOGS if (row := taker(FORMATS, log)) is not None and row.shape == "lines"]


def named(log: Path) -> str:
    return f"{log.parent.name}-{log.name}"


# --- golden logs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("log", LOGS, ids=named)
def test_a_golden_log_becomes_its_expected_records(log: Path) -> None:
    check_golden(log)
    check_positions(reads_file(FORMATS, log))


@pytest.mark.parametrize("log", LINES, ids=named)
def test_a_reader_resumed_after_any_line_reads_the_same(log: Path) -> None:
    lines = parsed_lines(log.read_bytes())
    row = taker(FORMATS, log)
    assert row is not None
    check_resumable(row, [*lines, *lines])


@pytest.mark.parametrize("log", [log for log in LOGS if log.parent.name in ("langfuse", "langsmith")], ids=named)
def test_no_span_is_left_out_when_all_history_is_requested(log: Path) -> None:
    assert not rules(reads_file(FORMATS, log, Options(history="all")))


def test_every_format_but_plain_text_has_a_golden_log() -> None:
    assert {log.parent.name for log in LOGS} == set(MODULES) - {"plain_text"}


# --- hostile JSON ----------------------------------------------------------------------------------------------------

Values = Callable[[Any, Any], list[Any]]


def span_items(v: Any, w: Any) -> list[Any]:
    item = {**dict.fromkeys(HOSTILE["langfuse"][0], v), **dict.fromkeys(HOSTILE["langsmith"][0], v)}
    kinds = ("llm", "tool", "chain", "GENERATION", "TOOL", "AGENT")
    return [{**item, "run_type": kind, "type": kind, "id": "i", "traceId": "t"} for kind in kinds] + [w]


def otel_items(v: Any, w: Any) -> list[Any]:
    key = w if isinstance(w, str) else "gen_ai.input.messages"
    attributes = [{"key": key, "value": {"stringValue": v}}, {"key": "gen_ai.operation.name", "value": v}, v]
    span = {"traceId": v, "spanId": "1", "name": v, "attributes": attributes, "events": [v], "status": v}
    record = {"body": v, "eventName": "gen_ai.user.message", "attributes": attributes}
    jaeger = {"spanID": "1", "operationName": v, "tags": [{"key": key, "value": v}], "logs": [v]}
    return [
        {
            "resourceSpans": [{"resource": {"attributes": attributes}, "scopeSpans": [{"spans": [span, v]}]}],
            "resourceLogs": [{"scopeLogs": [{"logRecords": [record, v]}]}],
        },
        {"data": [{"spans": [jaeger, v], "processes": v}]},
        {"name": v, "context": {"trace_id": v, "span_id": v}, "attributes": {key: v}},
    ]


def zipkin_items(v: Any, _: Any) -> list[Any]:
    span = dict.fromkeys(HOSTILE["zipkin"][0], v)
    return [span, {**span, "traceId": "t", "id": "i", "trace_id": "t", "span_id": "s"}]


# For each module: keys and values that lead its readers deep into their cases, and items made of two arbitrary values.
HOSTILE: dict[str, tuple[list[str], Values]] = {
    "openai_agents": (
        [
            "object",
            "trace",
            "trace.span",
            "id",
            "trace_id",
            "span_data",
            "type",
            "generation",
            "function",
            "input",
            "output",
            "role",
            "user",
            "content",
            "name",
            "error",
            "message",
            "usage",
            "data",
            "spans",
            "started_at",
        ],
        lambda v, w: [
            {
                "object": "trace.span",
                "trace_id": v,
                "span_data": {"type": kind, "input": v, "output": w, "name": w},
                "error": v,
            }
            for kind in ("generation", "function", "agent")
        ],
    ),
    "specstory": (["_**User**_\nhi", "_**Agent (m)**_\n<think>x</think>", "text"], lambda v, w: [v, w]),
    "smolagents": (
        [
            "steps",
            "step_number",
            "model_output",
            "observations",
            "tool_calls",
            "function",
            "name",
            "arguments",
            "error",
            "message",
            "task",
            "system_prompt",
            "plan",
            "timing",
            "start_time",
            "token_usage",
            "action_output",
            "is_final_answer",
            "code_action",
        ],
        lambda v, w: [
            {"steps": [v, {"step_number": 1, "model_output": w, "tool_calls": v, "error": w, "timing": v}]},
            [v, {"task": w}],
        ],
    ),
    "swe_smith": (
        ["messages", "[]", '[{"role": "user", "content": "a"}]', "resolved", "instance_id", "traj_id", "model"],
        lambda v, w: [{"messages": v, "resolved": w}, {"messages": "[1, {}]", "traj_id": v}],
    ),
    "aider": (["# aider chat started at 2026-01-01 00:00:00", "#### hi  ", "> tool  ", "text"], lambda v, w: [v, w]),
    "amp": (
        [
            "id",
            "T-1",
            "created",
            "messages",
            "role",
            "user",
            "assistant",
            "content",
            "type",
            "text",
            "tool_use",
            "tool_result",
            "toolUseID",
            "run",
            "status",
            "result",
            "output",
            "usage",
            "env",
            "initial",
            "trees",
        ],
        lambda v, w: [{"id": "T-1", "created": v, "messages": [v, {"role": "user", "content": [w]}], "env": w}],
    ),
    "antigravity": (
        [
            "step_index",
            "source",
            "MODEL",
            "type",
            "PLANNER_RESPONSE",
            "USER_INPUT",
            "CHECKPOINT",
            "content",
            "thinking",
            "tool_calls",
            "name",
            "args",
            "status",
            "created_at",
            "truncated_fields",
        ],
        lambda v, w: [{"step_index": v, "source": "MODEL", "type": "PLANNER_RESPONSE", "tool_calls": v, "content": w}],
    ),
    "chatgpt": (
        [
            "mapping",
            "a",
            "b",
            "parent",
            "children",
            "message",
            "author",
            "role",
            "user",
            "assistant",
            "tool",
            "content",
            "content_type",
            "parts",
            "thoughts",
            "text",
            "recipient",
            "metadata",
            "current_node",
            "create_time",
            "conversation_id",
        ],
        lambda v, w: [
            {
                "mapping": {
                    "a": {
                        "parent": v,
                        "children": w,
                        "message": {"author": {"role": "assistant"}, "content": v, "recipient": w},
                    },
                    "b": v,
                },
                "current_node": "a",
            },
            {"mapping": v},
        ],
    ),
    "cline": (
        [
            "ts",
            "type",
            "say",
            "ask",
            "text",
            "tool",
            "command",
            "api_req_started",
            "condense_context",
            "completion_result",
            "images",
            "partial",
            "modelInfo",
            "messages",
            "sessionId",
            "version",
            "role",
            "content",
            "metrics",
            "file",
        ],
        lambda v, w: [
            [{"ts": v, "type": "say", "say": w, "text": v}, {"ts": 1, "type": "ask", "ask": "tool", "text": w}],
            {
                "sessionId": v,
                "version": 1,
                "messages": [v, {"role": "user", "ts": w, "content": [{"type": "file", "path": w}]}],
            },
        ],
    ),
    "cline_api": (
        [
            "role",
            "user",
            "assistant",
            "content",
            "text",
            "<environment_details>",
            "[read_file] Result: a",
            "<read_file><path>a</path></read_file>",
            "<thinking>a</thinking>",
            "tool_use",
            "tool_result",
            "ts",
            "type",
        ],
        lambda v, w: [[{"role": "user", "content": v}, {"role": "assistant", "content": [w]}]],
    ),
    "copilot_cli": (
        [
            "type",
            "data",
            "id",
            "parentId",
            "timestamp",
            "user.message",
            "assistant.message",
            "assistant.reasoning",
            "tool.execution_complete",
            "session.start",
            "content",
            "toolRequests",
            "toolCallId",
            "name",
            "arguments",
            "success",
            "result",
            "error",
            "message",
            "context",
        ],
        lambda v, w: [
            {"type": kind, "data": v, "parentId": w}
            for kind in ("user.message", "assistant.message", "tool.execution_complete", "session.start")
        ],
    ),
    "cursor": (
        [
            "role",
            "user",
            "assistant",
            "message",
            "content",
            "type",
            "text",
            "tool_use",
            "thinking",
            "tool_call",
            "subtype",
            "completed",
            "call_id",
            "session_id",
            "args",
            "result",
            "error",
            "input",
            "name",
        ],
        lambda v, w: [
            {"role": "assistant", "message": {"content": [v, w]}},
            {"type": "tool_call", "subtype": "completed", "call_id": v, "tool_call": {"a": w}, "session_id": "s"},
            {"type": v, "message": w},
        ],
    ),
    "cursor_ide": (
        [
            "composer",
            "bubble",
            "missing",
            "type",
            "text",
            "toolFormerData",
            "name",
            "params",
            "result",
            "status",
            "thinking",
            "createdAt",
            "modelInfo",
            "tokenCount",
            "workspaceIdentifier",
            "uri",
        ],
        lambda v, w: [
            {"composer": v},
            {"bubble": {"type": 2, "toolFormerData": v, "thinking": w}},
            {"bubble": {"type": 1, "text": v}},
        ],
    ),
    "droid": (
        [
            "type",
            "session_start",
            "message",
            "role",
            "user",
            "assistant",
            "content",
            "text",
            "tool_use",
            "tool_result",
            "tool_call",
            "toolName",
            "parameters",
            "value",
            "completion",
            "finalText",
            "session_id",
            "id",
            "error",
        ],
        lambda v, w: [
            {"type": "message", "id": "m", "message": {"role": v, "content": [w]}},
            {"type": "tool_result", "value": v, "session_id": w},
            {"type": "session_start", "id": v},
        ],
    ),
    "goose": (
        [
            "working_dir",
            "role",
            "user",
            "assistant",
            "content",
            "created",
            "type",
            "text",
            "toolRequest",
            "toolCall",
            "value",
            "status",
            "toolResponse",
            "toolResult",
            "error",
            "metadata",
            "userVisible",
            "name",
            "arguments",
        ],
        lambda v, w: [
            {"working_dir": v, "model_config_json": w},
            {
                "role": "assistant",
                "created": v,
                "content": [
                    w,
                    {"type": "toolRequest", "toolCall": v},
                    {"type": "toolResponse", "toolResult": {"value": w}},
                ],
            },
        ],
    ),
    "grok_build": (
        [
            "type",
            "system",
            "user",
            "assistant",
            "tool_result",
            "reasoning",
            "content",
            "summary",
            "tool_calls",
            "name",
            "arguments",
            "model_id",
            "prompt_index",
            "synthetic_reason",
            "backend_tool_call",
            "kind",
        ],
        lambda v, w: [
            {"type": "assistant", "content": v, "tool_calls": w, "model_id": v},
            {"type": "user", "content": w, "prompt_index": 0},
            {"type": "backend_tool_call", "kind": v},
        ],
    ),
    "iflow": (
        [
            "type",
            "user",
            "assistant",
            "message",
            "content",
            "sessionId",
            "uuid",
            "parentUuid",
            "timestamp",
            "tool_use",
            "tool_result",
            "functionResponse",
            "responseParts",
            "response",
            "output",
            "error",
            "id",
            "response-1768975012469",
        ],
        lambda v, w: [
            {
                "type": "assistant",
                "sessionId": "s",
                "parentUuid": v,
                "timestamp": w,
                "message": {"id": v, "content": [w]},
            },
            {
                "type": "user",
                "sessionId": "s",
                "message": {"content": [{"type": "tool_result", "content": {"responseParts": v}}, w]},
            },
        ],
    ),
    "kimi_code": (
        [
            "type",
            "metadata",
            "protocol_version",
            "context.append_message",
            "context.append_loop_event",
            "event",
            "content.part",
            "part",
            "think",
            "tool.call",
            "tool.result",
            "toolCallId",
            "result",
            "output",
            "message",
            "role",
            "content",
            "origin",
            "kind",
            "config.update",
            "systemPrompt",
            "payload",
            "TurnBegin",
            "ToolCall",
            "ToolResult",
            "return_value",
        ],
        lambda v, w: [
            {"type": "context.append_loop_event", "event": {"type": "tool.result", "result": v, "toolCallId": w}},
            {"type": "context.append_message", "message": v},
            *(
                {"message": {"type": kind, "payload": w}}
                for kind in ("TurnBegin", "ContentPart", "ToolCall", "ToolResult")
            ),
        ],
    ),
    "opencode": (
        [
            "session",
            "message",
            "part",
            "failure",
            "id",
            "role",
            "user",
            "assistant",
            "type",
            "text",
            "tool",
            "state",
            "status",
            "completed",
            "input",
            "output",
            "metadata",
            "info",
            "messages",
            "parts",
            "time",
            "tokens",
            "error",
            "data",
            "sessionID",
            "messageID",
        ],
        lambda v, w: [
            {"session": v},
            {"message": {"role": "assistant", "tokens": v, "time": w}},
            {"part": {"type": "tool", "state": v}},
            {"part": w},
            {"failure": v},
            {"info": {"id": v}, "messages": [w, {"info": v, "parts": [w]}]},
        ],
    ),
    "qwen_code": (
        [
            "uuid",
            "sessionId",
            "type",
            "user",
            "assistant",
            "tool_result",
            "system",
            "message",
            "role",
            "parts",
            "text",
            "thought",
            "functionCall",
            "functionResponse",
            "response",
            "output",
            "name",
            "args",
            "id",
            "subtype",
            "toolCallResult",
            "timestamp",
        ],
        lambda v, w: [
            {"uuid": "u", "type": kind, "message": {"parts": [v, w]}, "toolCallResult": v}
            for kind in ("user", "assistant", "tool_result", "system")
        ],
    ),
    "vscode_copilot": (
        [
            "requests",
            "sessionId",
            "message",
            "text",
            "response",
            "value",
            "kind",
            "k",
            "v",
            "i",
            "toolInvocationSerialized",
            "toolId",
            "toolSpecificData",
            "invocationMessage",
            "inlineReference",
            "result",
            "metadata",
            "resultDetails",
            "output",
            "0",
            "1",
        ],
        lambda v, w: [
            {
                "sessionId": "s",
                "requests": [
                    v,
                    {
                        "message": w,
                        "response": [
                            v,
                            {"kind": "toolInvocationSerialized", "toolSpecificData": w, "resultDetails": v},
                        ],
                        "result": w,
                    },
                ],
            },
            {"kind": 0, "v": {"sessionId": "s", "requests": [{"message": v, "response": [w]}]}},
            {"kind": 2, "k": ["requests", 0, "response", v], "v": w},
            {"kind": 1, "k": ["requests", 0, w, v], "v": v},
            {"kind": 3, "k": ["requests", 0, "response", 0]},
            {"kind": 2, "k": ["requests"], "v": v},
            {"kind": 1, "k": v, "v": w},
        ],
    ),
    "atif": (
        [
            "schema_version",
            "ATIF-v1.8",
            "steps",
            "source",
            "agent",
            "user",
            "message",
            "tool_calls",
            "observation",
            "results",
            "content",
            "subagent_trajectory_ref",
            "extra",
            "summary",
            "subagent_trajectories",
            "metrics",
            "is_copied_context",
            "llm_call_count",
            "timestamp",
            "function_name",
            "arguments",
            "session_id",
            "final_metrics",
        ],
        lambda v, w: [{"steps": [v, {"observation": v, "tool_calls": w}], "subagent_trajectories": [v]}],
    ),
    "autogen": (
        ["history", "question", "question_ID", "role", "name", "content", "system_prompt", "mistake_step"],
        lambda v, w: [{"question": v, "question_ID": v, "history": [v], "system_prompt": {"a": w}}],
    ),
    "chat": (
        [
            "role",
            "content",
            "messages",
            "conversations",
            "from",
            "value",
            "tool_calls",
            "function",
            "name",
            "arguments",
            "type",
            "text",
            "tool_use",
            "tool_result",
            "thinking",
            "object",
            "response",
            "output",
            "request",
            "system",
            "user",
            "assistant",
            "tool",
            "function_call",
            "function_call_output",
            "reasoning",
            "id",
            "error",
            "choices",
        ],
        lambda v, w: [{"messages": [v, {"role": "assistant", "content": w}], "response": v}],
    ),
    "claude_code": (
        [
            "type",
            "user",
            "assistant",
            "message",
            "content",
            "uuid",
            "isSidechain",
            "parentUuid",
            "thinking",
            "tool_use",
        ],
        lambda v, w: [
            {"type": "assistant", "isSidechain": True, "message": w, "uuid": v},
            {"type": "user", "message": {"content": v, "id": w}},
            {"type": "system", "content": v},
            {"type": "user", "message": {"content": [v, {"type": "tool_result", "content": w}]}},
        ],
    ),
    "codex": (
        ["type", "payload", "response_item", "event_msg", "message", "role", "content", "output", "summary", "item"],
        lambda v, w: [
            *(
                {"type": "response_item", "payload": {"type": kind, "content": v, "output": w}}
                for kind in ("message", "reasoning", "function_call", "function_call_output", "web_search_call")
            ),
            *({"type": kind, "payload": v} for kind in ("session_meta", "event_msg", "compacted", "turn_context")),
            {"type": "item.completed", "item": v},
            {"type": "item.completed", "item": {"type": "error"}},
        ],
    ),
    "gemini_cli": (
        [
            "sessionId",
            "projectHash",
            "messages",
            "type",
            "user",
            "gemini",
            "content",
            "thoughts",
            "subject",
            "toolCalls",
            "args",
            "name",
            "result",
            "functionResponse",
            "response",
            "output",
            "status",
            "error",
            "timestamp",
            "id",
            "$set",
        ],
        lambda v, w: [{"messages": [v, {"type": "gemini", "id": "1", "toolCalls": v, "thoughts": w}]}],
    ),
    "generic": (
        ["text", "timestamp", "iteration", "idx_in_iteration", "type", "run"],
        lambda v, w: [{"text": v, "iteration": w}, {"text": "a", "type": v, "run": w, "idx": v}],
    ),
    "inspect": (
        [
            "samples",
            "messages",
            "role",
            "content",
            "events",
            "event",
            "model",
            "tool",
            "output",
            "choices",
            "message",
            "attachments",
            "attachment://aa",
            "aa",
            "id",
            "epoch",
            "error",
            "error_retries",
            "scores",
            "status",
            "eval",
            "assistant",
            "user",
            "tool_calls",
            "function",
            "arguments",
            "reasoning",
            "type",
            "timestamp",
            "transcript",
        ],
        lambda v, w: [{"samples": [v, {"messages": [v], "events": [w], "attachments": v, "error": v}]}],
    ),
    "langfuse": (
        [
            "type",
            "GENERATION",
            "TOOL",
            "AGENT",
            "id",
            "traceId",
            "input",
            "output",
            "observations",
            "traces",
            "messages",
            "role",
            "content",
            "level",
            "ERROR",
            "startTime",
            "metadata",
            "usage",
            "data",
            "sessionId",
        ],
        span_items,
    ),
    "langsmith": (
        [
            "run_type",
            "llm",
            "tool",
            "chain",
            "id",
            "inputs",
            "outputs",
            "messages",
            "generations",
            "kwargs",
            "content",
            "message",
            "parent_run_id",
            "dotted_order",
            "extra",
            "metadata",
            "error",
            "child_runs",
            "start_time",
            "role",
        ],
        span_items,
    ),
    "mini_swe_agent": (
        [
            *[
                "messages",
                "info",
                "trajectory_format",
                "exit_status",
                "model_stats",
                "role",
                "content",
                "extra",
                "response",
                "user",
            ],
            *["assistant", "tool", "exit", "created", "choices", "message", "reasoning", "output"],
            "```bash\nls\n```",
        ],
        lambda v, w: [{"messages": [v, {"role": "assistant", "content": v, "extra": w}, v], "info": v}],
    ),
    "nebius": (
        ["trajectory", "role", "text", "system_prompt", "instance_id", "exit_status"],
        lambda v, w: [{"trajectory": [v, {"role": v, "text": w}], "instance_id": v}],
    ),
    "openclaw": (
        [
            "type",
            "agent.start",
            "tool.start",
            "tool.end",
            "message.in",
            "sessionKey",
            "messages",
            "content",
            "role",
            "params",
            "toolName",
            "result",
            "error",
            "prompt",
            "ts",
            "arguments",
            "success",
        ],
        lambda v, w: [
            dict.fromkeys(HOSTILE["openclaw"][0], v),
            *(
                {"type": kind, "messages": [v], "params": w, "content": v, "result": v}
                for kind in ("agent.start", "tool.start", "tool.end", "message.in")
            ),
        ],
    ),
    "openhands": (
        [
            "action",
            "observation",
            "args",
            "extras",
            "source",
            "history",
            "content",
            "thought",
            "message",
            "agent",
            "user",
            "tool_call_metadata",
            "model_response",
            "choices",
            "kind",
            "ActionEvent",
            "MessageEvent",
            "ObservationEvent",
            "llm_message",
            "id",
            "instance_id",
            "instruction",
            "error",
            "run",
            "finish",
            "condensation",
            "metadata",
            "issue",
        ],
        lambda v, w: [
            {"history": [v, w]},
            {"action": "run", "args": v},
            {"kind": "ActionEvent", "action": v, "id": w},
        ],
    ),
    "otel": (
        [
            "resourceSpans",
            "scopeSpans",
            "spans",
            "resource",
            "attributes",
            "key",
            "value",
            "stringValue",
            "intValue",
            "arrayValue",
            "kvlistValue",
            "values",
            "traceId",
            "spanId",
            "parentSpanId",
            "name",
            "startTimeUnixNano",
            "events",
            "status",
            "code",
            "resourceLogs",
            "scopeLogs",
            "logRecords",
            "body",
            "eventName",
            "gen_ai.choice",
            "exception",
            "gen_ai.input.messages",
            "gen_ai.operation.name",
            "chat",
            "execute_tool",
            "gen_ai.prompt.0.content",
            "role",
            "parts",
            "content",
            "context",
            "trace_id",
            "span_id",
            "data",
            "operationName",
            "spanID",
            "tags",
            "logs",
            "fields",
            "processes",
            "references",
            "gcp.vertex.agent.llm_request",
            "pydantic_ai.all_messages",
            "llm.input_messages.0.message",
        ],
        otel_items,
    ),
    "pi": (
        [
            "type",
            "session",
            "message",
            "role",
            "user",
            "assistant",
            "toolResult",
            "bashExecution",
            "content",
            "toolCall",
            "arguments",
            "name",
            "id",
            "cwd",
            "summary",
            "compaction",
            "usage",
            "errorMessage",
            "isError",
            "command",
        ],
        lambda v, w: [{"type": "session", "id": v}, {"type": "message", "message": w}],
    ),
    "plain_text": (["text"], lambda v, w: [w]),
    "reflexion": (
        ["task_id", "name", "prompt", "is_solved", "solution", "reflections", "implementations"],
        lambda v, w: [{"prompt": v, "reflections": [v], "implementations": w, "solution": v}],
    ),
    "swe_agent": (
        [
            "trajectory",
            "history",
            "action",
            "observation",
            "thought",
            "response",
            "info",
            "exit_status",
            "replay_config",
            "role",
            "content",
            "user",
            "assistant",
            "agent",
            "is_demo",
            "message_type",
            "model_stats",
            "thinking_blocks",
        ],
        lambda v, w: [{"trajectory": [v], "history": [v, w], "info": v, "replay_config": v}],
    ),
    "tau_bench": (
        ["traj", "reward", "task_id", "trial", "role", "content", "tool_calls", "function", "simulations"],
        lambda v, w: [{"traj": [v], "reward": v, "info": w, "task_id": v}],
    ),
    "tree_of_thought": (
        ["idx", "ys", "steps", "new_ys", "values", "x", "actions", "env_step", "info", "count"],
        lambda v, w: [{"idx": v, "ys": v, "steps": [{"x": v, "new_ys": [w], "values": v}]}, [v]],
    ),
    "web_agent": (
        ["id", "prompt", "messages", "output", "role", "content"],
        lambda v, w: [{"id": v, "prompt": v, "messages": [v], "output": w}],
    ),
    "zipkin": (
        [
            "traceId",
            "id",
            "parentId",
            "name",
            "timestamp",
            "duration",
            "tags",
            "localEndpoint",
            "trace_id",
            "span_id",
            "attributes",
            "status",
            "events",
            "annotations",
            "kind",
            "spans",
            "error",
            "duration_ms",
        ],
        zipkin_items,
    ),
}


@pytest.mark.parametrize("module", MODULES)
@given(st.data())
def test_no_json_makes_a_format_raise(module: str, data: st.DataObject) -> None:
    keys, items_of = HOSTILE[module]
    value, other = (data.draw(json_values(*keys)) for _ in range(2))
    items = [value, *items_of(value, other), value]
    for row in rows_of(module):
        for document in (*items, {"data": value}, {"spans": [value]}):
            head = Head(name="x", shape=row.shape, lines=[value, document], document=document)
            assert row.recognises(head).reason
        row.end(value)
        if row.reader is not None:
            reader = row.reader(None, Options())
            for item in items:
                list(reader.read(item))
        for document in (items, *items):
            if row.read is not None:
                list(row.read(document, Options()))
            if row.read_member is not None:
                list(row.read_member("samples/1_epoch_1.json", document, Options()))


@pytest.mark.parametrize("row", FORMATS, ids=lambda row: f"{row.name}-{row.shape}")
def test_an_empty_source_is_declined_with_a_reason(row: Format) -> None:
    verdict = row.recognises(Head(name="x", shape=row.shape))
    assert not verdict.accepted
    assert verdict.reason


# --- files of other formats ------------------------------------------------------------------------------------------

OWN: dict[str, tuple[str, ...]] = {  # folders of real logs whose files a module may take
    "atif": ("atif",),
    "autogen": ("autogen_whowhen",),
    "chat": ("openai_chat", "sharegpt_chat", "web_agent", "mini_swe_agent", "tau_bench", "nebius"),
    "claude_code": ("claude_code", "claude_code_entire", "claude_code_growing", "partial"),
    "codex": ("codex_rollout", "partial"),
    "gemini_cli": ("gemini_cli",),
    "generic": ("generic_jsonl", "partial"),
    "inspect": ("inspect",),
    "mini_swe_agent": ("mini_swe_agent", "partial"),
    "openclaw": ("openclaw_events",),
    "openhands": ("openhands",),
    "otel": ("otel_genai", "otel_genai_jaeger"),
    "reflexion": ("reflexion",),
    "swe_agent": ("swe_agent_traj",),
    "tau_bench": ("tau_bench",),
    "tree_of_thought": ("tree_of_thought",),
    "web_agent": ("web_agent",),
}


@pytest.mark.corpus
@pytest.mark.parametrize("module", [module for module in MODULES if module not in ("chat", "plain_text")])
def test_no_real_file_of_another_format_is_taken(module: str) -> None:
    assert taken_of_others(rows_of(module), *OWN.get(module, ())) == []


@pytest.mark.corpus
def test_no_real_file_is_left_to_chat_that_another_format_knows() -> None:
    others = (CORPUS / path for path in taken_of_others(rows_of("chat"), *OWN["chat"]))
    assert not [path for path in others if taker(FORMATS, path) in rows_of("chat")]


@pytest.mark.corpus
def test_real_traces_are_taken_by_zipkin_or_opentelemetry_alone() -> None:
    zipkin = [path for path in corpus("traces") if path.name.startswith("zipkin")]
    assert [path for path in corpus("traces") if taker(rows_of("zipkin"), path)] == zipkin
    assert len(zipkin) == 7
    assert [path for path in zipkin if taker(rows_of("otel"), path)] == []
    assert [path for path in corpus("traces") if taker([*rows_of("langfuse"), *rows_of("langsmith")], path)] == []
