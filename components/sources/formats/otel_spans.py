"""A `Span` from what any OpenTelemetry export holds of it: ids, attributes, events and exceptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from components.contracts import Json
from components.sources.formats.content import text_of
from components.sources.formats.otel_genai import SpanEvent, extract_messages, is_message_event, role_of
from components.sources.formats.otel_values import attributes_of, get_any, integer_nanoseconds
from components.sources.formats.spans import Failure, Span
from components.sources.formats.times import nanoseconds, timestamp

EVENT_CHARS: Final = 500


def build_span(
    *,
    ids: tuple[str, str, str],
    name: Json,
    resource: Mapping[str, Json],
    attributes: dict[str, Json],
    events: Sequence[SpanEvent],
    failures: Sequence[Failure],
    **rest: Any,
) -> Span:
    """A span with its role and its messages; `ids` are those of trace, span and parent."""
    name = name if isinstance(name, str) else ""
    role = role_of(name, attributes)
    messages = extract_messages(role, name, attributes, events)
    conversation = attributes.get("gen_ai.conversation.id")
    trace_id, span_id, parent_id = ids
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=parent_id,
        name=name,
        service=str(resource.get("service.name") or "").strip(),
        attributes=attributes,
        events=[_brief(event) for event in events if not is_message_event(event) and event.name != "exception"],
        failures=failures,
        role=role,
        conversation=str(conversation) if isinstance(conversation, str | int) else "",
        inputs=messages.inputs,
        outputs=messages.outputs,
        elided=messages.elided,
        is_history=messages.is_history,
        **rest,
    )


def _brief(event: SpanEvent) -> dict[str, Json]:
    """An event as it is kept in `extra`: long values cut."""
    kept = {
        key: value[:EVENT_CHARS] if isinstance(value, str) else value
        for key, value in event.attributes.items()
        if isinstance(value, str | int | float)
    }
    return {"name": event.name[:EVENT_CHARS], **({"attributes": kept} if kept else {})}


def failure_of(attributes: Mapping[str, Json], at_ns: int | None) -> Failure:
    """The exception that these attributes of an event describe."""
    type = text_of(attributes.get("exception.type"))
    message = text_of(attributes.get("exception.message"))
    stacktrace = text_of(attributes.get("exception.stacktrace"))
    text = ": ".join(word for word in (type, message) if word.strip()) or stacktrace.strip() or "exception"
    return Failure(text=text, at_ns=at_ns, stacktrace=stacktrace)


def is_failure(name: str, attributes: Mapping[str, Json]) -> bool:
    """Is a span's event an exception?"""
    return name == "exception" or "exception.type" in attributes


def events_of(listed: Json) -> tuple[list[SpanEvent], list[Failure]]:
    """A span's events, and the exceptions among them."""
    events: list[SpanEvent] = []
    failures: list[Failure] = []
    for event in listed if isinstance(listed, list) else ():
        if not isinstance(event, dict):
            continue
        name, attributes = str(event.get("name") or ""), attributes_of(event.get("attributes"))
        if is_failure(name, attributes):
            at = get_any(event, "timeUnixNano", "time_unix_nano")
            at_ns = integer_nanoseconds(at) if at is not None else nanoseconds(timestamp(event.get("timestamp")))
            failures.append(failure_of(attributes, at_ns))
        else:
            events.append(SpanEvent(name=name, body=None, attributes=attributes))
    return events, failures
