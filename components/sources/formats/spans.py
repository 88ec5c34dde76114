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
from components.sources.formats.values import SCALARS

Role = Literal["model", "tool", "log", "other"]

LOGGED: Final = "log"  # the kind of a span that is known from its log records alone

BUCKETS: Final = ((10.0, "<10ms"), (100.0, "<100ms"), (1_000.0, "<1s"), (10_000.0, "<10s"), (100_000.0, "<100s"))
VALUE_CHARS: Final = 1_000  # of one attribute inside a span's text
DESCRIPTION: Final = "otel.status_description"  # OpenTelemetry's name for a status message among attributes
ATTRIBUTE_CHARS: Final = (
    8_000  # of all of them; a model reads some 1,000, and instrumentations write up to 10,000 values
)
REMEMBERED_KEYS: Final = 200  # of one span; spans with more are rare, and each of them has other keys
_MORE: Final = " more attributes"

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
SAID: Final = frozenset(
    {"user_prompt", "user_prompt_length", "final_result", "agent.response", "gen_ai.agent.response"}
)
_ID: Final = re.compile(  # keys that name one session, user or call: spans which differ in nothing else are alike
    r"(?:.*[._-])?(?:session|user|enduser|end_user|visitor|chat|conversation|thread|request|client_request|response|call"
    r"|tool_use|invocation|message|run|trace|span|parent_span|correlation|transaction|account|organization|installation"
    r"|prompt|event)[._-]?(?:u?u?id|guid|hash)"
    r"|(?:.*[._-])?(?:user|enduser|end_user|visitor)[._-](?:e?mail|account_uuid|username|name|full_name|display_id)"
    r"|(?:.*\.)?enduser\..*|(?:a2a|gen_ai)\.task\.id"
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
    "gen_ai.usage.cost": "cost",
    "llm.cost.total": "cost",
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

    Nested values are canonical JSON; bodies of messages, and ids of sessions, users and calls, are left out.

    >>> span_text(service="shop", operation="pay", status="OK", duration_ms=12.5, attributes={"b": {"y": 1}, "a": True})
    'shop pay OK in <100ms attributes: a=true b={"y":1}'
    """
    pairs, left_out = _pairs(attributes)
    more = f" … {len(left_out):,}{_MORE}" if left_out else ""
    return _joined_text(service.strip(), operation.strip(), status, duration_ms, pairs) + more


def _joined_text(service: str, operation: str, status: str, duration_ms: float | None, pairs: Sequence[str]) -> str:
    head = " ".join(word for word in (service, operation, status) if word)
    took = "" if duration_ms is None else f" in {duration_bucket(duration_ms)}"
    return f"{head}{took} attributes: {' '.join(pairs)}" if pairs else f"{head}{took}"


def _pairs(attributes: Mapping[str, Json]) -> tuple[list[str], Sequence[str]]:
    """`key=value` of the attributes that fit into a span's text, by key; and the keys of those that do not."""
    keys = keys_of(tuple(attributes)).text
    pairs: list[str] = []
    n_chars = 0
    for at, key in enumerate(keys):
        pairs.append(f"{key[:VALUE_CHARS]}={_value_text(attributes[key])}")
        n_chars += len(pairs[-1])
        if n_chars > ATTRIBUTE_CHARS:
            return pairs[:-1], keys[at:]
    return pairs, ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What the keys of a span's attributes are for; most spans of a trace share theirs with many others.

    `text`: those in its text, sorted; `whole_text`: with ids, as the text was made before; `about`: those kept beside it,
    and under which name; `ids`: the ids without such a name; `bodies`: those of messages.
    """

    text: tuple[str, ...]
    whole_text: tuple[str, ...]
    about: tuple[tuple[str, str], ...]
    ids: tuple[str, ...]
    bodies: tuple[str, ...]


def keys_of(keys: tuple[str, ...]) -> Keys:
    """What these keys of attributes are for.

    >>> keys_of(("session.id", "enduser.id", "http.route", "gen_ai.tool.name")).ids
    ('enduser.id',)
    """
    return _remembered_keys(keys) if len(keys) <= REMEMBERED_KEYS else _keys(keys)


def _keys(keys: tuple[str, ...]) -> Keys:
    whole = tuple(key for key in sorted(keys) if not key.startswith(BODIES))
    ids = {key for key in keys if _ID.fullmatch(key.lower())}
    return Keys(
        text=tuple(key for key in whole if key not in ids and key not in SAID),
        whole_text=whole,
        about=tuple((key, name) for key, name in ABOUT.items() if key in keys),
        ids=tuple(key for key in keys if key in ids and key not in ABOUT),
        bodies=tuple(key for key in keys if key.startswith(BODIES)),
    )


_remembered_keys = lru_cache(maxsize=4_096)(_keys)


def unseen_attributes(span: Span, text: str) -> dict[str, Json]:
    """The attributes that neither the span's text, nor its messages, nor its ids, nor `about_span` hold."""
    kept = [*_pairs(span.attributes)[1]] if text.endswith(_MORE) else []
    if not (span.inputs or span.outputs):
        kept += keys_of(tuple(span.attributes)).bodies
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


def former_record_text(span: Span) -> str:
    """The text as earlier versions made it: with ids, without bounds, and without the reason of a failure."""
    keys = keys_of(tuple(span.attributes)).whole_text
    pairs = [f"{key}={_value_text(span.attributes[key])}" for key in keys]
    return _joined_text(span.service, span.name, span.status, duration_ms(span), pairs)


def _failure_text(span: Span) -> str:
    return span.message.strip() or (span.failures[0].text.strip() if span.failures else "")


def about_span(span: Span) -> dict[str, Any]:
    """What is kept of a span beside its text."""
    extra: dict[str, Any] = {}
    if span.trace_id:
        extra["trace_id"] = span.trace_id
    if span.span_id:
        extra["span_id"] = span.span_id
    if span.parent_id:
        extra["parent_span_id"] = span.parent_id
    if span.name:
        extra["span"] = span.name
    if span.service:
        extra["service"] = span.service
    if span.status and span.status != "UNSET":
        extra["status"] = span.status
    if (took := duration_ms(span)) is not None:
        extra["duration_ms"] = took
    for key, name in keys_of(tuple(span.attributes)).about:
        if name not in extra and isinstance(value := span.attributes[key], SCALARS) and value != "":
            extra[name] = value
    return extra


def time_in(span: Span, at_ns: int | None) -> datetime | None:
    """A moment of the span as a datetime, naive where the log's times have no zone."""
    when = timestamp(at_ns)
    return when.replace(tzinfo=None) if when and not span.zoned else when
