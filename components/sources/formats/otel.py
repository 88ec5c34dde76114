"""OpenTelemetry traces: OTLP/JSON (a file or a line a batch), Tempo and Jaeger exports, and the SDK's console spans."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from components.contracts import Json, Skipped
from components.sources.formats.contract import End, Format, Head, Verdict, accept, decline
from components.sources.formats.defects import not_an_object
from components.sources.formats.otel_console import console_span, console_spans, is_console
from components.sources.formats.otel_jaeger import jaeger_roots, jaeger_spans, jaeger_traces
from components.sources.formats.otel_otlp import (
    METRICS,
    holds_spans_alone,
    is_otlp,
    otlp_payload,
    otlp_roots,
    otlp_spans,
)
from components.sources.formats.span_formats import FindSpans, parsed_spans, root_span_end, span_document, span_lines
from components.sources.formats.span_runs import Found
from components.sources.formats.values import mostly

NO_SPANS: Final = Skipped(rule="no spans in this line", is_unknown=True)


def recognises_document(head: Head) -> Verdict:
    """Is it OTLP, or a list of console spans?"""
    document = head.document
    if console_spans(document):
        return accept("spans with a `context` of trace and span id, as the SDK prints them")
    items = document if isinstance(document, list) else [document]
    if mostly(items, is_otlp):
        return accept("OTLP resource spans or logs")
    return decline("neither `resourceSpans`, `resourceLogs` nor `batches` of spans, nor spans with a `context`")


def recognises_lines(head: Head) -> Verdict:
    """Are its lines OTLP or console spans, and not metrics alone?"""
    if mostly(head.lines, lambda line: is_otlp(line) or is_console(line) or _is_metrics(line)) and not all(
        map(_is_metrics, head.lines)
    ):
        return accept("lines of OTLP resource spans or logs, or of spans with a `context`")
    return decline("no lines with `resourceSpans` or `resourceLogs`, nor spans with a `context`")


def recognises_jaeger(head: Head) -> Verdict:
    """Does it hold traces of Jaeger?"""
    if jaeger_traces(head.document):
        return accept("traces of spans with `operationName` and `spanID`")
    return decline("no `data` or trace whose `spans` have `operationName` and `spanID`")


def _is_metrics(line: Json) -> bool:
    return isinstance(line, dict) and "resourceMetrics" in line and not is_otlp(line)


def _document_spans(document: Json) -> Iterator[Found]:
    if console := console_spans(document):
        yield from (console_span(index, span) for index, span in enumerate(console))
        return
    for index, item in enumerate(document if isinstance(document, list) else [document]):
        if not isinstance(item, dict):
            yield not_an_object(index, item)
        elif is_otlp(item) or "resourceMetrics" in item:
            yield from otlp_spans(index, otlp_payload(item))
        else:
            yield NO_SPANS


def _line_spans(item: Json) -> Iterator[Found]:
    if not isinstance(item, dict):
        yield not_an_object(0, item)
    elif is_console(item) or is_otlp(item):
        yield from _document_spans(item)
    else:
        yield METRICS if _is_metrics(item) else NO_SPANS


def _jaeger_document_spans(document: Json) -> Iterator[Found]:
    for index, trace in enumerate(jaeger_traces(document)):
        yield from jaeger_spans(index, trace)


def _end(find: FindSpans, document: Json) -> End:
    return root_span_end((span.trace_id, not span.parent_id) for span in parsed_spans(find(document)))


def end_document(document: Json) -> End:
    """Has every trace its root span?"""
    items = document if isinstance(document, list) else [document]
    if all(isinstance(item, dict) and holds_spans_alone(otlp_payload(item)) for item in items):
        return root_span_end(root for item in items for root in otlp_roots(otlp_payload(item)))
    return _end(_document_spans, document)


def end_jaeger(document: Json) -> End:
    """Has every trace its root span?"""
    return root_span_end(root for trace in jaeger_traces(document) for root in jaeger_roots(trace))


ROWS: Final = (
    Format(
        name="otel_genai",
        shape="document",
        recognises=recognises_document,
        read=span_document(_document_spans),
        end=end_document,
    ),
    Format(
        name="otel_genai",
        shape="lines",
        recognises=recognises_lines,
        reader=span_lines(_line_spans),
        is_neutral=_is_metrics,
    ),
    Format(
        name="otel_genai_jaeger",
        shape="document",
        recognises=recognises_jaeger,
        read=span_document(_jaeger_document_spans),
        end=end_jaeger,
    ),
)
