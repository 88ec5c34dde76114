"""Received spans as items with keys: each span one item, and each message and failure that it holds.

Spans arrive in any order, from several processes and more than once, so what one becomes depends on itself alone. Its key
is that of trace and span; a message's is that of its run and its text, since each model call repeats the history before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from components.contracts import Defect, Event, Json
from components.sources.formats.deduplication import key_of, short_digest
from components.sources.formats.defects import TOO_DEEP
from components.sources.formats.otel_otlp import otlp_spans
from components.sources.formats.pieces import GENERATED, Piece
from components.sources.formats.span_runs import span_extra
from components.sources.formats.spans import Span, about_span, record_text, time_in


class Item(NamedTuple):
    """An item that has a key. `replaces`: does a later report of it count, or the first one?"""

    event: Event
    replaces: bool = True


class SpanItems(NamedTuple):
    """What one span became: its items, or the reason why it is none."""

    items: Sequence[Item] = ()
    defect: Defect | None = None


def span_items(request: Mapping[str, Json]) -> Iterator[SpanItems]:
    """The spans of an OTLP request, each as its items or as a defect."""
    for found in otlp_spans(0, request):
        if isinstance(found, Defect):
            yield SpanItems(defect=found)
        elif isinstance(found, Span):
            try:
                yield SpanItems(items=list(items_of(found)))
            except RecursionError:
                yield SpanItems(defect=TOO_DEEP)


def items_of(span: Span) -> Iterator[Item]:
    """The span itself, the failures that it recorded, and its messages."""
    run = span.conversation or span.trace_id
    key, when = f"{span.trace_id}-{span.span_id}", time_in(span, span.start_ns)
    text = record_text(span)
    yield Item(Event(0, 0, "span", text, when, run, span_extra(span, text), key=key))
    if not (span.failures or span.inputs or span.outputs):
        return
    about = about_span(span)
    for failure in span.failures:
        extra = {**about, "stacktrace": failure.stacktrace} if failure.stacktrace else about
        key = f"{span.trace_id}-{short_digest(failure.text)}"  # an exception on its way up leaves several spans
        when = time_in(span, failure.at_ns or span.end_ns)
        yield Item(Event(0, 0, "error", failure.text, when, run, extra, key=key), replaces=False)
    yield from _messages(span, run, about)


def _messages(span: Span, run: str, about: Mapping[str, Json]) -> Iterator[Item]:
    """The messages of a span; a list that holds the whole history numbers itself."""
    n_seen: dict[str, int] = {}
    iteration, idx, is_answering = 0, 0, False
    for piece, when in _timed_pieces(span):
        is_generated = piece.type in GENERATED
        if is_generated and not is_answering:
            iteration, idx = iteration + 1, 0
        is_answering = is_generated
        digest = key_of(piece)
        n_seen[digest] = n = n_seen.get(digest, 0) + 1
        key = f"{short_digest(run)}-{digest}" if n == 1 else f"{short_digest(run)}-{digest}-{n}"
        extra = {**about, **piece.extra}
        yield Item(Event(iteration, idx, piece.type, piece.text, when, run, extra, key=key), replaces=False)
        idx += 1


def _timed_pieces(span: Span) -> Iterator[tuple[Piece, datetime | None]]:
    for pieces, at_ns in ((span.inputs, span.start_ns), (span.outputs, span.end_ns)):
        when = time_in(span, at_ns)
        for piece in pieces:
            yield piece, piece.timestamp or when
