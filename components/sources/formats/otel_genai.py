"""What a span says about a model: its role, and the messages in the places where instrumentations put them.

The places: `gen_ai.*.messages` attributes, indexed `gen_ai.prompt.N`, OpenInference's `llm.*_messages.N` or
`input.value`, `gcp.vertex.agent.llm_*`, `pydantic_ai.all_messages`, and log records or span events. The first place
that holds anything counts: the others repeat it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from components.contracts import Json
from components.sources.formats.content import json_text, tool_call
from components.sources.formats.messages import pieces_of
from components.sources.formats.pieces import GENERATED, Piece
from components.sources.formats.spans import Role

MODEL_OPERATIONS: Final = frozenset({"chat", "generate_content", "text_completion", "completion", "responses"})
ELIDED_CONTENT: Final = "<elided>"
MERGED_TOOLS: Final = "(merged tools)"  # one more span around parallel tools, repeating their results


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A log record or span event of a span: its name, its body and its attributes."""

    name: str
    body: Json
    attributes: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a span was given and what it gave; `elided` counts the notes whose content was not captured."""

    inputs: Sequence[Piece] = ()
    outputs: Sequence[Piece] = ()
    elided: int = 0
    whole: bool = False  # the outputs are all that was said, given and got


NOTHING: Final = Told()
PLACES: Final = ("gen_ai.", "llm.", "gcp.vertex.", "pydantic_ai.", "all_messages")


def role_of(name: str, attributes: Mapping[str, Json]) -> Role:
    """Is a span a model call, a tool's run, or something else?

    >>> role_of("chat gpt-4o", {"gen_ai.operation.name": "chat"}), role_of("GET /", {})
    ('model', 'other')
    """
    operation = attributes.get("gen_ai.operation.name")
    sort = attributes.get("openinference.span.kind") or attributes.get("traceloop.span.kind")
    if attributes.get("gen_ai.tool.name") == MERGED_TOOLS:
        return "other"
    if operation == "execute_tool" or sort in ("TOOL", "tool"):
        return "tool"
    if isinstance(operation, str) and operation:
        return "model" if operation in MODEL_OPERATIONS else "other"
    if sort == "LLM" or attributes.get("llm.request.type") in ("chat", "completion"):
        return "model"
    if name == "call_llm" or "gen_ai.prompt.0.role" in attributes or "gen_ai.completion.0.role" in attributes:
        return "model"
    return "other"


def told_by(role: Role, name: str, attributes: Mapping[str, Json], notes: Sequence[Note]) -> Told:
    """The messages of a span, as pieces in the order they were said."""
    if role == "tool":
        return _tool(name, attributes, notes)
    if role == "other" and not notes and not any(map(_may_tell, attributes)):  # most spans of most services
        return NOTHING
    asked, answered, elided = _noted(notes)
    inputs = _first(_inputs(attributes, role), asked)
    outputs = _first(_outputs(attributes, role), answered)
    if role == "other" and (history := _history(attributes)):  # an agent's run, told as a whole when it is over
        return Told(outputs=history, whole=True)
    return Told(inputs=inputs, outputs=outputs, elided=elided)


def _history(attributes: Mapping[str, Json]) -> list[Piece]:
    whole = messages_in(attributes.get("pydantic_ai.all_messages") or attributes.get("all_messages_events"), "user")
    return _joined(messages_in(attributes.get("gen_ai.system_instructions"), "system"), whole)


def _may_tell(key: str) -> bool:
    return key.startswith(PLACES)


def _first(places: Iterable[list[Piece]], noted: list[Piece]) -> list[Piece]:
    return next((pieces for pieces in places if pieces), noted)


# --- tools ------------------------------------------------------------------------------------------------------------


ARGUMENTS: Final = (
    "gen_ai.tool.call.arguments",
    "gcp.vertex.agent.tool_call_args",
    "input.value",
    "traceloop.entity.input",
    "tool.parameters",
)
RESULTS: Final = (
    "gen_ai.tool.call.result",
    "gcp.vertex.agent.tool_response",
    "output.value",
    "traceloop.entity.output",
)


def _tool(name: str, attributes: Mapping[str, Json], notes: Sequence[Note]) -> Told:
    tool = attributes.get("gen_ai.tool.name") or attributes.get("tool.name") or attributes.get("traceloop.entity.name")
    tool = tool or name.removeprefix("execute_tool ").strip()
    arguments = next((attributes[key] for key in ARGUMENTS if attributes.get(key) not in (None, "")), None)
    if arguments is None and "full_command" in attributes:  # Claude Code
        arguments = {"command": attributes["full_command"]}
    result = next((attributes[key] for key in RESULTS if attributes.get(key) not in (None, "")), None)
    if result is None:
        result = next((note.attributes.get("output") for note in notes if note.name == "tool.output"), None)
    call = tool_call(tool, arguments)
    return Told(
        inputs=[Piece(type="tool_call", text=call)] if call else [],
        outputs=pieces_of({"role": "tool", "content": _answer(result)}) if result is not None else [],
    )


def _answer(result: Json) -> Json:
    """A tool's result as it was spelled; only an MCP server's answer is taken out of its wrapping."""
    parsed = _parsed(result)
    wrapped = isinstance(parsed, dict) and isinstance(parsed.get("content"), list)
    return parsed if wrapped or not isinstance(result, str) else result


USUAL_KEYS: Final = (
    *("input", "question", "query", "prompt", "user_input"),
    *("output", "answer", "result", "response", "text"),
)


# --- messages in attributes -----------------------------------------------------------------------------------------


def _inputs(attributes: Mapping[str, Json], role: Role) -> Iterator[list[Piece]]:
    system = messages_in(attributes.get("gen_ai.system_instructions"), "system")
    yield _joined(system, messages_in(attributes.get("gen_ai.input.messages"), "user"))
    yield _indexed(attributes, "gen_ai.prompt.")
    yield _indexed(attributes, "llm.input_messages.")
    yield _vertex_request(attributes.get("gcp.vertex.agent.llm_request"))
    if role == "model":
        yield messages_in(attributes.get("input.value"), "user")
        yield messages_in(attributes.get("traceloop.entity.input"), "user")


def _joined(system: list[Piece], messages: list[Piece]) -> list[Piece]:
    return [*system, *messages] if messages else []


def _outputs(attributes: Mapping[str, Json], role: Role) -> Iterator[list[Piece]]:
    yield messages_in(attributes.get("gen_ai.output.messages"), "assistant")
    yield _indexed(attributes, "gen_ai.completion.", "assistant")
    yield _indexed(attributes, "llm.output_messages.", "assistant")
    yield _vertex_response(attributes.get("gcp.vertex.agent.llm_response"))
    if role == "model":
        yield messages_in(attributes.get("output.value"), "assistant")
        yield messages_in(attributes.get("traceloop.entity.output"), "assistant")


def messages_in(value: Json, role: str) -> list[Piece]:
    """Messages as a JSON text or already structured: a list, one message, or an answer that holds some."""
    value = _parsed(value)
    if isinstance(value, dict):
        value = _held(value)
    if isinstance(value, list):
        return [piece for message in value for piece in _as_message(message, role)]
    return pieces_of(value, role)


def spoken(value: Json, role: str) -> list[Piece]:
    """The messages in a model's input or output; where none are found, the text of an object's usual key, or its JSON."""
    value = _parsed(value)
    if found := messages_in(value, role):
        return found
    if not isinstance(value, dict) or not value:
        return []
    usual = next((text for key in USUAL_KEYS if isinstance(text := value.get(key), str) and text.strip()), None)
    return pieces_of(usual or json_text(value), role)


def _held(answer: Mapping[str, Json]) -> Json:
    for key in ("messages", "choices", "output", "generations", "candidates", "prompts"):
        if isinstance(found := answer.get(key), list):
            return found
    return answer


def _as_message(message: Json, role: str) -> list[Piece]:
    if isinstance(message, list):
        return [piece for inner in message for piece in _as_message(inner, role)]
    if isinstance(message, dict) and message.get("type") == "text" and "role" not in message:
        return pieces_of({"role": role, "content": [message]})  # a part where a message was expected
    return pieces_of(message, role)


def _parsed(value: Json) -> Json:
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:  # cut off by a length limit: what is left is text
            return value
    return value


def _vertex_request(value: Json) -> list[Piece]:
    request = _parsed(value)
    if not isinstance(request, dict):
        return pieces_of(request, "user")
    config = request.get("config")
    system = config.get("system_instruction") if isinstance(config, dict) else None
    contents = request.get("contents")
    return [
        *(pieces_of({"role": "system", "parts": system.get("parts")}) if isinstance(system, dict) else []),
        *(pieces_of({"role": "system", "content": system}) if isinstance(system, str | list) else []),
        *(piece for content in (contents if isinstance(contents, list) else ()) for piece in pieces_of(content)),
    ]


def _vertex_response(value: Json) -> list[Piece]:
    response = _parsed(value)
    return pieces_of(response.get("content") if isinstance(response, dict) else response, "assistant")


# --- messages under numbered keys -----------------------------------------------------------------------------------


def _indexed(attributes: Mapping[str, Json], prefix: str, role: str = "user") -> list[Piece]:
    """Messages spelled as `prefix.N.path` keys, by their number."""
    tree: dict[str, Any] = {}
    for key, value in attributes.items():
        if key.startswith(prefix):
            _plant(tree, key[len(prefix) :].split("."), value)
    return [piece for node in _numbered(tree) for piece in pieces_of(_flat_message(node), role)]


def _plant(tree: dict[str, Any], path: Sequence[str], value: Json) -> None:
    for step in path[:-1]:
        inner = tree.setdefault(step, {})
        if not isinstance(inner, dict):
            return
        tree = inner
    tree.setdefault(path[-1], value)


def _numbered(tree: Json) -> list[Any]:
    if not isinstance(tree, dict):
        return []
    return [tree[key] for key in sorted((key for key in tree if key.isdecimal()), key=int)]


def _flat_message(node: Json) -> Json:
    """The message that a numbered node spells, in the shape of the chat API."""
    if not isinstance(node, dict):
        return node
    message: Mapping[str, Json] = node["message"] if isinstance(node.get("message"), dict) else node
    blocks = [_block(part) for part in _numbered(message.get("contents"))]
    calls = [_flat_call(call) for call in _numbered(message.get("tool_calls"))]
    content = message.get("content")
    if content in (None, "") or any(block.get("type") != "text" for block in blocks):
        content = blocks or content
    if isinstance(content, str) and content.startswith('[{"'):  # structured content, spelled as JSON
        content = _parsed(content)
    return {**message, "content": content, "tool_calls": calls}


def _block(part: Json) -> Mapping[str, Json]:
    inner = part.get("message_content") if isinstance(part, dict) else None
    return inner if isinstance(inner, dict) else part if isinstance(part, dict) else {"type": "text", "text": part}


def _flat_call(call: Json) -> Json:
    inner = call.get("tool_call") if isinstance(call, dict) else None
    return inner if isinstance(inner, dict) else call


# --- messages in log records and span events --------------------------------------------------------------------------


def is_message_note(note: Note) -> bool:
    """Does a log record or span event carry messages of a model?"""
    return note.name.startswith("gen_ai.") and note.name.endswith(
        (".message", ".choice", ".content.prompt", ".content.completion", ".operation.details")
    )


def _noted(notes: Sequence[Note]) -> tuple[list[Piece], list[Piece], int]:
    asked: list[Piece] = []
    answered: list[Piece] = []
    elided = 0
    for note in notes:
        if not is_message_note(note):
            continue
        if isinstance(note.body, dict) and note.body.get("content") == ELIDED_CONTENT:
            elided += 1
        elif note.name.endswith(".operation.details"):
            asked = asked or _first(_inputs(note.attributes, "model"), [])
            answered = answered or _first(_outputs(note.attributes, "model"), [])
        elif note.name == "gen_ai.content.prompt":
            asked += messages_in(note.attributes.get("gen_ai.prompt"), "user")
        elif note.name == "gen_ai.content.completion":
            answered += messages_in(note.attributes.get("gen_ai.completion"), "assistant")
        elif note.name == "gen_ai.choice":
            answered += _choice(note)
        else:
            asked += _note_message(note)
    return asked, answered, elided


def _choice(note: Note) -> list[Piece]:
    body = note.body if isinstance(note.body, dict) else note.attributes
    message = body.get("message", body)
    pieces = messages_in(message, "assistant")
    return [
        piece if piece.type in GENERATED or piece.type != "user" else Piece(type="assistant", text=piece.text)
        for piece in pieces
    ]


def _note_message(note: Note) -> list[Piece]:
    role = note.name.removeprefix("gen_ai.").removesuffix(".message")
    body = note.body if note.body not in (None, "") else dict(note.attributes)
    return pieces_of(body, role)
