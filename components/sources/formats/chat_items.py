"""One item of a chat log (a run, a request, a response): where its messages, answers, error and metadata are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from components.contracts import Json
from components.sources.formats.chat_streams import chunks_in, is_chunk, joined
from components.sources.formats.content import text_of
from components.sources.formats.values import first_of, mostly, scalars

LIST_KEYS: Final = (
    *("messages", "conversations", "conversation", "input", "contents", "chat_messages", "dialog", "dialogue"),
    *("trajectory", "prompt"),
)
ENVELOPES: Final = ("request", "body", "kwargs", "params", "input")
ANSWER_KEYS: Final = ("response", "output", "completion", "choices", "candidates", "response_obj", "result", "chunks")
ANSWER_OBJECTS: Final = ("chat.completion", "response")
SESSION_KEYS: Final = (
    "session_id",
    "conversation_id",
    "thread_id",
    "trace_id",
    "sessionId",
    "conversationId",
    "custom_id",
)
RUN_KEYS: Final = (*SESSION_KEYS, "traj_id", "id", "uuid", "instance_id", "task_id", "run_id", "conv_id")
META_KEYS: Final = (*RUN_KEYS, "model", "resolved", "reward", "score", "success", "exit_status", "source", "dataset")
ASKING: Final = frozenset({"instructions", "completion", "response", "choices", "chosen", "preferred_output"})


def messages_of(item: Json, depth: int = 3) -> list[Json] | None:
    """The messages of a run, under any of the usual keys; None where it has none."""
    if isinstance(item, list):
        return item
    if not isinstance(item, dict):
        return None
    for key in LIST_KEYS:
        if isinstance(found := item.get(key), list):
            return found
    for key in ("input", "prompt"):
        if isinstance(found := item.get(key), str) and ("model" in item or not ASKING.isdisjoint(item)):
            return [{"role": "user", "content": found}]
    for key in ENVELOPES if depth else ():
        if isinstance(inner := item.get(key), dict) and (found := messages_of(inner, depth - 1)) is not None:
            return found
    return None


def answers_of(item: Json, depth: int = 6) -> list[Json]:
    """The messages that answer a request, in a log that keeps requests with their responses."""
    if isinstance(item, str) and item.strip():
        return joined(chunks_in(item)) or [{"role": "assistant", "content": item}]
    if isinstance(item, list) and mostly(item, is_chunk):
        return joined(item)
    if isinstance(item, list) and depth:
        return [answer for part in item for answer in answers_of(part, depth - 1)]
    if not isinstance(item, dict) or not depth:
        return []
    if isinstance(item.get("role"), str) or (item.get("object") == "response" and isinstance(item.get("output"), list)):
        return [item]
    if isinstance(choice := item.get("message"), dict):
        return [choice]
    if isinstance(content := item.get("content"), dict) and isinstance(content.get("parts"), list):  # Gemini
        return [{**content, "role": "model"}]
    if isinstance(text := item.get("text"), str) and "finish_reason" in item:  # a completion without chat
        return [{"role": "assistant", "content": text}]
    return [answer for key in ("body", *ANSWER_KEYS) if key in item for answer in answers_of(item[key], depth - 1)]


def preamble_of(item: Json, depth: int = 3) -> list[Json]:
    """The system prompt beside the messages (Anthropic, Responses API, ShareGPT) as a message."""
    if not isinstance(item, dict):
        return []
    for key in ("system", "instructions", "systemInstruction", "system_instruction"):
        found = item.get(key)
        if isinstance(found, dict):
            found = found.get("parts")
        if isinstance(found, str | list) and found:
            return [{"role": "system", "content": found}]
    envelopes = [inner for key in ENVELOPES if depth and isinstance(inner := item.get(key), dict)]
    return [message for inner in envelopes for message in preamble_of(inner, depth - 1)][:1]


def meta_of(item: Mapping[str, Json]) -> dict[str, Json]:
    """What is kept of a run beside its messages: short plain values under well-known names."""
    asked = next((inner for key in ENVELOPES if isinstance(inner := item.get(key), dict)), {})
    named = [key for key in META_KEYS if key in item or key in asked]
    found = {key: value for key in named if _is_short(value := item.get(key, asked.get(key)))}
    return found | scalars({"task": first_of(found, "instance_id", "task_id")})


def _is_short(value: Json) -> bool:
    return 0 < len(value) <= 200 if isinstance(value, str) else isinstance(value, int | float)


def all_answers(item: Json) -> list[Json]:
    """The answers of one request, under any of the usual keys."""
    if not isinstance(item, dict):
        return []
    if item.get("object") == "response":
        return [item]
    return [answer for key in ANSWER_KEYS if key in item for answer in answers_of(item[key])]


def compared(messages: list[Json], chosen: list[Json], rejected: list[Json]) -> tuple[list[Json], list[Json]]:
    """The messages before the answers, and both answers that were compared; each may repeat those messages."""
    same = next((n for n, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b), len(rejected))
    return messages if not same else chosen[:same], [*chosen[same:], *rejected[same:]]


def error_of(item: Json) -> str:
    """Why a request was not answered, where its log says so."""
    if not isinstance(item, dict):
        return ""
    result = item.get("result")
    error = item.get("error") or (result.get("error") if isinstance(result, dict) else None)
    while isinstance(error, dict) and isinstance(inner := error.get("message", error.get("error")), str | dict):
        error = inner
    return text_of(error) if isinstance(error, str | dict) else ""


def is_answer(item: Json) -> bool:
    """Is it an answer of a model alone, as the API or a batch of it gives them, without what was asked?"""
    if not isinstance(item, dict):
        return False
    if isinstance(result := item.get("result"), dict) and "custom_id" in item:  # a batch of Anthropic's
        return "message" in result
    response = item.get("response")
    body = response.get("body") if isinstance(response, dict) else item
    if not isinstance(body, dict) or body.get("object") not in ANSWER_OBJECTS or "messages" in item or "body" in item:
        return False
    return isinstance(body.get("choices"), list) or isinstance(body.get("output"), list)
