"""Zipkin traces (v2), and flat lists of spans whose fields are all at the top level."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final

from components.contracts import Defect, Json
from components.sources.formats.content import text_of
from components.sources.formats.contract import End, Format, Head, Verdict, accept, decline
from components.sources.formats.defects import not_an_object
from components.sources.formats.otel_genai import extract_messages, role_of
from components.sources.formats.otel_values import attributes_of
from components.sources.formats.span_formats import root_span_end, span_document, span_lines
from components.sources.formats.spans import Failure, Span
from components.sources.formats.times import has_zone, nanoseconds, nanoseconds_from_us, timestamp
from components.sources.formats.values import listed, mapping, mostly

TRACE_KEYS: Final = ("trace_id", "traceId", "traceID", "TraceId")
SPAN_KEYS: Final = ("span_id", "spanId", "spanID", "SpanId")
PARENT_KEYS: Final = ("parent_span_id", "parentSpanId", "parent_id", "ParentSpanId", "parentSpanID")
NAME_KEYS: Final = ("operation", "name", "operation_name", "operationName", "SpanName")
SERVICE_KEYS: Final = ("service", "service_name", "serviceName", "ServiceName")
START_KEYS: Final = ("start_time", "startTime", "start", "timestamp", "Timestamp", "startTimeUnixNano")
END_KEYS: Final = ("end_time", "endTime", "end", "endTimeUnixNano")
ATTRIBUTE_KEYS: Final = ("attributes", "tags", "SpanAttributes", "metadata")
STATUS_KEYS: Final = ("status", "status_code", "statusCode", "StatusCode")

SPAN_MARKS: Final = (
    *END_KEYS,
    *PARENT_KEYS,
    *STATUS_KEYS,
    "duration",
    "duration_ms",
    "durationMs",
    "start_time",
    "startTime",
)


def _is_zipkin(span: Json) -> bool:
    return (
        isinstance(span, dict)
        and isinstance(span.get("traceId"), str)
        and isinstance(span.get("id"), str)
        and ("localEndpoint" in span or "timestamp" in span or "parentId" in span or "kind" in span)
        and not {"type", "input", "output", "startTime"} & span.keys()  # Langfuse observations look alike
    )


def _is_flat(span: Json) -> bool:
    return (
        isinstance(span, dict)
        and not {"message", "msg"} & span.keys()  # a log line within a span names that span too
        and any(key in span for key in SPAN_MARKS)
        and any(isinstance(span.get(key), str) for key in TRACE_KEYS)
        and any(isinstance(span.get(key), str) for key in SPAN_KEYS)
        and any(isinstance(span.get(key), str) for key in NAME_KEYS)
        and not {"run_type", "resourceSpans", "processID", "references"} & span.keys()  # LangSmith, OTLP, Jaeger
    )


def _spans(document: Json) -> list[Json]:
    """The spans of a document: a list, lists within a list (a list of traces), one span, or under `spans`."""
    if isinstance(document, dict):
        inner = document.get("spans")
        return inner if isinstance(inner, list) else [document]
    if not isinstance(document, list):
        return []
    if document and all(isinstance(trace, list) for trace in document):
        return [span for trace in document for span in trace]
    return document


def recognises_zipkin(head: Head) -> Verdict:
    """Are they spans of Zipkin?"""
    spans = head.lines if head.shape == "lines" else _spans(head.document)
    if mostly(spans, _is_zipkin):
        return accept("spans with `traceId`, `id` and an endpoint, as Zipkin writes them")
    return decline("no spans with `traceId` and `id`")


def recognises_flat(head: Head) -> Verdict:
    """Are they flat spans?"""
    spans = head.lines if head.shape == "lines" else _spans(head.document)
    if mostly(spans, _is_flat):
        return accept("flat spans with a trace id, a span id and a name")
    return decline("no flat spans with a trace id, a span id and a name")


def zipkin_span(index: int, span: Json) -> Span | Defect:
    """One Zipkin span; times are in µs. The two halves of a shared span keep one id and differ in kind."""
    if not isinstance(span, dict):
        return not_an_object(index, span)
    tags = dict(mapping(span.get("tags")))
    start = nanoseconds_from_us(span.get("timestamp"))
    duration = nanoseconds_from_us(span.get("duration"))
    failed = "error" in tags and str(tags["error"]).lower() != "false"
    message = text_of(tags.get("error")) if failed else ""
    if isinstance(peer := mapping(span.get("remoteEndpoint")).get("serviceName"), str):
        tags.setdefault("peer.service", peer)
    return _finished(
        tags,
        trace_id=text_of(span.get("traceId")),
        span_id=text_of(span.get("id")),
        parent_id=text_of(span.get("parentId")),
        name=text_of(span.get("name")),
        service=text_of(mapping(span.get("localEndpoint")).get("serviceName")),
        kind=text_of(span.get("kind")).lower(),
        status="ERROR" if failed else "UNSET",
        message="" if message == "true" else message,
        start_ns=start,
        end_ns=start + duration if start is not None and duration is not None else None,
        took_ms=duration / 1e6 if duration is not None else None,
        events=_annotations(span.get("annotations")),
    )


def flat_span(index: int, span: Json) -> Span | Defect:
    """One flat span, by whatever names its fields go."""
    if not isinstance(span, dict):
        return not_an_object(index, span)
    began, ended = timestamp(_first(span, START_KEYS)), timestamp(_first(span, END_KEYS))
    start, end = nanoseconds(began), nanoseconds(ended)
    took_ms = _number(_first(span, ("duration_ms", "durationMs")))
    if end is None and start is not None and took_ms is not None:
        end = start + int(took_ms * 1e6)
    attributes = _first(span, ATTRIBUTE_KEYS)
    status = _first(span, STATUS_KEYS)
    status = status.get("code", status.get("status_code")) if isinstance(status, dict) else status
    return _finished(
        attributes_of(attributes),
        trace_id=text_of(_first(span, TRACE_KEYS)),
        span_id=text_of(_first(span, SPAN_KEYS)),
        parent_id=text_of(_first(span, PARENT_KEYS)),
        name=text_of(_first(span, NAME_KEYS)),
        service=text_of(_first(span, SERVICE_KEYS)),
        kind=text_of(span.get("kind")).lower(),
        status=_status(status),
        message=text_of(_first(span, ("status_message", "statusMessage", "error"))),
        start_ns=start,
        end_ns=end,
        took_ms=took_ms,
        zoned=has_zone(began),
        events=[event for event in listed(span.get("events")) if isinstance(event, dict)],
    )


def _finished(attributes: dict[str, Json], *, name: str, **fields: Any) -> Span:
    role = role_of(name, attributes)
    messages = extract_messages(role, name, attributes, ())
    conversation = attributes.get("gen_ai.conversation.id")
    failures: tuple[Failure, ...] = ()
    if isinstance(type := attributes.get("exception.type"), str):
        message = text_of(attributes.get("exception.message"))
        failures = (Failure(text=f"{type}: {message}" if message else type),)
    return Span(
        name=name,
        attributes=attributes,
        role=role,
        failures=failures,
        conversation=conversation if isinstance(conversation, str) else "",
        inputs=messages.inputs,
        outputs=messages.outputs,
        is_history=messages.is_history,
        **fields,
    )


def _annotations(annotations: Json) -> list[Json]:
    values = (text_of(each.get("value")) for each in listed(annotations) if isinstance(each, dict))
    return [{"name": text[:500]} for text in values if text]


def _first(span: Mapping[str, Json], keys: Iterable[str]) -> Json:
    return next((span[key] for key in keys if span.get(key) not in (None, "")), None)


def _number(value: Json) -> float | None:
    return (
        float(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12 else None
    )


def _status(status: Json) -> str:
    word = text_of(status).upper().removeprefix("STATUS_CODE_")
    return {"1": "OK", "2": "ERROR", "0": "UNSET", "": "UNSET"}.get(word, word[:20])


SpanOf = Callable[[int, Json], Span | Defect]


def _find(span_of: SpanOf, item: Json) -> Iterator[Span | Defect]:
    return (span_of(index, span) for index, span in enumerate(_spans(item)))


def _find_in_line(span_of: SpanOf, item: Json) -> Iterator[Span | Defect]:
    return (span_of(0, span) for span in (item if isinstance(item, list) else [item]))


def _end(spans: list[Json], trace_keys: Iterable[str], parent_keys: Iterable[str]) -> End:
    objects = (span for span in spans if isinstance(span, dict))
    return root_span_end((str(_first(span, trace_keys)), _first(span, parent_keys) is None) for span in objects)


def end_zipkin(document: Json) -> End:
    """Has every trace its root span?"""
    return _end(_spans(document), ("traceId",), ("parentId",))


def end_flat(document: Json) -> End:
    """Has every trace its root span?"""
    return _end(_spans(document), TRACE_KEYS, PARENT_KEYS)


def _rows(
    name: str, recognises: Callable[[Head], Verdict], span_of: SpanOf, end: Callable[[Json], End]
) -> list[Format]:
    read, reader = span_document(partial(_find, span_of)), span_lines(partial(_find_in_line, span_of))
    return [
        Format(name=name, shape="document", recognises=recognises, read=read, end=end),
        Format(name=name, shape="lines", recognises=recognises, reader=reader),
    ]


ROWS: Final = (
    *_rows("zipkin", recognises_zipkin, zipkin_span, end_zipkin),
    *_rows("flat_spans", recognises_flat, flat_span, end_flat),
)
