"""The messages in the input or output of a model call, as tracers record it: a list, one message, an answer, a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from components.contracts import Json
from components.sources.formats.content import json_text
from components.sources.formats.messages import pieces_of
from components.sources.formats.pieces import Piece
from components.sources.formats.values import parse_json

USUAL_KEYS: Final = (
    *("input", "question", "query", "prompt", "user_input"),
    *("output", "answer", "result", "response", "text"),
)


def pieces_of_messages(value: Json, role: str) -> list[Piece]:
    """Messages as a JSON text or already structured: a list, one message, or an answer that holds some."""
    if value is None:
        return []
    value = parse_json(value)
    if isinstance(value, dict):
        value = _messages_within(value)
    if isinstance(value, list):
        return [piece for message in value for piece in _message_pieces(message, role)]
    return pieces_of(value, role)


def pieces_of_payload(value: Json, role: str) -> list[Piece]:
    """The messages in a model's input or output; where none are found, the text of an object's usual key, or its JSON."""
    value = parse_json(value)
    if found := pieces_of_messages(value, role):
        return found
    if not isinstance(value, dict) or not value:
        return []
    usual = next((text for key in USUAL_KEYS if isinstance(text := value.get(key), str) and text.strip()), None)
    return pieces_of(usual or json_text(value), role)


def _messages_within(answer: Mapping[str, Json]) -> Json:
    for key in ("messages", "choices", "output", "generations", "candidates", "prompts"):
        if isinstance(found := answer.get(key), list):
            return found
    return answer


def _message_pieces(message: Json, role: str) -> list[Piece]:
    if isinstance(message, list):
        return [piece for inner in message for piece in _message_pieces(inner, role)]
    if isinstance(message, dict) and message.get("type") == "text" and "role" not in message:
        return pieces_of({"role": role, "content": [message]})  # a part where a message was expected
    return pieces_of(message, role)
