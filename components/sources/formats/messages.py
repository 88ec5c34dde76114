"""Chat messages in any of the usual dialects as the events of a run.

An assistant's message is a model response and begins an iteration; tool results belong to the response before them,
also where an agent framework returns them in the user's name. `message_parts` knows the dialects.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from components.contracts import Defect, Event, Json
from components.sources.formats.content import result_text, text_of, tool_call
from components.sources.formats.contract import Read, Turns
from components.sources.formats.defects import EMPTY, ENCRYPTED, excerpt, too_deep
from components.sources.formats.message_parts import (
    ROLES,
    content_of,
    holds_results,
    inner_part,
    part_kind,
    part_text,
    role_of,
    role_type,
    time_of,
    unwrapped,
)
from components.sources.formats.pieces import Piece
from components.sources.formats.values import filled_scalars, first_of

THOUGHT_KEYS: Final = ("reasoning_content", "reasoning", "thinking")
THOUGHT_TEXTS: Final = ("thinking", "reasoning", "text", "content", "summary")
RESULT_TEXTS: Final = ("content", "parts", "response", "result", "output")
ARGUMENTS: Final = ("arguments", "args", "input", "parameters")
CALL_IDS: Final = ("tool_call_id", "toolCallId", "tool_use_id", "call_id", "id")
BOOKKEEPING: Final = frozenset({"type", "id", "status", "container_id", "outputs", "results", "result"})
_TOOL_OUTPUT = re.compile(
    r"\s*(?:observation\s*:|execution result of|<returncode>|<tool_response>|<tool_result>|<function_results>"
    r"|the output of the os\s*:|tool (?:output|result)s?\s*:)",
    re.IGNORECASE,
)


def pieces_of(message: Json, role: str | None = None) -> list[Piece]:
    """The readable parts of one message, in order; `role` where the message names none. Empty for what holds no text.

    >>> [(p.type, p.text) for p in pieces_of({"role": "assistant", "content": None, "tool_calls": [
    ...     {"id": "c1", "function": {"name": "ls", "arguments": "{}"}}]})]
    [('tool_call', 'ls {}')]
    """
    as_message = {"role": role or "user", "content": message} if isinstance(message, str) else message
    found = Conversation(turns=Turns(), role=role or "user").read(as_message)
    return [Piece(e.type, e.text, e.extra, e.timestamp) for e in found if isinstance(e, Event)]


@dataclass(slots=True)
class Conversation:
    """The messages of one run, one after the other, as events. `extra` goes with every event."""

    turns: Turns
    extra: Mapping[str, Json] = field(default_factory=dict)
    answering: bool = False  # the last item came from the model
    role: str = ""  # of a message that names none

    def read(self, message: Json, place: int = 0, when: datetime | None = None) -> list[Read]:
        """What one message becomes; `place` is its index for a defect, `when` its time where the log has it elsewhere."""
        try:
            return self._read(message, place, when) or [EMPTY]
        except RecursionError:
            return [too_deep(place)]

    def _read(self, message: Json, place: int, when: datetime | None) -> list[Read]:
        if not isinstance(message, dict):
            return [Defect(offset=place, reason="a message that is no object", excerpt=excerpt(message))]
        role, content = message.get("role"), message.get("content")
        if not isinstance(role, str) or not isinstance(content, str):
            message = unwrapped(message)
            if message.get("object") == "response" and isinstance(message.get("output"), list):
                return self._whole_response(message, place, when or time_of(message))
            if (found := self._item(message, when or time_of(message))) is not None:
                return found
            if (role := self._role(message)) is None:
                return [Defect(offset=place, reason="a message without a role", excerpt=excerpt(message))]
            content = content_of(message)
        if when is None and len(message) > 2:
            when = time_of(message)
        return self._message(role_type(role), message, content, when)

    def _role(self, message: Mapping[str, Json]) -> str | None:
        role, kind = role_of(message), message.get("type")
        if role:
            return role
        return kind if isinstance(kind, str) and kind.lower() in ROLES else self.role or None

    def _message(self, kind: str, message: Mapping[str, Json], content: Json, when: datetime | None) -> list[Read]:
        """The events of one message of a known role."""
        if kind == "assistant":
            self.turns.respond()
            self.answering = True
        elif kind in ("tool_call", "reasoning"):
            self._continue_response()
        else:
            self.answering = False
        if kind == "tool_result" and not holds_results(content):
            return self._result(message, when)
        if kind == "user" and self.turns.iteration and isinstance(content, str) and _TOOL_OUTPUT.match(content):
            kind = "tool_result"
        if isinstance(content, str) and len(message) == 2:  # by far the most frequent: a role and a text
            return self._record(kind, content, when)
        got: list[Read] = []
        if thought := next((message[key] for key in THOUGHT_KEYS if message.get(key)), None):
            got = self._record("reasoning", text_of(thought), when)
        about = {key: message[key] for key in ("name", "model") if message.get(key)}
        if isinstance(content, str):
            got += self._record(kind, content, when, about)
            return got + self._calls(message, when)
        got += (blocks := self._blocks(kind, content, when, about))
        if refusal := message.get("refusal"):
            got += self._record(kind, text_of(refusal), when)
        if any(isinstance(read, Event) and read.type == "tool_call" for read in blocks):
            return got  # LangChain repeats the calls of a block list
        return got + self._calls(message, when)

    def _continue_response(self) -> None:
        if not self.answering:
            self.turns.respond()
            self.answering = True

    def _record(
        self, kind: str, text: str, when: datetime | None, more: Mapping[str, Json] | None = None
    ) -> list[Read]:
        if not text or text.isspace():
            return []
        extra = {**self.extra, **filled_scalars(more)} if more else self.extra
        return [self.turns.event(kind, text, when, extra)]

    def _calls(self, message: Mapping[str, Json], when: datetime | None) -> list[Read]:
        got: list[Read] = []
        calls, more = message.get("tool_calls"), message.get("additional_kwargs")
        if not calls and isinstance(more, dict) and "additional_kwargs" not in more:
            got += self._calls(more, when)
        for call in calls if isinstance(calls, list) else ():
            got += self._call(call, when)
        if isinstance(call := message.get("function_call"), dict):
            got += self._call(call, when)
        return got

    def _call(self, call: Json, when: datetime | None) -> list[Read]:
        """A call, and its result where the log keeps them together."""
        if not isinstance(call, dict):
            return [Defect(offset=0, reason="a tool call that is no object", excerpt=excerpt(call))]
        function = call.get("function")
        body = function if isinstance(function, dict) else call
        name = function if isinstance(function, str) else first_of(body, "name", "toolName")
        if name is None and isinstance(kind := body.get("type"), str) and kind.startswith("tool-"):
            name = kind.removeprefix("tool-")
        about = {"tool": name, "call_id": first_of(call, *CALL_IDS)}
        got = self._record("tool_call", tool_call(name, first_of(body, *ARGUMENTS)), when, about)
        result = first_of(call, "result", "output")
        return got + self._record("tool_result", result_text(result), when, {"tool": name}) if result else got

    def _result(self, result: Mapping[str, Json], when: datetime | None) -> list[Read]:
        """A tool's result, as a message or as a block of one."""
        error, text = result.get("error"), result_text(first_of(result, *RESULT_TEXTS, "value", "text"))
        if isinstance(error, dict) and isinstance(reason := error.get("message"), str) and reason not in text:
            text = f"{text}\n{reason}" if text else reason
        failed = bool(error) or result.get("is_error") is True or result.get("isError") is True
        kind = "error" if failed or result.get("status") == "error" else "tool_result"
        tool = first_of(result, "toolName", "name", "function")
        return self._record(kind, text, when, {"tool": tool, "call_id": first_of(result, *CALL_IDS)})

    def _blocks(
        self, kind: str, content: Json, when: datetime | None, about: Mapping[str, Json] | None = None
    ) -> list[Read]:
        """Blocks in their order; texts and media side by side are one record."""
        got: list[Read] = []
        texts: list[str] = []
        for block in content if isinstance(content, list) else (content,):
            if not isinstance(block, dict) or not (part := part_kind(block)):
                if text := part_text(block):
                    texts.append(text)
                continue
            if texts:
                got += self._record(kind, "\n".join(texts), when, about)
                texts = []
            got += self._part(part, block, when)
        return got + self._record(kind, "\n".join(texts), when, about) if texts else got

    def _part(self, kind: str, part: Mapping[str, Json], when: datetime | None) -> list[Read]:
        """A block or item that is a record of its own: a call, a tool's result, reasoning."""
        if kind == "call":
            return self._call(inner_part(part, "function_call", "functionCall", "toolInvocation"), when)
        if kind == "result":
            return self._result(inner_part(part, "function_response", "functionResponse"), when)
        keys = ("summary",) if part.get("redacted") is True else THOUGHT_TEXTS
        thought = text_of(next((part[key] for key in keys if part.get(key)), None))
        return self._record("reasoning", thought, when) or [ENCRYPTED]

    def _item(self, item: Mapping[str, Json], when: datetime | None) -> list[Read] | None:
        """An item of the Responses API, which has no role or is a part of a response; None for what is a message."""
        name, role = item.get("type"), item.get("role")
        if not isinstance(name, str):
            return None
        if name == "message" and role == "assistant" and "usage" not in item:
            self._continue_response()
            return self._blocks("assistant", item.get("content"), when)
        if isinstance(role, str) and "content" in item:
            return None
        if kind := part_kind(item):
            if kind == "result":
                self.answering = False
            else:
                self._continue_response()
            return self._part(kind, item, when)
        if not name.endswith("_call"):
            return None
        self._continue_response()
        asked = item.get("action") or {k: v for k, v in item.items() if k not in BOOKKEEPING and v is not None} or None
        got = self._record("tool_call", tool_call(name, asked), when, {"tool": name, "call_id": item.get("id")})
        found = result_text(first_of(item, "outputs", "results"))
        return got + self._record("tool_result", found, when, {"tool": name, "call_id": item.get("id")})

    def _whole_response(self, response: Mapping[str, Json], place: int, when: datetime | None) -> list[Read]:
        self.answering = False
        parts = response["output"]
        return [read for part in parts for read in self._read(part, place, when)]


def read_messages(
    messages: Iterable[Json], *, run: str = "", extra: Mapping[str, Json] | None = None
) -> Iterator[Read]:
    """The messages of one run as events."""
    conversation = Conversation(turns=Turns(run=run), extra=extra or {})
    for place, message in enumerate(messages):
        yield from conversation.read(message, place)
