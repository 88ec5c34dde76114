"""Streamed answers of chat models: chunks that are joined to the message that they make.

Knows OpenAI's chunks (`chat.completion.chunk`), Anthropic's stream events, the Responses API's (whose last event holds all),
and server-sent events as text. An answer is whole with its finish reason; one that was cut short is given when asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from components.contracts import Json, Skipped
from components.sources.formats.values import listed, mapping, mostly

PART: Final = Skipped(rule="part of a streamed answer")
MAX_OPEN: Final = 32  # answers that a log may weave together
TEXT_KEYS: Final = ("content", "reasoning_content", "reasoning", "refusal")
ANTHROPIC: Final = frozenset(
    {
        *("message_start", "message_delta", "message_stop", "ping"),
        *("content_block_start", "content_block_delta", "content_block_stop"),
    }
)
DELTAS: Final = {"text": "text", "thinking": "thinking", "partial_json": "input"}  # key of a delta, key of its block


def is_chunk(item: Json) -> bool:
    """Is it one part of a streamed answer?"""
    if not isinstance(item, dict):
        return False
    if item.get("object") == "chat.completion.chunk":
        return isinstance(item.get("choices"), list)
    kind = item.get("type")
    if not isinstance(kind, str) or "role" in item:
        return False
    return (kind in ANTHROPIC and "uuid" not in item) or (kind.startswith("response.") and "sequence_number" in item)


def joined(chunks: Iterable[Json]) -> list[Json]:
    """The messages that the chunks make, whole or not, in their order."""
    streams = Streams()
    whole = [message for chunk in chunks for message in streams.add(chunk)]
    return whole + streams.cut()


def chunks_in(text: str) -> list[Json]:
    """The chunks of a stream of server-sent events; empty for any other text."""
    if not text.lstrip().startswith(("data:", "event:")):
        return []
    found: list[Json] = []
    for line in text.splitlines():
        if line.startswith("data:") and (data := line.removeprefix("data:").strip()) != "[DONE]":
            try:
                found.append(orjson.loads(data))
            except orjson.JSONDecodeError:
                continue
    return found if mostly(found, is_chunk) else []


@dataclass(slots=True)
class Streams:
    """The answers that are being streamed, by their ids; `state` is plain JSON."""

    open: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, chunk: Json) -> list[Json]:
        """The messages that are whole with this chunk."""
        if not isinstance(chunk, dict):
            return []
        if "choices" in chunk:
            return self._openai(chunk)
        kind = str(chunk.get("type"))
        if kind.startswith("response."):
            return (
                [chunk["response"]] if kind == "response.completed" and isinstance(chunk.get("response"), dict) else []
            )
        return self._anthropic(kind, chunk)

    def cut(self) -> list[Json]:
        """The messages that no chunk finished; none is open afterwards."""
        messages = [_message(parts) for parts in self.open.values()]
        self.open = {}
        return messages

    def _openai(self, chunk: Mapping[str, Json]) -> list[Json]:
        whole: list[Json] = []
        for choice in map(mapping, listed(chunk.get("choices"))):
            key = f"{chunk.get('id')} {choice.get('index', 0)}"
            begun = {"role": "assistant", "created": chunk.get("created"), "model": chunk.get("model")}
            parts = self.open.setdefault(key, {k: v for k, v in begun.items() if v is not None})
            _extend(parts, mapping(choice.get("delta")))
            if choice.get("finish_reason") is not None:
                whole.append(_message(self.open.pop(key)))
        while len(self.open) > MAX_OPEN:
            whole.append(_message(self.open.pop(next(iter(self.open)))))
        return whole

    def _anthropic(self, kind: str, event: Mapping[str, Json]) -> list[Json]:
        """Events carry no id: a stream ends before the next one begins."""
        if kind == "message_start":
            before = self.cut()
            message = mapping(event.get("message"))
            self.open["anthropic"] = {"role": "assistant", "model": message.get("model"), "blocks": {}}
            return before
        blocks = self.open.setdefault("anthropic", {"role": "assistant", "blocks": {}})["blocks"]
        at = str(event.get("index", 0))
        if kind == "content_block_start":
            block = mapping(event.get("content_block"))
            blocks[at] = {**block, "input": ""} if block.get("input") == {} else dict(block)
        elif kind == "content_block_delta":
            block, delta = blocks.setdefault(at, {"type": "text"}), mapping(event.get("delta"))
            for key, name in DELTAS.items():
                if isinstance(text := delta.get(key), str):
                    block[name] = _added(block.get(name), text)
        return self.cut() if kind == "message_stop" else []


def _extend(parts: dict[str, Any], delta: Mapping[str, Json]) -> None:
    for key in TEXT_KEYS:
        if isinstance(text := delta.get(key), str):
            parts[key] = _added(parts.get(key), text)
    calls = parts.setdefault("calls", {})
    for call in map(mapping, listed(delta.get("tool_calls"))):
        function = mapping(call.get("function"))
        known = calls.setdefault(str(call.get("index", 0)), {"function": {}})
        if isinstance(id := call.get("id"), str):
            known["id"] = id
        for key in ("name", "arguments"):
            if isinstance(text := function.get(key), str):
                known["function"][key] = _added(known["function"].get(key), text)


def _added(before: Json, text: str) -> str:
    return before + text if isinstance(before, str) else text


def _message(parts: Mapping[str, Any]) -> Json:
    message = {key: value for key, value in parts.items() if key not in ("calls", "blocks")}
    if blocks := parts.get("blocks"):
        return {**message, "content": list(blocks.values())}
    calls = list(parts.get("calls", {}).values())
    message.setdefault("content", None)
    return {**message, "tool_calls": calls} if calls else message
