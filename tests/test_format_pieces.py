from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from reading import json_values, reads

from components.contracts import Defect
from components.sources.formats import (
    autogen,
    langfuse,
    langsmith,
    nebius,
    openclaw,
    otel,
    reflexion,
    tau_bench,
    tree_of_thought,
    web_agent,
    zipkin,
)
from components.sources.formats.contract import Format, Head
from components.sources.formats.messages import pieces_of
from components.sources.formats.pieces import Piece, Said, answer_pieces, key_of

MODULES = (
    autogen, langfuse, langsmith, nebius, openclaw, otel, reflexion, tau_bench, tree_of_thought, web_agent, zipkin,
)  # fmt: skip
ROWS: tuple[Format, ...] = tuple(row for module in MODULES for row in module.ROWS)


def said(message: Any, role: str | None = None) -> list[tuple[str, str]]:
    return [(piece.type, piece.text) for piece in pieces_of(message, role)]


@pytest.mark.parametrize(
    ("message", "pieces"),
    [
        ({"role": "user", "content": "hi"}, [("user", "hi")]),
        ({"role": "assistant", "content": "  "}, []),
        (
            {"role": "assistant", "reasoning_content": "hm", "content": "ok", "function_call": {"name": "f", "arguments": "1"}},
            [("reasoning", "hm"), ("assistant", "ok"), ("tool_call", "f 1")],
        ),
        (
            {"role": "user", "content": [{"type": "text", "text": "see"}, {"type": "image", "source": {"data": "iVBO"}}]},
            [("user", "see\n[image]")],
        ),
        (
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}, {"type": "tool_use", "name": "f", "input": {"b": 1, "a": 2}}]},
            [("reasoning", "hm"), ("tool_call", 'f {"a":2,"b":1}')],
        ),
        (
            {"role": "user", "content": [{"type": "tool_result", "content": [{"type": "text", "text": "no"}], "is_error": True}]},
            [("error", "no")],
        ),
        ({"role": "model", "parts": [{"text": "a"}, {"functionCall": {"name": "f", "args": {}}}]}, [("assistant", "a"), ("tool_call", "f {}")]),
        ({"role": "user", "parts": [{"inline_data": {"mime_type": "audio/wav", "data": "UklG"}}]}, [("user", "[audio]")]),
        ({"type": "function_call", "name": "f", "arguments": "{}"}, [("tool_call", "f {}")]),
        ({"type": "function_call_output", "call_id": "c", "output": "x"}, [("tool_result", "x")]),
        ({"type": "ai", "content": "", "tool_calls": [{"name": "f", "args": {"a": 1}, "id": "c"}]}, [("tool_call", 'f {"a":1}')]),
        ({"lc": 1, "id": ["langchain", "HumanMessage"], "kwargs": {"content": "hi"}}, [("user", "hi")]),
        ({"role": "critic", "content": "weak"}, [("critic", "weak")]),
        ({"role": "tool", "content": {"content": [{"type": "text", "text": "from a server"}]}}, [("tool_result", "from a server")]),
        ("bare", [("user", "bare")]),
        (None, []),
        (7, []),
    ],
)  # fmt: skip
def test_a_message_of_any_dialect_is_taken_apart(message: Any, pieces: list[tuple[str, str]]) -> None:
    assert said(message) == pieces


def test_the_last_fenced_block_of_an_answer_is_its_action() -> None:
    pieces = answer_pieces("See:\n```py\nold\n```\nnow\n```bash\nls\n```")
    assert [piece.type for piece in pieces] == ["assistant", "tool_call"]
    assert pieces[1].text == "ls"
    assert "old" in pieces[0].text
    assert answer_pieces("  ") == []


def test_a_text_that_stands_twice_in_a_history_was_said_twice() -> None:
    yes, said_so_far = Piece(type="user", text="yes"), Said()
    assert [new for _, new in said_so_far.new_in_history([yes])] == [True]
    assert [new for _, new in said_so_far.new_in_history([yes, yes])] == [False, True]
    assert [new for _, new in said_so_far.new_in_history([yes, yes])] == [False, False]


def test_a_model_that_answers_the_same_again_has_said_it_again() -> None:
    done, so_far = Piece(type="assistant", text="Done."), Said()
    assert so_far.new_answer(done)
    assert so_far.new_answer(done)
    assert [new for _, new in so_far.new_in_history([done, done])] == [False, False]


def test_a_tool_call_is_told_once_by_the_model_and_the_tool_in_either_order() -> None:
    call = Piece(type="tool_call", text='f {"a": 1}')
    respaced = Piece(type="tool_call", text='f {"a":1}')
    model_first = Said()
    assert (model_first.new_answer(call), model_first.new_tool(respaced), model_first.new_tool(call)) == (
        True,
        False,
        True,
    )
    tool_first = Said()
    assert (tool_first.new_tool(call), tool_first.new_answer(respaced), tool_first.new_answer(call)) == (
        True,
        False,
        True,
    )


def test_what_is_remembered_of_a_run_is_bounded() -> None:
    so_far = Said()
    for n in range(50):
        so_far.new_answer(Piece(type="tool_call", text=f"f {n}"))
        so_far.new_in_view("live", Piece(type="user", text=str(n)))
    so_far.forget(10)
    assert [len(memory) for memory in (so_far.given, so_far.balance, so_far.views)] == [10, 10, 10]


def test_a_key_looks_through_the_spelling_of_json() -> None:
    assert key_of(Piece(type="tool_result", text='{"b": 1, "a": 2}')) == key_of(
        Piece(type="error", text='{"a":2,"b":1}')
    )
    assert key_of(Piece(type="user", text="[1, 2")) != key_of(Piece(type="user", text="[1,2"))


@given(json_values("role", "content", "parts", "tool_calls", "function", "type", "kwargs", "message", "data", "id"))
def test_no_message_makes_the_taker_raise(message: Any) -> None:
    for piece in pieces_of(message):
        assert piece.text.strip()
        key_of(piece)


@given(
    json_values("type", "role", "traj", "spans", "traces", "observations", "data", "trajectory", "messages", "steps")
)
def test_no_json_makes_a_recogniser_raise(value: Any) -> None:
    for row in ROWS:
        for document in (value, [value], {"data": value}, {"spans": [value]}):
            verdict = row.recognises(Head(name="x", shape=row.shape, document=document, lines=[value, document]))
            assert verdict.reason


def test_every_verdict_gives_a_reason_for_nothing_at_all() -> None:
    for row in ROWS:
        verdict = row.recognises(Head(name="x", shape=row.shape))
        assert not verdict.accepted
        assert verdict.reason


def deep(n: int, key: str | None = None) -> Any:
    value: Any = "bottom"
    for _ in range(n):
        value = {key: value} if key else [value]
    return value


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
    for row in ROWS:
        for item in (*items, value):
            row.recognises(Head(name="x", shape=row.shape, document=item, lines=[item]))
            for document in (item, [item]) if row.shape == "document" else ([item],):
                found = reads(row, document)
                assert all("deep" in read.reason or "expected" in read.reason or "without" in read.reason or "neither" in read.reason for read in found if isinstance(read, Defect))  # fmt: skip
                row.end(item)
