"""Spans as the OpenTelemetry SDK prints them to the console, and as Phoenix exports them."""

from __future__ import annotations

from typing import Final

from components.contracts import Defect, Json
from components.sources.formats.content import text_of
from components.sources.formats.defects import not_an_object
from components.sources.formats.otel_spans import build_span, events_of
from components.sources.formats.otel_values import attributes_of, identity, kind_of, status_of
from components.sources.formats.span_runs import Found
from components.sources.formats.times import has_zone, nanoseconds, timestamp
from components.sources.formats.values import mapping, mostly

PHOENIX_KINDS: Final = ("LLM", "TOOL", "CHAIN", "AGENT", "RETRIEVER", "EMBEDDING")


def console_spans(document: Json) -> list[Json]:
    """Spans as the SDK prints them: a list, one, or under `spans`."""
    if isinstance(document, dict) and isinstance(document.get("spans"), list):
        document = document["spans"]
    spans = document if isinstance(document, list) else [document]
    return spans if mostly(spans, is_console) else []


def is_console(span: Json) -> bool:
    """Is it a span as the SDK prints it?"""
    context = span.get("context") if isinstance(span, dict) else None
    return isinstance(context, dict) and "trace_id" in context and "span_id" in context and "name" in span


def console_span(index: int, span: Json) -> Found:
    """One span as the SDK prints it."""
    if not isinstance(span, dict):
        return not_an_object(index, span)
    if not isinstance(context := span.get("context"), dict):
        return Defect(offset=index, reason="a span without `context`")
    began, ended = timestamp(span.get("start_time")), timestamp(span.get("end_time"))
    events, failures = events_of(span.get("events"))
    status, message = status_of(span.get("status") or span.get("status_code"))
    attributes = attributes_of(span.get("attributes"))
    kind = span.get("span_kind")
    if isinstance(kind, str) and kind in PHOENIX_KINDS:
        attributes.setdefault("openinference.span.kind", kind)
    return build_span(
        ids=(
            identity(context.get("trace_id"), 16),
            identity(context.get("span_id"), 8),
            identity(span.get("parent_id"), 8),
        ),
        name=span.get("name"),
        resource=attributes_of(mapping(span.get("resource")).get("attributes")),
        attributes=attributes,
        events=events,
        failures=failures,
        kind=kind_of(span.get("kind")),
        status=status,
        message=message or text_of(span.get("status_message")),
        start_ns=nanoseconds(began),
        end_ns=nanoseconds(ended),
        zoned=has_zone(began),
    )
