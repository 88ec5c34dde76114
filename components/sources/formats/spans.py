"""Spans of traces, whatever their source: the value, its text and what is kept beside the text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, Literal

from components.contracts import Json
from components.sources.formats.content import json_text
from components.sources.formats.pieces import Piece
from components.sources.formats.times import timestamp

Role = Literal["model", "tool", "log", "other"]

LOGGED: Final = "log"  # the kind of a span that is known from its log records alone

BUCKETS: Final = ((10.0, "<10ms"), (100.0, "<100ms"), (1_000.0, "<1s"), (10_000.0, "<10s"), (100_000.0, "<100s"))
VALUE_CHARS: Final = 1_000  # of one attribute inside a span's text
DESCRIPTION: Final = "otel.status_description"  # OpenTelemetry's name for a status message among attributes
ATTRIBUTE_CHARS: Final = (
    8_000  # of all of them; a model reads some 1,000, and instrumentations write up to 10,000 values
)
_MORE: Final = " more attributes"
_PERSONAL: Final = re.compile(  # ids of sessions and users separate spans that are alike in all else
    r"(?:^|[._-])(?:session|conversation|thread|visitor|user|enduser|end_user|chat)[._-]?(?:id|uuid|guid|hash|name|email"
    r"|full_name|display_id)$|(?:^|\.)enduser\.",
    re.IGNORECASE,
)

BODIES: Final = (
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.system_instructions",
    "gen_ai.tool.definitions",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "gen_ai.prompt",
    "gen_ai.completion",
    "gcp.vertex.agent.llm_request",
    "gcp.vertex.agent.llm_response",
    "gcp.vertex.agent.tool_call_args",
    "gcp.vertex.agent.tool_response",
    "gcp.vertex.agent.data",
    "llm.input_messages",
    "llm.output_messages",
    "llm.prompts",
    "llm.tools",
    "llm.request.functions",
    "input.value",
    "output.value",
    "traceloop.entity.input",
    "traceloop.entity.output",
    "pydantic_ai.all_messages",
    "all_messages_events",
    "model_request_parameters",
    "logfire.json_schema",
)
ABOUT: Final[Mapping[str, str]] = {
    "gen_ai.request.model": "model",
    "gen_ai.response.model": "model",
    "llm.model_name": "model",
    "gen_ai.agent.name": "agent",
    "agent.name": "agent",
    "gen_ai.tool.name": "tool",
    "tool.name": "tool",
    "gen_ai.tool.call.id": "call_id",
    "gen_ai.usage.input_tokens": "input_tokens",
    "gen_ai.usage.prompt_tokens": "input_tokens",
    "llm.token_count.prompt": "input_tokens",
    "gen_ai.usage.output_tokens": "output_tokens",
    "gen_ai.usage.completion_tokens": "output_tokens",
    "llm.token_count.completion": "output_tokens",
    "session.id": "session_id",
    "user.id": "user_id",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An exception that a span recorded; `at_ns` is None where the log has no time."""

    text: str
    at_ns: int | None = None
    stacktrace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One span; times in ns since 1970, None where the log has none.

    A `model` span is one model call with the messages it received and answered, a `tool` span has its call as input
    and its result as output, a `log` span is a log record. `zoned` is False where the log's times name no zone.
    """

    trace_id: str
    span_id: str
    parent_id: str = ""
    name: str = ""
    service: str = ""
    kind: str = ""
    status: str = "UNSET"
    message: str = ""
    start_ns: int | None = None
    end_ns: int | None = None
    zoned: bool = True
    took_ms: float | None = None  # where the log gives no end
    attributes: Mapping[str, Json] = field(default_factory=dict)
    events: Sequence[Json] = ()
    failures: Sequence[Failure] = ()
    role: Role = "other"
    conversation: str = ""
    inputs: Sequence[Piece] = ()
    outputs: Sequence[Piece] = ()
    elided: int = 0
    is_history: bool = False  # the outputs are the run's whole history


def duration_bucket(duration_ms: float) -> str:
    """The bucket that a duration falls into, so that spans which differ in nothing else share one text.

    >>> duration_bucket(9.99), duration_bucket(10), duration_bucket(1e9)
    ('<10ms', '<100ms', '>=100s')
    """
    return next((name for limit, name in BUCKETS if duration_ms < limit), ">=100s")


def span_text(
    *, service: str, operation: str, status: str, duration_ms: float | None, attributes: Mapping[str, Json]
) -> str:
    """The text of a span: service, operation, status, duration in buckets, attributes sorted by key.

    Nested values are canonical JSON; bodies of messages, and ids of sessions and users, are left out.

    >>> span_text(service="shop", operation="pay", status="OK", duration_ms=12.5, attributes={"b": {"y": 1}, "a": True})
    'shop pay OK in <100ms attributes: a=true b={"y":1}'
    """
    head = " ".join(word for word in (service.strip(), operation.strip(), status) if word)
    took = "" if duration_ms is None else f" in {duration_bucket(duration_ms)}"
    pairs, left_out = _pairs(attributes)
    more = f" … {len(left_out):,}{_MORE}" if left_out else ""
    return f"{head}{took} attributes: {' '.join(pairs)}{more}" if pairs else f"{head}{took}"


def _pairs(attributes: Mapping[str, Json]) -> tuple[list[str], list[str]]:
    """`key=value` of the attributes that fit into a span's text, by key; and the keys of those that do not."""
    keys = sorted(key for key in attributes if _use_of(key) == "text")
    pairs: list[str] = []
    n_chars = 0
    for at, key in enumerate(keys):
        pairs.append(f"{key[:VALUE_CHARS]}={_value_text(attributes[key])}")
        n_chars += len(pairs[-1])
        if n_chars > ATTRIBUTE_CHARS:
            return pairs[:-1], keys[at:]
    return pairs, []


@lru_cache(4_096)
def _use_of(key: str) -> Literal["text", "body", "personal"]:
    """What an attribute of this name is; there are few names, and each span has them again."""
    if key.startswith(BODIES):
        return "body"
    return "personal" if _PERSONAL.search(key) else "text"


def unseen_attributes(span: Span, text: str) -> dict[str, Json]:
    """The attributes that neither the span's text, nor its messages, nor `about_span` hold."""
    has_messages = bool(span.inputs or span.outputs)
    kept = _pairs(span.attributes)[1] if text.endswith(_MORE) else []
    for key in span.attributes:
        use = _use_of(key)
        if (use == "body" and not has_messages) or (use == "personal" and key not in ABOUT):
            kept.append(key)
    return {key: span.attributes[key] for key in sorted(kept)} if kept else {}


def _value_text(value: Json) -> str:
    text = value if isinstance(value, str) else json_text(value)
    return text if len(text) <= VALUE_CHARS else text[:VALUE_CHARS] + "…"


def duration_ms(span: Span) -> float | None:
    """From its start to its end where both are known, else what the log gives."""
    if span.start_ns is None or span.end_ns is None or span.end_ns < span.start_ns:
        return span.took_ms
    return (span.end_ns - span.start_ns) / 1e6


def record_text(span: Span) -> str:
    """The text of a span's own record. That of a failed one says how it failed, by which such spans are alike."""
    attributes = span.attributes
    if span.status == "ERROR" and (said := _failure_text(span)) and said not in map(str, attributes.values()):
        attributes = {**attributes, DESCRIPTION: said}
    return span_text(
        service=span.service,
        operation=span.name,
        status=span.status,
        duration_ms=duration_ms(span),
        attributes=attributes,
    )


def _failure_text(span: Span) -> str:
    return span.message.strip() or (span.failures[0].text.strip() if span.failures else "")


def about_span(span: Span) -> dict[str, Any]:
    """What is kept of a span beside its text."""
    took = duration_ms(span)
    extra: dict[str, Any] = {
        "trace_id": span.trace_id,
        "span_id": span.span_id,
        "parent_span_id": span.parent_id,
        "span": span.name,
        "service": span.service,
        "status": span.status if span.status != "UNSET" else "",
    }
    extra = {key: value for key, value in extra.items() if value}
    if took is not None:
        extra["duration_ms"] = took
    for key, name in ABOUT.items() if ABOUT.keys() & span.attributes.keys() else ():
        if isinstance(value := span.attributes.get(key), str | int | float) and value != "":
            extra.setdefault(name, value)
    return extra


def time_in(span: Span, at_ns: int | None) -> datetime | None:
    """A moment of the span as a datetime, naive where the log's times have no zone."""
    when = timestamp(at_ns)
    return when.replace(tzinfo=None) if when and not span.zoned else when
