"""The text of content: message content, tool calls, tool results, canonical JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import orjson

from components.contracts import Json

_TEXT_KEYS: Final = ("text", "content", "refusal", "transcript", "thinking", "output", "value", "logs")
_MEDIA: Final = ("image", "audio", "video")


def json_text(value: Json) -> str:
    """Canonical JSON: keys sorted, no blanks; equal values give equal texts.

    >>> json_text({"b": 1, "a": [None, "é"]})
    '{"a":[null,"é"],"b":1}'
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # lone surrogates, integers beyond 64 bits, more than 254 levels
        return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)


def tool_call(name: Json, arguments: Json) -> str:
    """The text of a tool call: the name, a blank, the arguments. Arguments that are a string already stay as they are.

    >>> tool_call("bash", {"timeout": 5, "command": "ls"})
    'bash {"command":"ls","timeout":5}'
    >>> tool_call("bash", '{"command": "ls"}')
    'bash {"command": "ls"}'
    """
    text = "" if arguments is None else arguments if isinstance(arguments, str) else json_text(arguments)
    return f"{name or ''} {text}".strip()


def text_of(content: Json) -> str:
    r"""What a person would read of a message's content: a string, a content block, or a list of them.

    Texts are joined by line ends, media become a short mark such as `[image]`, other values their canonical JSON.

    >>> text_of([{"type": "text", "text": "see"}, {"type": "image", "source": {"data": "iVBO"}}])
    'see\n[image]'
    """
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if isinstance(content, list):
        return "\n".join(text for part in content if (text := text_of(part)))
    if isinstance(content, dict):
        return _text_of_block(content)
    return json_text(content)


def result_text(value: Json) -> str:
    """A tool's answer: text where it is text or content blocks, else canonical JSON."""
    if isinstance(value, dict) and _are_blocks(value.get("content")):  # an MCP server's answer
        value = value["content"]
    elif isinstance(value, dict) and isinstance(value.get("type"), str) and value.keys() == {"type", "value"}:
        value = value["value"]  # the AI SDK's
    if isinstance(value, str):
        return value
    if _are_blocks(value):
        return text_of(value)
    return "" if value is None else json_text(value)


def _are_blocks(value: Json) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(part, dict) and "type" in part for part in value)


def _text_of_block(block: Mapping[str, Json]) -> str:
    kind = block.get("type")
    if kind == "text" and isinstance(text := block.get("text"), str):
        return text
    if isinstance(kind, str):
        for medium in _MEDIA:
            if medium in kind:
                return f"[{medium}]"
    if kind == "document" and (text := _document_text(block)):
        return text
    if kind == "web_search_result":  # its content is encrypted
        return "\n".join(
            text for key in ("title", "url", "page_age") if isinstance(text := block.get(key), str) and text
        )
    for key in _TEXT_KEYS:
        if isinstance(value := block.get(key), str | list | dict):
            return text_of(value)
    if isinstance(kind, str) and kind in ("file", "document", "input_file"):
        return "[file]"
    return json_text(block) if block else ""


def response_text(part: Json) -> str:
    """The text of a function's response in a part: what the function put out, else its error, else its JSON.

    >>> response_text({"functionResponse": {"name": "ls", "response": {"output": "a.txt"}}})
    'a.txt'
    """
    inner = part.get("functionResponse") if isinstance(part, dict) else None
    response = inner.get("response") if isinstance(inner, dict) else None
    if not isinstance(response, dict):
        return text_of(part if response is None else response)
    for key in ("output", "error"):
        if isinstance(text := response.get(key), str):
            return text
    return json_text(response)


def _document_text(block: Mapping[str, Json]) -> str:
    """The text of a document that is given as text or as content blocks, below its title; "" for a file's bytes."""
    source = block.get("source")
    if not isinstance(source, dict) or source.get("type") not in ("text", "content"):
        return ""
    title = block.get("title")
    text = text_of(source.get("data") if source["type"] == "text" else source.get("content"))
    return f"{title}\n{text}" if text and isinstance(title, str) and title else text
