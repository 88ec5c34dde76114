"""A chat message in any of the usual dialects, taken apart into the pieces that become records.

Knows OpenAI (chat and responses), Anthropic blocks, Gemini parts, OpenTelemetry parts and LangChain messages. Also
keeps count of what a run has already said, for logs that repeat their history in every item.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import orjson

from components.contracts import NO_EXTRA, Defect, Json, Skipped
from components.sources.formats.content import json_text, text_of, timestamp, tool_call
from components.sources.formats.contract import Read, Turns

ROLES: Final[Mapping[str, str]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "aimessagechunk": "assistant",
    "model": "assistant",
    "agent": "assistant",
    "bot": "assistant",
    "tool": "tool_result",
    "function": "tool_result",
    "toolresult": "tool_result",
    "tool_result": "tool_result",
    "tool_response": "tool_result",
    "reasoning": "reasoning",
}
GENERATED: Final = frozenset({"assistant", "reasoning", "tool_call"})
TOOLS: Final = frozenset({"tool_call", "tool_result", "error"})
EMPTY: Final = Skipped(rule="empty message")
REPEATED: Final = Skipped(rule="repeated message")

_CALLS: Final = frozenset({"tool_use", "toolCall", "tool_call", "function_call", "tool-call", "functionCall"})
_RESULTS: Final = frozenset(
    {
        "tool_result",
        "toolResult",
        "tool_call_response",
        "tool_response",
        "function_call_output",
        "tool-result",
        "functionResponse",
    }
)
_THOUGHTS: Final = frozenset({"thinking", "reasoning", "thought", "redacted_thinking"})
_MEDIA: Final = re.compile(r"image|audio|video")


class Piece(NamedTuple):
    """One readable part of a message; `text` is never blank."""

    type: str
    text: str
    extra: Mapping[str, Any] = NO_EXTRA
    timestamp: datetime | None = None


def role_type(role: Json) -> str:
    """The record type of a message's role; an unknown role keeps its own word, no role at all is a user.

    >>> role_type("developer"), role_type("ai"), role_type("critic"), role_type(None)
    ('system', 'assistant', 'critic', 'user')
    """
    if not isinstance(role, str) or not role.strip():
        return "user"
    return ROLES.get(role.strip().lower(), role.strip())


def pieces_of(message: Json, role: str | None = None) -> list[Piece]:
    """The pieces of one message, in order; `role` where the message names none. Empty for what holds no text.

    >>> [(p.type, p.text) for p in pieces_of({"role": "assistant", "content": None, "tool_calls": [
    ...     {"id": "c1", "function": {"name": "ls", "arguments": "{}"}}]})]
    [('tool_call', 'ls {}')]
    """
    if isinstance(message, str):
        return _text(role_type(role), message, {})
    if not isinstance(message, dict):
        return []
    message = _unwrapped(message)
    kind = message.get("type")
    if isinstance(kind, str) and (kind in _CALLS or kind in _RESULTS):
        return list(_part("assistant", message, {}))
    own = message.get("role") or (role_of_type(kind) if isinstance(kind, str) else None) or role
    return list(_message(role_type(own), message))


def role_of_type(kind: str) -> str | None:
    """LangChain and the responses API name a message's role in `type`."""
    return kind if kind.lower() in ROLES else None


def _unwrapped(message: Mapping[str, Json]) -> Mapping[str, Json]:
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


def _message(kind: str, message: Mapping[str, Json]) -> Iterator[Piece]:
    when = timestamp(message.get("timestamp"))
    extra = _about(kind, message)
    for key in ("reasoning_content", "reasoning", "thinking"):
        if isinstance(thought := message.get(key), str) and thought.strip():
            yield Piece(type="reasoning", text=thought, timestamp=when)
            break
    if kind == "tool_result" and not _holds_results(message):
        failed = message.get("isError") is True or message.get("is_error") is True or message.get("error") is True
        yield from _text("error" if failed or message.get("status") == "error" else kind, _result(message), extra, when)
        return
    content = message.get("parts") if isinstance(message.get("parts"), list) else message.get("content")
    if content is None and isinstance(message.get("text"), str):
        content = message["text"]
    found = list(_parts(kind, content, extra, when)) if isinstance(content, list) else []
    yield from found if isinstance(content, list) else _text(kind, text_of(content), extra, when)
    if not any(piece.type == "tool_call" for piece in found):  # LangChain spells the calls of a block list twice
        yield from _calls(message, when)


def _holds_results(message: Mapping[str, Json]) -> bool:
    """Are the results of a tool message parts of their own, each with its type?"""
    parts = message.get("parts") or message.get("content")
    return isinstance(parts, list) and any(isinstance(part, dict) and _sort_of(part) in _RESULTS for part in parts)


def _sort_of(part: Mapping[str, Json]) -> str:
    return sort if isinstance(sort := part.get("type"), str) else ""


def _result(message: Mapping[str, Json]) -> str:
    for key in ("content", "parts", "response", "result", "output"):
        if message.get(key) is not None:
            return _spelled(message[key])
    return ""


def _calls(message: Mapping[str, Json], when: datetime | None) -> Iterator[Piece]:
    calls = message.get("tool_calls")
    more = message.get("additional_kwargs")
    if not calls and isinstance(more, dict) and "additional_kwargs" not in more:
        yield from _calls(more, when)
    for call in calls if isinstance(calls, list) else ():
        yield from _call(call, when)
    if isinstance(call := message.get("function_call"), dict):
        yield from _call(call, when)


def _call(call: Json, when: datetime | None = None) -> Iterator[Piece]:
    if not isinstance(call, dict):
        return
    function = call.get("function") if isinstance(call.get("function"), dict) else call
    assert function is not None
    name = function.get("name") or function.get("toolName")
    text = tool_call(name, _first(function, "arguments", "args", "input", "parameters"))
    yield from _text("tool_call", text, _clean(tool=name, call_id=_first(call, "id", "call_id", "toolCallId")), when)


def _parts(kind: str, parts: Sequence[Json], extra: Mapping[str, Any], when: datetime | None) -> Iterator[Piece]:
    """Neighbouring texts and media marks are one piece; thoughts, calls and results stand alone."""
    texts: list[str] = []
    for part in parts:
        found = list(_part(kind, part, extra, when))
        if found and found[0].type == kind:
            texts.append(found[0].text)
            continue
        if found:
            yield from _text(kind, "\n".join(texts), extra, when)
            texts = []
        yield from found
    yield from _text(kind, "\n".join(texts), extra, when)


def _part(kind: str, part: Json, extra: Mapping[str, Any], when: datetime | None = None) -> Iterator[Piece]:
    if not isinstance(part, dict):
        yield from _text(kind, text_of(part), extra, when)
        return
    sort = _sort_of(part)
    if isinstance(call := part.get("function_call") or part.get("functionCall"), dict):
        yield from _call(call, when)
    elif isinstance(reply := part.get("function_response") or part.get("functionResponse"), dict):
        yield from _text("tool_result", _spelled(reply.get("response")), _clean(tool=reply.get("name")), when)
    elif sort in _CALLS:
        yield from _call(part, when)
    elif sort in _RESULTS:
        failed = part.get("is_error") is True or part.get("isError") is True
        about = _clean(tool=part.get("name"), call_id=_first(part, "tool_use_id", "id", "call_id", "toolCallId"))
        text = _spelled(_first(part, "content", "response", "result", "output"))
        yield from _text("error" if failed else "tool_result", text, about, when)
    elif sort in _THOUGHTS or part.get("thought") is True:
        thought = _first(part, "thinking", "text", "content", "summary")
        yield from _text("reasoning", text_of(thought) if thought is not None else "", {}, when)
    else:
        yield from _text(kind, _plain(part), extra, when)


def _plain(part: Mapping[str, Json]) -> str:
    """The text of a part, or a mark for what is no text; never the bytes of a picture."""
    for key in ("text", "content"):
        if isinstance(part.get(key), str) and not _MEDIA.search(str(part.get("type"))):
            return str(part[key])
    mime = part.get("mime_type") or part.get("media_type") or part.get("modality")
    inline = part.get("inline_data") or part.get("inlineData") or part.get("file_data") or part.get("fileData")
    if isinstance(inline, dict):
        mime = inline.get("mime_type") or inline.get("mimeType") or "file"
    if isinstance(mime, str):
        found = _MEDIA.search(mime)
        return f"[{found.group() if found else 'file'}]"
    if _sort_of(part) in ("blob", "uri", "file"):
        return "[file]"
    if not any(value is not None for value in part.values()):
        return ""
    return text_of(part)


def _spelled(value: Json) -> str:
    """A tool's answer: text where it is text or content blocks, else canonical JSON."""
    if isinstance(value, dict) and _are_blocks(value.get("content")):  # an MCP server's answer
        value = value["content"]
    if _are_blocks(value):
        return text_of(value)
    if isinstance(value, str):
        return value
    return "" if value is None else json_text(value)


def _are_blocks(value: Json) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(part, dict) and "type" in part for part in value)


def _text(kind: str, text: str, extra: Mapping[str, Any], when: datetime | None = None) -> list[Piece]:
    return [Piece(type=kind, text=text, extra=extra, timestamp=when)] if text.strip() else []


def _about(kind: str, message: Mapping[str, Json]) -> dict[str, Any]:
    if kind == "tool_result":
        call = _first(message, "tool_call_id", "toolCallId", "call_id", "id")
        return _clean(tool=message.get("toolName") or message.get("name"), call_id=call)
    return _clean(name=message.get("name"), model=message.get("model"))


def _clean(**values: Json) -> dict[str, Any]:
    return {key: value for key, value in values.items() if isinstance(value, str | int | float) and value != ""}


def _first(mapping: Mapping[str, Json], *keys: str) -> Json:
    for key in keys:
        if mapping.get(key) is not None:
            return mapping[key]
    return None


def events(
    turns: Turns, pieces: Iterable[Piece], extra: Mapping[str, Any] | None = None, when: datetime | None = None
) -> Iterator[Read]:
    """The pieces as the next events of a run; a message without any is skipped as empty."""
    empty = True
    for piece in pieces:
        empty = False
        yield turns.event(piece.type, piece.text, piece.timestamp or when, {**(extra or {}), **piece.extra})
    if empty:
        yield EMPTY


def guarded(index: int, reads: Iterable[Read]) -> Iterator[Read]:
    """The same, with a defect in place of what is nested too deeply to be read."""
    try:
        yield from reads
    except RecursionError:
        yield Defect(offset=index, reason="nested too deeply to be read")


def not_an_object(index: int, item: Json) -> Defect:
    return Defect(offset=index, reason=f"expected an object, found {type(item).__name__}", excerpt=excerpt(item))


def excerpt(item: Json) -> str:
    """The first 80 characters of an item, for a person to recognise it by."""
    if isinstance(item, dict | list):
        return f"{type(item).__name__} of {len(item)}"
    return str(item)[:80]


def mostly(items: Sequence[Json], fits: Callable[[Json], bool]) -> bool:
    """Do three in five of the first twenty items fit? A few odd ones don't make it another format."""
    first = items[:20]
    return bool(first) and sum(map(fits, first)) >= 0.6 * len(first)


def named(mapping: Mapping[str, Json], *keys: str) -> dict[str, Any]:
    """Those of the keys that hold a plain value, as they are."""
    return {key: mapping[key] for key in keys if isinstance(mapping.get(key), str | int | float)}


_FENCE: Final = re.compile(r"```[^\n`]*\n(.*?)```|```([^`\n]+)```", re.DOTALL)


def answer_pieces(text: str) -> list[Piece]:
    r"""A model's answer whose last fenced block is the action it takes: what it says, then the call.

    >>> [(p.type, p.text) for p in answer_pieces("I look.\n```\nls -a\n```")]
    [('assistant', 'I look.'), ('tool_call', 'ls -a')]
    """
    fences = list(_FENCE.finditer(text))
    if not fences:
        return _text("assistant", text, {})
    last = fences[-1]
    action = (last.group(1) or last.group(2) or "").strip()
    said = (text[: last.start()].rstrip() + text[last.end() :]).strip()
    return [*_text("assistant", said, {}), *_text("tool_call", action, {})]


# --- what a run has already said ----------------------------------------------------------------------------------


def key_of(piece: Piece) -> str:
    """Sixteen hex digits of a piece's type and text; JSON texts count as equal however they are spaced."""
    text = piece.text.strip()
    kind = "tool_result" if piece.type == "error" else piece.type
    head, brace, rest = text.partition("{")
    if kind == "tool_call" and brace and " " in head:
        text = f"{head.strip()} {_canonical(brace + rest)}"
    elif text[:1] in ("{", "["):
        text = _canonical(text)
    return blake2b(f"{kind}\0{text}".encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _canonical(text: str) -> str:
    try:
        return _spelled(value) if isinstance(value := orjson.loads(text), dict | list) else text
    except (orjson.JSONDecodeError, RecursionError):
        return text


class Said:
    """Counts the pieces of one run, so that each is given once though the log repeats them.

    A model call lists the whole history before it: a text that stands n times in a list was said n times at least.
    `balance` matches the calls a model asks for with the spans of the tools that ran them.
    """

    __slots__ = ("balance", "given", "views")

    def __init__(self, state: Json = None) -> None:
        given, balance, views = state or ({}, {}, {})
        self.given: dict[str, int] = dict(given)
        self.balance: dict[str, int] = dict(balance)
        self.views: dict[str, int] = dict(views)

    def state(self) -> Json:
        return [self.given, {key: n for key, n in self.balance.items() if n}, self.views]

    def forget(self, limit: int) -> None:
        """Keep the latest `limit` messages: what a reader remembers must not grow with its log."""
        for memory in (self.given, self.balance, self.views):
            while len(memory) > limit:
                del memory[next(iter(memory))]

    def new_in_history(self, pieces: Iterable[Piece]) -> Iterator[tuple[Piece, bool]]:
        """Each piece of a list that tells everything so far, and whether it was not given before."""
        count: dict[str, int] = {}
        for piece in pieces:
            key = key_of(piece)
            count[key] = n = count.get(key, 0) + 1
            new = n > self.given.get(key, 0)
            if new:
                self.given[key] = n
                if piece.type in TOOLS:
                    self.balance[key] = self.balance.get(key, 0) + 1
            yield piece, new

    def new_answer(self, piece: Piece) -> bool:
        """A model says it now. Only a call whose tool has already reported itself is not new."""
        key, owed = key_of(piece), 0
        if piece.type == "tool_call":
            owed = self.balance.get(key, 0)
            self.balance[key] = owed + 1
        if owed < 0:
            return False
        self.given[key] = self.given.get(key, 0) + 1
        return True

    def new_tool(self, piece: Piece) -> bool:
        """A tool reports its call or result. New unless a model's message has told of it."""
        key = key_of(piece)
        balance = self.balance.get(key, 0)
        if balance > 0 or piece.type == "tool_call":
            self.balance[key] = balance - 1
        if balance > 0:
            return False
        self.given[key] = self.given.get(key, 0) + 1
        return True

    def new_in_view(self, view: str, piece: Piece) -> bool:
        """One of several witnesses tells of it: new when this one has told of it more often than any other."""
        key = key_of(piece)
        name = f"{view} {key}"
        self.views[name] = n = self.views.get(name, 0) + 1
        if n <= self.given.get(key, 0):
            return False
        self.given[key] = n
        return True


class Names:
    """Makes the names of a file's runs unique: the second `a` becomes `a~2`.

    >>> names = Names()
    >>> names.unique("a"), names.unique("a"), names.unique("")
    ('a', 'a~2', 'run')
    """

    __slots__ = ("count",)

    def __init__(self, count: Mapping[str, int] | None = None) -> None:
        self.count: dict[str, int] = dict(count or {})

    def unique(self, name: Json) -> str:
        spelled = str(name) if isinstance(name, str | int | float) and str(name).strip() else "run"
        self.count[spelled] = n = self.count.get(spelled, 0) + 1
        return spelled if n == 1 else f"{spelled}~{n}"
