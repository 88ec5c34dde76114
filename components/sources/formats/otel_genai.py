"""What a span records of a model: its role, and the messages under the keys that instrumentations use.

The keys: `gen_ai.*.messages` attributes, indexed `gen_ai.prompt.N`, OpenInference's `llm.*_messages.N` or
`input.value`, `gcp.vertex.agent.llm_*`, `pydantic_ai.all_messages`, and log records or span events. The first key
that holds anything counts: the others repeat it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from components.contracts import Json
from components.sources.formats.content import tool_call
from components.sources.formats.messages import pieces_of
from components.sources.formats.payloads import pieces_of_messages, pieces_of_payload
from components.sources.formats.pieces import GENERATED, Piece
from components.sources.formats.spans import Role
from components.sources.formats.values import parse_json

MODEL_OPERATIONS: Final = frozenset({"chat", "generate_content", "text_completion", "completion", "responses"})
ELIDED_CONTENT: Final = "<elided>"
CLAUDE_CODE_TOOL: Final = "claude_code.tool"
MERGED_TOOLS: Final = "(merged tools)"  # one more span around parallel tools, repeating their results


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanEvent:
    """An event of a span, or a log record that belongs to it."""

    name: str
    body: Json
    attributes: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanMessages:
    """The inputs and outputs of a span; `elided` counts the events whose content was not captured."""

    inputs: Sequence[Piece] = ()
    outputs: Sequence[Piece] = ()
    elided: int = 0
    is_history: bool = False  # the outputs are the run's whole history


TOOL_OUTPUT: Final = "tool.output"  # Claude Code's event with what a tool gave
NO_MESSAGES: Final = SpanMessages()
AGENT_OPERATIONS: Final = frozenset({"invoke_agent", "invoke_workflow"})
AGENT_INPUTS: Final = {"user_prompt": True, "input.value": False, "traceloop.entity.input": False}  # key -> of any span
AGENT_OUTPUTS: Final = {
    "agent.response": True,
    "gen_ai.agent.response": True,
    "final_result": True,
    "output.value": False,
    "traceloop.entity.output": False,
}
AGENT_EVENTS: Final = frozenset({"agent.response", "gen_ai.agent.response", "agent.output", "assistant_response"})
EVENT_TEXTS: Final = ("content", "output", "response", "text", "message")
MESSAGE_PREFIXES: Final = ("gen_ai.", "llm.", "gcp.vertex.", "pydantic_ai.", "all_messages")


def role_of(name: str, attributes: Mapping[str, Json]) -> Role:
    """Is a span a model call, a tool's run, or something else?

    >>> role_of("chat gpt-4o", {"gen_ai.operation.name": "chat"}), role_of("GET /", {})
    ('model', 'other')
    """
    operation = attributes.get("gen_ai.operation.name")
    kind = attributes.get("openinference.span.kind") or attributes.get("traceloop.span.kind")
    if attributes.get("gen_ai.tool.name") == MERGED_TOOLS:
        return "other"
    if operation == "execute_tool" or kind in ("TOOL", "tool") or name == CLAUDE_CODE_TOOL:
        return "tool"
    if isinstance(operation, str) and operation:
        return "model" if operation in MODEL_OPERATIONS else "other"
    if kind == "LLM" or attributes.get("llm.request.type") in ("chat", "completion"):
        return "model"
    if name == "call_llm" or "gen_ai.prompt.0.role" in attributes or "gen_ai.completion.0.role" in attributes:
        return "model"
    return "other"


def extract_messages(
    role: Role, name: str, attributes: Mapping[str, Json], events: Sequence[SpanEvent]
) -> SpanMessages:
    """The messages of a span, as pieces in their order."""
    if role == "tool":
        return _tool_messages(name, attributes, events)
    if role == "other" and not events and not _may_hold_messages(tuple(attributes)):  # most spans of most services
        return NO_MESSAGES
    asked, answered, elided = _event_messages(events)
    inputs = _first(_inputs(attributes, role), asked)
    outputs = _first(_outputs(attributes, role), answered)
    if role == "other":
        inputs = inputs or _agent_messages(attributes, AGENT_INPUTS, "user")
        outputs = outputs or _agent_messages(attributes, AGENT_OUTPUTS, "assistant")
    if role == "other" and (history := _history(attributes)):  # an agent's run, recorded as a whole when it is over
        return SpanMessages(outputs=history, is_history=True)
    return SpanMessages(inputs=inputs, outputs=outputs, elided=elided)


def _history(attributes: Mapping[str, Json]) -> list[Piece]:
    whole = pieces_of_messages(
        attributes.get("pydantic_ai.all_messages") or attributes.get("all_messages_events"), "user"
    )
    return _joined(pieces_of_messages(attributes.get("gen_ai.system_instructions"), "system"), whole)


def _agent_messages(attributes: Mapping[str, Json], keys: Mapping[str, bool], role: str) -> list[Piece]:
    """What an agent's span holds of its task or its answer, where no message says it."""
    operation = attributes.get("gen_ai.operation.name")
    is_agent = (
        (isinstance(operation, str) and operation in AGENT_OPERATIONS)
        or attributes.get("openinference.span.kind") == "AGENT"
        or attributes.get("traceloop.span.kind") == "agent"
    )
    named = (attributes[key] for key, anywhere in keys.items() if (anywhere or is_agent) and attributes.get(key))
    return next((pieces for value in named if (pieces := pieces_of_payload(value, role))), [])


@lru_cache(maxsize=4_096)
def _may_hold_messages(keys: tuple[str, ...]) -> bool:
    return any(key.startswith(MESSAGE_PREFIXES) or key in AGENT_INPUTS or key in AGENT_OUTPUTS for key in keys)


@lru_cache(maxsize=4_096)
def _keys_below(prefix: str, keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(key for key in keys if key.startswith(prefix))


def _first(found: Iterable[list[Piece]], otherwise: list[Piece]) -> list[Piece]:
    return next((pieces for pieces in found if pieces), otherwise)


# --- tools ------------------------------------------------------------------------------------------------------------


TOOL_NAMES: Final = ("gen_ai.tool.name", "tool.name", "traceloop.entity.name", "tool_name")
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


def _tool_messages(name: str, attributes: Mapping[str, Json], events: Sequence[SpanEvent]) -> SpanMessages:
    tool = next((named for key in TOOL_NAMES if (named := attributes.get(key))), None)
    tool = tool or name.removeprefix("execute_tool ").strip()
    arguments = next((attributes[key] for key in ARGUMENTS if attributes.get(key) not in (None, "")), None)
    if arguments is None and "full_command" in attributes:  # Claude Code
        arguments = {"command": attributes["full_command"]}
    result = next((attributes[key] for key in RESULTS if attributes.get(key) not in (None, "")), None)
    if result is None:
        result = next((event.attributes.get("output") for event in events if event.name == TOOL_OUTPUT), None)
    call = tool_call(tool, arguments)
    return SpanMessages(
        inputs=[Piece(type="tool_call", text=call)] if call else [],
        outputs=pieces_of({"role": "tool", "content": _tool_result(result)}) if result is not None else [],
    )


def _tool_result(result: Json) -> Json:
    """A tool's result as it was recorded; only an MCP server's answer is taken out of its wrapping."""
    parsed = parse_json(result)
    wrapped = isinstance(parsed, dict) and isinstance(parsed.get("content"), list)
    return parsed if wrapped or not isinstance(result, str) else result


# --- messages in attributes -----------------------------------------------------------------------------------------


def _inputs(attributes: Mapping[str, Json], role: Role) -> Iterator[list[Piece]]:
    system = pieces_of_messages(attributes.get("gen_ai.system_instructions"), "system")
    yield _joined(system, pieces_of_messages(attributes.get("gen_ai.input.messages"), "user"))
    yield _indexed(attributes, "gen_ai.prompt.")
    yield _indexed(attributes, "llm.input_messages.")
    yield _vertex_request(attributes.get("gcp.vertex.agent.llm_request"))
    if role == "model":
        yield pieces_of_messages(attributes.get("input.value"), "user")
        yield pieces_of_messages(attributes.get("traceloop.entity.input"), "user")


def _joined(system: list[Piece], messages: list[Piece]) -> list[Piece]:
    return [*system, *messages] if messages else []


def _outputs(attributes: Mapping[str, Json], role: Role) -> Iterator[list[Piece]]:
    yield pieces_of_messages(attributes.get("gen_ai.output.messages"), "assistant")
    yield _indexed(attributes, "gen_ai.completion.", "assistant")
    yield _indexed(attributes, "llm.output_messages.", "assistant")
    yield _vertex_response(attributes.get("gcp.vertex.agent.llm_response"))
    if role == "model":
        yield pieces_of_messages(attributes.get("output.value"), "assistant")
        yield pieces_of_messages(attributes.get("traceloop.entity.output"), "assistant")


def _vertex_request(value: Json) -> list[Piece]:
    if value is None:
        return []
    request = parse_json(value)
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
    if value is None:
        return []
    response = parse_json(value)
    return pieces_of(response.get("content") if isinstance(response, dict) else response, "assistant")


# --- messages under numbered keys -----------------------------------------------------------------------------------


def _indexed(attributes: Mapping[str, Json], prefix: str, role: str = "user") -> list[Piece]:
    """Messages recorded under `prefix.N.path` keys, by their number."""
    if not (keys := _keys_below(prefix, tuple(attributes))):
        return []
    tree: dict[str, Any] = {}
    for key in keys:
        _insert(tree, key[len(prefix) :].split("."), attributes[key])
    return [piece for node in _numbered(tree) for piece in pieces_of(_flat_message(node), role)]


def _insert(tree: dict[str, Any], path: Sequence[str], value: Json) -> None:
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
    """The message of a numbered node, in the shape of the chat API."""
    if not isinstance(node, dict):
        return node
    message: Mapping[str, Json] = node["message"] if isinstance(node.get("message"), dict) else node
    blocks = [_block(part) for part in _numbered(message.get("contents"))]
    calls = [_flat_call(call) for call in _numbered(message.get("tool_calls"))]
    content = message.get("content")
    if content in (None, "") or any(block.get("type") != "text" for block in blocks):
        content = blocks or content
    if isinstance(content, str) and content.startswith('[{"'):  # structured content as JSON
        content = parse_json(content)
    return {**message, "content": content, "tool_calls": calls}


def _block(part: Json) -> Mapping[str, Json]:
    inner = part.get("message_content") if isinstance(part, dict) else None
    return inner if isinstance(inner, dict) else part if isinstance(part, dict) else {"type": "text", "text": part}


def _flat_call(call: Json) -> Json:
    inner = call.get("tool_call") if isinstance(call, dict) else None
    return inner if isinstance(inner, dict) else call


# --- messages in log records and span events --------------------------------------------------------------------------


def is_message_event(event: SpanEvent) -> bool:
    """Does a span event or log record hold messages of a model, or an agent's answer?"""
    if event.name in AGENT_EVENTS:
        return bool(_answer_text(event))
    return event.name.startswith("gen_ai.") and event.name.endswith(
        (".message", ".choice", ".content.prompt", ".content.completion", ".operation.details")
    )


def _event_messages(events: Sequence[SpanEvent]) -> tuple[list[Piece], list[Piece], int]:
    asked: list[Piece] = []
    answered: list[Piece] = []
    elided = 0
    for event in events:
        if not is_message_event(event):
            continue
        if isinstance(event.body, dict) and event.body.get("content") == ELIDED_CONTENT:
            elided += 1
        elif event.name.endswith(".operation.details"):
            asked = asked or _first(_inputs(event.attributes, "model"), [])
            answered = answered or _first(_outputs(event.attributes, "model"), [])
        elif event.name == "gen_ai.content.prompt":
            asked += pieces_of_messages(event.attributes.get("gen_ai.prompt"), "user")
        elif event.name == "gen_ai.content.completion":
            answered += pieces_of_messages(event.attributes.get("gen_ai.completion"), "assistant")
        elif event.name in AGENT_EVENTS:
            answered += pieces_of_messages(_answer_text(event), "assistant")
        elif event.name == "gen_ai.choice":
            answered += _choice(event)
        else:
            asked += _event_message(event)
    return asked, answered, elided


def _answer_text(event: SpanEvent) -> Json:
    return event.body or next((text for key in EVENT_TEXTS if (text := event.attributes.get(key))), None)


def _choice(event: SpanEvent) -> list[Piece]:
    body = event.body if isinstance(event.body, dict) else event.attributes
    message = body.get("message", body)
    pieces = pieces_of_messages(message, "assistant")
    return [
        piece if piece.type in GENERATED or piece.type != "user" else Piece(type="assistant", text=piece.text)
        for piece in pieces
    ]


def _event_message(event: SpanEvent) -> list[Piece]:
    role = event.name.removeprefix("gen_ai.").removesuffix(".message")
    body = event.body if event.body not in (None, "") else dict(event.attributes)
    return pieces_of(body, role)
