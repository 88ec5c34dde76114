"""Messages in any dialect as pieces, and which pieces of a log that repeats itself are new."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from reading import json_values

from components.sources.formats.deduplication import SeenPieces, key_of
from components.sources.formats.messages import pieces_of
from components.sources.formats.pieces import Piece, answer_pieces


def typed_texts(message: Any, role: str | None = None) -> list[tuple[str, str]]:
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
def test_a_message_of_any_dialect_is_split_into_its_pieces(message: Any, pieces: list[tuple[str, str]]) -> None:
    assert typed_texts(message) == pieces


def test_the_last_fenced_block_of_an_answer_is_its_action() -> None:
    pieces = answer_pieces("See:\n```py\nold\n```\nnow\n```bash\nls\n```")
    assert [piece.type for piece in pieces] == ["assistant", "tool_call"]
    assert pieces[1].text == "ls"
    assert "old" in pieces[0].text
    assert answer_pieces("  ") == []


def test_a_text_that_is_twice_in_a_history_occurred_twice() -> None:
    yes, seen = Piece(type="user", text="yes"), SeenPieces()
    assert [new for _, new in seen.new_in_history([yes])] == [True]
    assert [new for _, new in seen.new_in_history([yes, yes])] == [False, True]
    assert [new for _, new in seen.new_in_history([yes, yes])] == [False, False]


def test_the_same_answer_given_again_is_another_answer() -> None:
    done, seen = Piece(type="assistant", text="Done."), SeenPieces()
    assert seen.new_answer(done)
    assert seen.new_answer(done)
    assert [new for _, new in seen.new_in_history([done, done])] == [False, False]


def test_a_tool_call_reported_by_model_and_tool_is_new_once_in_either_order() -> None:
    call = Piece(type="tool_call", text='f {"a": 1}')
    respaced = Piece(type="tool_call", text='f {"a":1}')
    model_first = SeenPieces()
    assert (model_first.new_answer(call), model_first.new_tool(respaced), model_first.new_tool(call)) == (
        True,
        False,
        True,
    )
    tool_first = SeenPieces()
    assert (tool_first.new_tool(call), tool_first.new_answer(respaced), tool_first.new_answer(call)) == (
        True,
        False,
        True,
    )


def test_what_is_remembered_of_a_run_is_bounded() -> None:
    seen = SeenPieces()
    for n in range(50):
        seen.new_answer(Piece(type="tool_call", text=f"f {n}"))
        seen.new_in_view("live", Piece(type="user", text=str(n)))
    seen.forget(10)
    assert [len(memory) for memory in (seen.emitted, seen.balance, seen.views)] == [10, 10, 10]


def test_a_key_does_not_depend_on_how_json_is_spaced() -> None:
    assert key_of(Piece(type="tool_result", text='{"b": 1, "a": 2}')) == key_of(
        Piece(type="error", text='{"a":2,"b":1}')
    )
    assert key_of(Piece(type="user", text="[1, 2")) != key_of(Piece(type="user", text="[1,2"))


@given(json_values("role", "content", "parts", "tool_calls", "function", "type", "kwargs", "message", "data", "id"))
def test_no_message_makes_pieces_of_raise(message: Any) -> None:
    for piece in pieces_of(message):
        assert piece.text.strip()
        key_of(piece)
