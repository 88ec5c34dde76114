"""A chat message in any of the usual dialects, taken apart into events.

Knows OpenAI (chat and Responses API), Anthropic blocks, ShareGPT turns, Gemini and OpenTelemetry parts, and messages as
LangChain stores them. An assistant's message is a model response and opens an iteration; tool results belong to the
response before them, also where an agent framework hands them back in the user's name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from components.contracts import Defect, Event, Json, Skipped
from components.sources.formats.content import result_text, text_of, timestamp, tool_call
from components.sources.formats.contract import TOO_DEEP, Read, Turns
from components.sources.formats.pieces import EMPTY, Piece, excerpt

ROLES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(
        ("assistant", "gpt", "chatgpt", "bing", "bard", "model", "ai", "aimessagechunk", "agent", "bot", "chatbot"),
        "assistant",
    ),
    **dict.fromkeys(("tool", "function", "observation", "ipython", "toolresult", "tool_result"), "tool_result"),
    **dict.fromkeys(("tool_response", "function_response"), "tool_result"),
    **dict.fromkeys(("tool_call", "function_call"), "tool_call"),
    "reasoning": "reasoning",
}
CALLS: Final = frozenset(
    {
        *("tool_use", "server_tool_use", "mcp_tool_use", "tool_call", "toolCall", "tool-call"),
        *("function_call", "functionCall", "custom_tool_call", "mcp_call"),
    }
)
RESULTS: Final = frozenset(
    {
        *("tool_result", "toolResult", "tool-result", "tool_call_response", "tool_response", "functionResponse"),
        *("function_call_output", "custom_tool_call_output", "computer_call_output"),
    }
)
TIME_KEYS: Final = ("timestamp", "created_at", "created", "createdAt", "time")
THOUGHT_KEYS: Final = ("reasoning_content", "reasoning", "thinking")
THOUGHT_TEXTS: Final = ("thinking", "reasoning", "text", "content", "summary")
RESULT_TEXTS: Final = ("content", "parts", "response", "result", "output")
ARGUMENTS: Final = ("arguments", "args", "input", "parameters")
CALL_IDS: Final = ("tool_call_id", "toolCallId", "tool_use_id", "call_id", "id")
BOOKKEEPING: Final = frozenset({"type", "id", "status", "container_id", "outputs", "results", "result"})
ENCRYPTED: Final = Skipped(rule="reasoning is encrypted")
_MEDIA: Final = re.compile(r"image|audio|video")
_HANDED_BACK = re.compile(
    r"\s*(?:observation\s*:|execution result of|<returncode>|<tool_response>|<tool_result>|<function_results>"
    r"|the output of the os\s*:|tool (?:output|result)s?\s*:)",
    re.IGNORECASE,
)


def role_type(role: Json) -> str:
    """The record type of a message's role; an unknown role keeps its own word, no role at all is a user.

    >>> role_type("developer"), role_type("ai"), role_type("critic"), role_type(None)
    ('system', 'assistant', 'critic', 'user')
    """
    if not isinstance(role, str) or not role.strip():
        return "user"
    return ROLES.get(role) or ROLES.get(role.strip().lower().replace("-", "_"), role.strip())


def pieces_of(message: Json, role: str | None = None) -> list[Piece]:
    """The readable parts of one message, in order; `role` where the message names none. Empty for what holds no text.

    >>> [(p.type, p.text) for p in pieces_of({"role": "assistant", "content": None, "tool_calls": [
    ...     {"id": "c1", "function": {"name": "ls", "arguments": "{}"}}]})]
    [('tool_call', 'ls {}')]
    """
    said = {"role": role or "user", "content": message} if isinstance(message, str) else message
    found = Conversation(turns=Turns(), role=role or "user").read(said)
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
            return [Defect(offset=place, reason=TOO_DEEP.reason)]

    def _read(self, message: Json, place: int, when: datetime | None) -> list[Read]:
        if not isinstance(message, dict):
            return [Defect(offset=place, reason="a message that is no object", excerpt=excerpt(message))]
        role, content = message.get("role"), message.get("content")
        if not isinstance(role, str) or not isinstance(content, str):
            message = _unwrapped(message)
            if message.get("object") == "response" and isinstance(message.get("output"), list):
                return self._whole_response(message, place, when or time_of(message))
            if (found := self._item(message, when or time_of(message))) is not None:
                return found
            if (role := self._role(message)) is None:
                return [Defect(offset=place, reason="a message without a role", excerpt=excerpt(message))]
            content = _content(message)
        if when is None and len(message) > 2:
            when = time_of(message)
        return self._said(role_type(role), message, content, when)

    def _role(self, message: Mapping[str, Json]) -> str | None:
        role, kind = role_of(message), message.get("type")
        if role:
            return role
        return kind if isinstance(kind, str) and kind.lower() in ROLES else self.role or None

    def _said(self, kind: str, message: Mapping[str, Json], content: Json, when: datetime | None) -> list[Read]:
        """What stands in one message of a known role."""
        if kind == "assistant":
            self.turns.respond()
            self.answering = True
        elif kind in ("tool_call", "reasoning"):
            self._continue_response()
        else:
            self.answering = False
        if kind == "tool_result" and not _holds_results(content):
            return self._result(message, when)
        if kind == "user" and self.turns.iteration and isinstance(content, str) and _HANDED_BACK.match(content):
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
        said = self._blocks(kind, content, when, about)
        if refusal := message.get("refusal"):
            said += self._record(kind, text_of(refusal), when)
        if any(isinstance(read, Event) and read.type == "tool_call" for read in said):
            return got + said  # LangChain spells the calls of a block list twice
        return got + said + self._calls(message, when)

    def _continue_response(self) -> None:
        if not self.answering:
            self.turns.respond()
            self.answering = True

    def _record(
        self, kind: str, text: str, when: datetime | None, more: Mapping[str, Json] | None = None
    ) -> list[Read]:
        if not text or text.isspace():
            return []
        extra = {**self.extra, **_plain(more)} if more else self.extra
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
        name = function if isinstance(function, str) else _first(body, "name", "toolName")
        if name is None and isinstance(kind := body.get("type"), str) and kind.startswith("tool-"):
            name = kind.removeprefix("tool-")
        about = {"tool": name, "call_id": _first(call, *CALL_IDS)}
        got = self._record("tool_call", tool_call(name, _first(body, *ARGUMENTS)), when, about)
        result = _first(call, "result", "output")
        return got + self._record("tool_result", result_text(result), when, {"tool": name}) if result else got

    def _result(self, told: Mapping[str, Json], when: datetime | None) -> list[Read]:
        """A tool's result, as a message or as a block of one."""
        error, text = told.get("error"), result_text(_first(told, *RESULT_TEXTS, "value", "text"))
        if isinstance(error, dict) and isinstance(said := error.get("message"), str) and said not in text:
            text = f"{text}\n{said}" if text else said
        failed = bool(error) or told.get("is_error") is True or told.get("isError") is True
        kind = "error" if failed or told.get("status") == "error" else "tool_result"
        tool = _first(told, "toolName", "name", "function")
        return self._record(kind, text, when, {"tool": tool, "call_id": _first(told, *CALL_IDS)})

    def _blocks(
        self, kind: str, content: Json, when: datetime | None, about: Mapping[str, Json] | None = None
    ) -> list[Read]:
        """Blocks in their order; texts and media that stand side by side are one record."""
        got: list[Read] = []
        said: list[str] = []
        for block in content if isinstance(content, list) else (content,):
            if not isinstance(block, dict) or not (sort := _sort(block)):
                if text := _part_text(block):
                    said.append(text)
                continue
            if said:
                got += self._record(kind, "\n".join(said), when, about)
                said = []
            got += self._part(sort, block, when)
        return got + self._record(kind, "\n".join(said), when, about) if said else got

    def _part(self, sort: str, part: Mapping[str, Json], when: datetime | None) -> list[Read]:
        """A block or item that is a record of its own: a call, a tool's result, reasoning."""
        if sort == "call":
            return self._call(_inner(part, "function_call", "functionCall", "toolInvocation"), when)
        if sort == "result":
            return self._result(_inner(part, "function_response", "functionResponse"), when)
        texts = ("summary",) if part.get("redacted") is True else THOUGHT_TEXTS
        thought = text_of(next((part[key] for key in texts if part.get(key)), None))
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
        if sort := _sort(item):
            if sort == "result":
                self.answering = False
            else:
                self._continue_response()
            return self._part(sort, item, when)
        if not name.endswith("_call"):
            return None
        self._continue_response()
        asked = item.get("action") or {k: v for k, v in item.items() if k not in BOOKKEEPING and v is not None} or None
        got = self._record("tool_call", tool_call(name, asked), when, {"tool": name, "call_id": item.get("id")})
        found = result_text(_first(item, "outputs", "results"))
        return got + self._record("tool_result", found, when, {"tool": name, "call_id": item.get("id")})

    def _whole_response(self, response: Mapping[str, Json], place: int, when: datetime | None) -> list[Read]:
        self.answering = False
        parts = response["output"]
        return [read for part in parts for read in self._read(part, place, when)]


def role_of(message: Mapping[str, Json]) -> str:
    """The role that a message names, "" where it names none."""
    for key in ("role", "from", "sender"):
        if isinstance(role := message.get(key), str):
            return role
    author = message.get("author")
    role = author.get("role") if isinstance(author, dict) else ""
    return role if isinstance(role, str) else ""


def is_stored(message: Mapping[str, Json]) -> bool:
    """Is it a message as LangChain stores it: `type` and `data`, `type` and `content`, or an `id` that names its class?"""
    data, kind, kwargs = message.get("data"), message.get("type"), message.get("kwargs")
    if isinstance(data, dict):
        return "content" in data and "role" not in data and isinstance(kind, str) and kind.lower() in ROLES
    if isinstance(kwargs, dict):
        return "content" in kwargs and _unwrapped(message) is not kwargs
    return kind in ("human", "ai", "tool", "system") and "content" in message


def is_item(message: Mapping[str, Json]) -> bool:
    """Is it an item of the Responses API other than a message: a call, its result, reasoning?"""
    kind = message.get("type")
    return isinstance(kind, str) and (bool(_sort(message)) or (kind.endswith("_call") and "id" in message))


def _sort(part: Mapping[str, Json]) -> str:
    """What a block or item is, if it is not a part of what is said: a call, a result, a thought."""
    kind = part.get("type")
    if kind == "text":
        return "thought" if part.get("thought") is True else ""
    if not isinstance(kind, str):
        kind = ""
    if kind in CALLS or "function_call" in part or "functionCall" in part:
        return "call"
    if "toolCallId" in part and kind.startswith(("tool-", "dynamic-tool")) and kind not in RESULTS:
        return "call"  # the AI SDK's, with its result
    if kind == "tool-invocation":
        return "call"
    if kind in RESULTS or kind.endswith("tool_result") or "function_response" in part or "functionResponse" in part:
        return "result"
    return (
        "thought"
        if "thinking" in kind or "reasoning" in kind or kind == "thought" or part.get("thought") is True
        else ""
    )


def _inner(part: Mapping[str, Json], *keys: str) -> Mapping[str, Json]:
    return next((inner for key in keys if isinstance(inner := part.get(key), dict)), part)


def _holds_results(content: Json) -> bool:
    """Are the results of a tool's message blocks of their own?"""
    return isinstance(content, list) and any(isinstance(block, dict) and _sort(block) == "result" for block in content)


def _content(message: Mapping[str, Json]) -> Json:
    """What a message says, under whichever name."""
    if isinstance(parts := message.get("parts"), list):
        return parts
    return _first(message, "content", "value", "text", "audio")


def _unwrapped(message: Mapping[str, Json]) -> Mapping[str, Json]:
    """The message that lies in what LangChain or a log record puts around it."""
    kwargs = message.get("kwargs")
    if isinstance(kwargs, dict) and isinstance(names := message.get("id"), list) and names:  # LangChain's dumpd
        name = str(names[-1]).removesuffix("Chunk").removesuffix("Message").lower()
        return {"role": name, **kwargs} if name in ROLES else kwargs
    if isinstance(data := message.get("data"), dict) and "content" in data and "content" not in message:
        return {"type": message.get("type"), **data} if "role" not in data else data
    inner = message.get("message")
    if isinstance(inner, dict) and "content" not in message and {"role", "kwargs", "content"} & inner.keys():
        return _unwrapped(inner)
    content = message.get("content")
    if isinstance(content, dict) and isinstance(content.get("parts"), list):  # a Gemini log record
        return {**content, "role": content.get("role") or message.get("role")}
    return message


def _part_text(part: Json) -> str:
    """The text of a part, or a mark for what is no text; never the bytes of a picture."""
    if not isinstance(part, dict):
        return text_of(part)
    kind = part.get("type")
    for key in ("text", "content"):
        if isinstance(text := part.get(key), str) and not _MEDIA.search(str(kind)):
            return text
    mime = part.get("mime_type") or part.get("media_type") or part.get("modality")
    inline = _inner(part, "inline_data", "inlineData", "file_data", "fileData")
    if inline is not part:
        mime = inline.get("mime_type") or inline.get("mimeType") or "file"
    if isinstance(mime, str):
        found = _MEDIA.search(mime)
        return f"[{found.group() if found else 'file'}]"
    if kind == "step-start":
        return ""
    if kind in ("blob", "uri", "file"):
        return "[file]"
    return text_of(part) if any(value is not None for value in part.values()) else ""


def _plain(values: Mapping[str, Json]) -> dict[str, Json]:
    return {key: value for key, value in values.items() if isinstance(value, str | int | float) and value != ""}


def _first(mapping: Mapping[str, Json], *keys: str) -> Json:
    for key in keys:
        if (found := mapping.get(key)) is not None:
            return found
    return None


def time_of(message: Mapping[str, Json]) -> datetime | None:
    """When it was written, under whichever name."""
    for key in TIME_KEYS:
        if key in message:
            return timestamp(message[key])
    return None
