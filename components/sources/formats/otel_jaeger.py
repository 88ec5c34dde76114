"""Spans of Jaeger's JSON exports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from components.contracts import Json
from components.sources.formats.content import text_of
from components.sources.formats.defects import not_an_object
from components.sources.formats.otel_genai import SpanEvent
from components.sources.formats.otel_spans import build_span, failure_of, is_failure
from components.sources.formats.otel_values import attributes_of, identity, kind_of, list_at, status_of
from components.sources.formats.span_runs import Found
from components.sources.formats.spans import Failure, Span
from components.sources.formats.times import nanoseconds_from_us
from components.sources.formats.values import mapping, mostly

JAEGER_TAGS: Final = frozenset({"span.kind", "otel.status_code", "otel.status_description", "internal.span.format"})


def jaeger_traces(document: Json) -> list[Json]:
    """The traces of a Jaeger export: `data` is a list of them or one, or the document is one itself."""
    if not isinstance(document, dict):
        return []
    data = document.get("data")
    traces = data if isinstance(data, list) else [data] if isinstance(data, dict) else [document]
    return traces if any(_is_jaeger(trace) for trace in traces) else []


def _is_jaeger(trace: Json) -> bool:
    if not isinstance(trace, dict) or not isinstance(trace.get("spans"), list):
        return False
    return mostly(trace["spans"], lambda span: isinstance(span, dict) and "operationName" in span and "spanID" in span)


def jaeger_spans(index: int, trace: Json) -> Iterator[Found]:
    """The spans of one Jaeger trace; times are in µs there."""
    if not isinstance(trace, dict):
        yield not_an_object(index, trace)
        return
    processes = mapping(trace.get("processes"))
    resources = {name: _resource(process) for name, process in processes.items()}
    for span in list_at(trace, "spans"):
        if isinstance(span, dict):
            own = span.get("process")
            resource = _resource(own) if own else resources.get(str(span.get("processID")), {})
            yield _jaeger_span(span, resource, trace.get("traceID"))
        else:
            yield not_an_object(index, span)


def jaeger_roots(trace: Json) -> Iterator[tuple[str, bool]]:
    """Of each span the trace id, and whether it is a root."""
    trace_id = mapping(trace).get("traceID")
    for span in list_at(trace, "spans"):
        if isinstance(span, dict):
            yield identity(span.get("traceID") or trace_id, 16), not _jaeger_parent(span)


def _resource(process: Json) -> dict[str, Json]:
    process = mapping(process)
    return {"service.name": process.get("serviceName"), **attributes_of(process.get("tags"))}


def _jaeger_span(span: Mapping[str, Json], resource: Mapping[str, Json], trace_id: Json) -> Span:
    tags = attributes_of(span.get("tags"))
    events, failures = _jaeger_logs(span.get("logs"))
    start = nanoseconds_from_us(span.get("startTime"))
    duration = nanoseconds_from_us(span.get("duration"), allow_zero=True)
    failed = tags.get("error") in (True, "true")
    status, _ = status_of(tags.get("otel.status_code"))
    return build_span(
        ids=(
            identity(span.get("traceID") or trace_id, 16),
            identity(span.get("spanID"), 8),
            _jaeger_parent(span),
        ),
        name=span.get("operationName"),
        resource=resource,
        attributes={key: value for key, value in tags.items() if key not in JAEGER_TAGS},
        events=events,
        failures=failures,
        kind=kind_of(tags.get("span.kind")),
        status="ERROR" if failed and status == "UNSET" else status,
        message=text_of(tags.get("otel.status_description")),
        start_ns=start,
        end_ns=start + duration if start is not None and duration is not None else None,
    )


def _jaeger_parent(span: Mapping[str, Json]) -> str:
    for reference in list_at(span, "references"):
        if isinstance(reference, dict) and reference.get("refType") in ("CHILD_OF", None):
            return identity(reference.get("spanID"), 8)
    return identity(span.get("parentSpanID"), 8)


def _jaeger_logs(logs: Json) -> tuple[list[SpanEvent], list[Failure]]:
    events: list[SpanEvent] = []
    failures: list[Failure] = []
    for log in logs if isinstance(logs, list) else ():
        if not isinstance(log, dict):
            continue
        fields = attributes_of(log.get("fields"))
        name = text_of(fields.pop("event", None)) or "log"
        if is_failure(name, fields):
            failures.append(failure_of(fields, nanoseconds_from_us(log.get("timestamp"))))
        else:
            events.append(SpanEvent(name=name, body=None, attributes=fields))
    return events, failures
