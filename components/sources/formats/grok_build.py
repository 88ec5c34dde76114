"""Grok Build sessions (`chat_history.jsonl`): one item of the conversation a line, by type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from components.contracts import Json
from components.sources.formats.content import text_of
from components.sources.formats.contract import Format, Head, Options, Read, Verdict, accept, decline
from components.sources.formats.defects import EMPTY, ENCRYPTED, UNKNOWN_LINE, guard_read, not_an_object
from components.sources.formats.sessions import Session
from components.sources.formats.values import listed, mapping, mostly

TYPES: Final = frozenset({"system", "user", "assistant", "tool_result", "reasoning", "backend_tool_call", "summary"})
OF_A_PERSON: Final = (None, "interjection")


def _is_item(line: Json) -> bool:
    about = mapping(line)
    if not isinstance(kind := about.get("type"), str) or kind not in TYPES or "role" in about or "message" in about:
        return False
    return "content" in about or (kind == "reasoning" and "summary" in about) or kind == "backend_tool_call"


def _is_decisive(line: Json) -> bool:
    about = mapping(line)
    if about.get("type") == "user":
        return "prompt_index" in about or "synthetic_reason" in about
    return about.get("type") == "assistant" and "model_id" in about


def _is_prompt_alone(line: Mapping[str, Json]) -> bool:
    return line.keys() == {"type", "content"} and line["type"] == "system" and isinstance(line["content"], str)


def _recognise(head: Head) -> Verdict:
    if len(head.lines) == 1 and _is_prompt_alone(mapping(head.lines[0])):
        return accept("a system prompt of a type and a content alone, with which a session begins")
    n = sum(map(_is_decisive, head.lines))
    if n and mostly(head.lines, _is_item):
        return accept(f"items by type, {n} of them with the model or the index of the prompt")
    return decline("no items by type with a model_id or a prompt_index")


class Reader:
    """The items of one session."""

    def __init__(self, state: Json, _: Options) -> None:
        self.session = Session(state)

    def state(self) -> Json:
        """The session's numbers and open calls."""
        return self.session.state()

    @guard_read
    def read(self, item: Json) -> Iterable[Read]:
        """What one line becomes."""
        if not isinstance(item, dict):
            return [not_an_object(0, item)]
        kind, text = item.get("type"), text_of(item.get("content"))
        if kind == "reasoning":
            self.session.continue_response()
            summary = text_of(item.get("summary")) or text
            return self.session.record("reasoning", summary) if summary else [ENCRYPTED]
        if kind == "assistant":
            return self._answer(item, text)
        if kind == "backend_tool_call":
            call = mapping(item.get("kind"))
            self.session.continue_response()
            return self.session.call(call.get("id"), call.get("tool_type"), call.get("action"))
        if kind == "tool_result":
            return self.session.result(item.get("tool_call_id"), text, failed=item.get("is_error") is True)
        if kind == "user":
            is_typed = item.get("synthetic_reason") in OF_A_PERSON
            return self.session.input("user" if is_typed else "system", text)
        return self.session.input(str(kind), text) if kind in ("system", "summary") else [UNKNOWN_LINE]

    def _answer(self, item: dict[str, Json], text: str) -> list[Read]:
        self.session.know(model=item.get("model_id"))
        self.session.continue_response()
        got = self.session.record("assistant", text) if text else []
        for call in map(mapping, listed(item.get("tool_calls"))):
            got += self.session.call(call.get("id"), call.get("name"), call.get("arguments"))
        if not item.get("tool_calls"):
            self.session.answering = False  # a next answer is another response
        return got or [EMPTY]


ROWS: tuple[Format, ...] = (Format(name="grok_build", shape="lines", recognises=_recognise, reader=Reader),)
