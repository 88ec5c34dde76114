"""Spans and log records of OTLP/JSON, and of Tempo, which wraps it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from components.contracts import Defect, Json, Skipped
from components.sources.formats.content import json_text, text_of
from components.sources.formats.defects import EMPTY, excerpt, not_an_object, too_deep
from components.sources.formats.otel_genai import SpanEvent, extract_messages, is_message_event
from components.sources.formats.otel_spans import build_span, events_of
from components.sources.formats.otel_values import (
    attributes_of,
    fault_of_id,
    get_any,
    identity,
    integer_nanoseconds,
    kind_of,
    list_at,
    status_of,
    value_of,
)
from components.sources.formats.pieces import Piece
from components.sources.formats.span_runs import Found
from components.sources.formats.spans import LOGGED, Span
from components.sources.formats.values import mapping

METRICS: Final = Skipped(rule="metrics hold no text")
OTLP_KEYS: Final = ("resourceSpans", "resource_spans", "resourceLogs", "resource_logs")


def otlp_payload(item: Mapping[str, Json]) -> Mapping[str, Json]:
    """The OTLP object that an item is, or that Tempo wraps as `trace`."""
    inner = item.get("trace")
    return inner if isinstance(inner, dict) and is_otlp(inner) else item


def is_otlp(item: Json) -> bool:
    """Does it hold spans or logs of OTLP, also as Tempo wraps them?"""
    if not isinstance(item, dict):
        return False
    if isinstance(inner := item.get("trace"), dict):
        item = inner
    if any(isinstance(item.get(key), list) for key in OTLP_KEYS):
        return True
    batches = item.get("batches")
    return isinstance(batches, list) and any(_scopes(batch) for batch in batches)


def _scopes(resource_spans: Json) -> list[Json]:
    return list_at(resource_spans, "scopeSpans", "scope_spans", "instrumentationLibrarySpans", "ilSpans")


def otlp_spans(index: int, payload: Mapping[str, Json]) -> Iterator[Found]:
    """The spans of one OTLP object, and the log records beside them: attached to their spans, or as records of their own."""
    logged, loose = _log_records(payload)
    for group in list_at(payload, "resourceSpans", "resource_spans", "batches"):
        if not isinstance(group, dict):
            yield not_an_object(index, group)
            continue
        resource = _resource(group)
        for scope in _scopes(group):
            for span in list_at(scope, "spans"):
                yield _span_or_defect(index, span, resource, logged)
    for (trace_id, span_id), records in logged.items():  # their spans come later, or are elsewhere
        yield _span_of_records(trace_id, span_id, records)
    yield from loose
    if "resourceMetrics" in payload:
        yield METRICS


def holds_spans_alone(payload: Mapping[str, Json]) -> bool:
    """Has it spans, and no log records, which may be the only trace of a span?"""
    return is_otlp(payload) and payload.keys().isdisjoint(("resourceLogs", "resource_logs"))


def otlp_roots(payload: Mapping[str, Json]) -> Iterator[tuple[str, bool]]:
    """Of each span the trace id, and whether it is a root."""
    for group in list_at(payload, "resourceSpans", "resource_spans", "batches"):
        for scope in _scopes(group):
            for span in list_at(scope, "spans"):
                if isinstance(span, dict):
                    parent = identity(get_any(span, "parentSpanId", "parent_span_id"), 8)
                    yield identity(get_any(span, "traceId", "trace_id"), 16), not parent


def _resource(group: Json) -> dict[str, Json]:
    return attributes_of(mapping(mapping(group).get("resource")).get("attributes"))


def _span_or_defect(index: int, span: Json, resource: Mapping[str, Json], logged: _LoggedBySpan) -> Span | Defect:
    if not isinstance(span, dict):
        return not_an_object(index, span)
    try:
        return _otlp_span(span, resource, logged)
    except RecursionError:
        return too_deep(index)


def _otlp_span(span: Mapping[str, Json], resource: Mapping[str, Json], logged: _LoggedBySpan) -> Span | Defect:
    raw_trace_id, raw_span_id = get_any(span, "traceId", "trace_id"), get_any(span, "spanId", "span_id")
    trace_id, span_id = identity(raw_trace_id, 16), identity(raw_span_id, 8)
    fault = fault_of_id(trace_id, 16, "traceId", raw_trace_id) or fault_of_id(span_id, 8, "spanId", raw_span_id)
    if fault:
        named = f"span {str(span.get('name') or raw_span_id or '')[:100]!r}"
        return Defect(offset=0, reason=f"{named}: {fault}", excerpt=excerpt(json_text(span)))
    events, failures = events_of(span.get("events"))
    records = logged.pop((trace_id, span_id), None)
    status, message = status_of(span.get("status"))
    return build_span(
        ids=(trace_id, span_id, identity(get_any(span, "parentSpanId", "parent_span_id"), 8)),
        name=span.get("name"),
        resource=resource,
        attributes=attributes_of(span.get("attributes")),
        events=[*events, *(records.events if records else ())],
        failures=failures,
        kind=kind_of(span.get("kind")),
        status=status,
        message=message,
        start_ns=integer_nanoseconds(get_any(span, "startTimeUnixNano", "start_time_unix_nano")),
        end_ns=integer_nanoseconds(get_any(span, "endTimeUnixNano", "end_time_unix_nano")),
    )


@dataclass(frozen=True, slots=True)
class _SpanRecords:
    """The log records with messages of one span."""

    resource: Mapping[str, Json]
    at_ns: int | None
    events: list[SpanEvent] = field(default_factory=list)


_LoggedBySpan = dict[tuple[str, str], _SpanRecords]


def _log_records(payload: Mapping[str, Json]) -> tuple[_LoggedBySpan, list[Found]]:
    """Log records that hold messages, by their span, and the other ones, each as a record of its own."""
    logged: _LoggedBySpan = {}
    loose: list[Found] = []
    for group in list_at(payload, "resourceLogs", "resource_logs"):
        resource = _resource(group)
        for scope in list_at(group, "scopeLogs", "scope_logs", "instrumentationLibraryLogs"):
            for record in list_at(scope, "logRecords", "log_records"):
                if not isinstance(record, dict):
                    loose.append(not_an_object(0, record))
                    continue
                event = _log_event(record)
                key = (
                    identity(get_any(record, "traceId", "trace_id"), 16),
                    identity(get_any(record, "spanId", "span_id"), 8),
                )
                if is_message_event(event):
                    logged.setdefault(key, _SpanRecords(resource, _logged_at(record))).events.append(event)
                else:
                    loose.append(_log_span(key, event, record, resource))
    return logged, loose


def _log_event(record: Mapping[str, Json]) -> SpanEvent:
    attributes = attributes_of(record.get("attributes"))
    name = get_any(record, "eventName", "event_name") or attributes.get("event.name") or ""
    return SpanEvent(name=str(name), body=value_of(record.get("body")), attributes=attributes)


def _logged_at(record: Mapping[str, Json]) -> int | None:
    time = integer_nanoseconds(get_any(record, "timeUnixNano", "time_unix_nano"))
    return time or integer_nanoseconds(get_any(record, "observedTimeUnixNano", "observed_time_unix_nano"))


def _span_of_records(trace_id: str, span_id: str, records: _SpanRecords) -> Span:
    """A model call that is known from its log records alone."""
    messages = extract_messages("model", "", {}, records.events)
    own = (event.attributes.get("gen_ai.conversation.id") for event in records.events)
    conversation = next((name for name in own if isinstance(name, str)), "")
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        kind=LOGGED,
        service=str(records.resource.get("service.name") or ""),
        start_ns=records.at_ns,
        role="model",
        conversation=conversation,
        inputs=messages.inputs,
        outputs=messages.outputs,
        elided=messages.elided,
    )


def _log_span(
    key: tuple[str, str], event: SpanEvent, record: Mapping[str, Json], resource: Mapping[str, Json]
) -> Found:
    """A plain log record: its text is what was logged, an error where the log says so."""
    text = text_of(event.body) or event.name
    if not text.strip():
        return EMPTY
    severity = str(get_any(record, "severityText", "severity_text") or "")
    number = get_any(record, "severityNumber", "severity_number")
    failed = (isinstance(number, int) and number >= 17) or severity.upper().startswith(("ERR", "FATAL"))
    return Span(
        trace_id=key[0],
        span_id="",
        parent_id=key[1],
        name=event.name,
        service=str(resource.get("service.name") or ""),
        kind=severity,
        start_ns=_logged_at(record),
        attributes=event.attributes,
        role="log",
        inputs=[Piece(type="error" if failed else "log", text=text)],
    )
