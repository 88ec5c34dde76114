"""The dialects of chat messages: roles, times, content, and the parts of it that are calls, results or reasoning.

Knows OpenAI (chat and Responses API), Anthropic blocks, ShareGPT turns, Gemini and OpenTelemetry parts, and messages as
LangChain stores them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from components.contracts import Json
from components.sources.formats.content import text_of
from components.sources.formats.times import timestamp
from components.sources.formats.values import first_of

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
KNOWN_TYPES: Final = frozenset(ROLES.values())
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
CONTENT_KEYS: Final = ("content", "value", "parts", "tool_calls", "function_call")
TIME_KEYS: Final = ("timestamp", "created_at", "created", "createdAt", "time")
_MEDIA: Final = re.compile(r"image|audio|video")


def role_type(role: Json) -> str:
    """The record type of a message's role; an unknown role keeps its own word, no role at all is a user.

    >>> role_type("developer"), role_type("ai"), role_type("critic"), role_type(None)
    ('system', 'assistant', 'critic', 'user')
    """
    if not isinstance(role, str) or not role.strip():
        return "user"
    return ROLES.get(role) or ROLES.get(role.strip().lower().replace("-", "_"), role.strip())


def is_message(item: Json) -> bool:
    """Does it look like one message of a chat: a known role, and content or a call?"""
    if not isinstance(item, dict):
        return False
    role = item.get("role")
    if type(role) is str and role in ROLES and "content" in item:  # by far the most frequent
        return True
    role = role_of(item)
    if not role:
        return is_item(item) or is_stored(item)
    if role not in ROLES and role_type(role) not in KNOWN_TYPES:
        return False
    if "text" in item and "iteration" not in item:  # a log that numbers its iterations itself is generic
        return True
    return not item.keys().isdisjoint(CONTENT_KEYS)


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
        return "content" in kwargs and unwrapped(message) is not kwargs
    return kind in ("human", "ai", "tool", "system") and "content" in message


def is_item(message: Mapping[str, Json]) -> bool:
    """Is it an item of the Responses API other than a message: a call, its result, reasoning?"""
    kind = message.get("type")
    return isinstance(kind, str) and (bool(part_kind(message)) or (kind.endswith("_call") and "id" in message))


def part_kind(part: Mapping[str, Json]) -> str:
    """What a block or item is besides content: `call`, `result` or `thought`; "" for content."""
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


def inner_part(part: Mapping[str, Json], *keys: str) -> Mapping[str, Json]:
    """The object under the first of the keys that holds one, else the part itself."""
    return next((inner for key in keys if isinstance(inner := part.get(key), dict)), part)


def holds_results(content: Json) -> bool:
    """Are the results of a tool's message blocks of their own?"""
    return isinstance(content, list) and any(
        isinstance(block, dict) and part_kind(block) == "result" for block in content
    )


def content_of(message: Mapping[str, Json]) -> Json:
    """The content of a message, under whichever name."""
    if isinstance(parts := message.get("parts"), list):
        return parts
    return first_of(message, "content", "value", "text", "audio")


def unwrapped(message: Mapping[str, Json]) -> Mapping[str, Json]:
    """The message inside what LangChain or a log record wraps around it."""
    kwargs = message.get("kwargs")
    if isinstance(kwargs, dict) and isinstance(names := message.get("id"), list) and names:  # LangChain's dumpd
        name = str(names[-1]).removesuffix("Chunk").removesuffix("Message").lower()
        return {"role": name, **kwargs} if name in ROLES else kwargs
    if isinstance(data := message.get("data"), dict) and "content" in data and "content" not in message:
        return {"type": message.get("type"), **data} if "role" not in data else data
    inner = message.get("message")
    if isinstance(inner, dict) and "content" not in message and {"role", "kwargs", "content"} & inner.keys():
        return unwrapped(inner)
    content = message.get("content")
    if isinstance(content, dict) and isinstance(content.get("parts"), list):  # a Gemini log record
        return {**content, "role": content.get("role") or message.get("role")}
    return message


def part_text(part: Json) -> str:
    """The text of a part, or a mark such as `[image]` for media; never their bytes."""
    if not isinstance(part, dict):
        return text_of(part)
    kind = part.get("type")
    for key in ("text", "content"):
        if isinstance(text := part.get(key), str) and not _MEDIA.search(str(kind)):
            return text
    mime = part.get("mime_type") or part.get("media_type") or part.get("modality")
    inline = inner_part(part, "inline_data", "inlineData", "file_data", "fileData")
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


def time_of(message: Mapping[str, Json]) -> datetime | None:
    """When the message was written, under whichever name."""
    for key in TIME_KEYS:
        if key in message:
            return timestamp(message[key])
    return None
