"""Traces in the store: kept at once, embedded by the next index, and found by what they are similar to.

>>> from components.pipeline import Pipeline
>>> storage = TraceStorage(Pipeline())
>>> storage.store_trace_sync({"trace_id": "t", "service": "shop"}).reason  # doctest: +SKIP
'name is missing'
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from components import wiring
from components.contracts import Defect, Event, Record
from components.errors import ModelChanged, UnusableTrace
from components.pipeline import Pipeline
from components.receive.intake import store_all
from components.receive.received import Received
from components.receive.spans import items_of
from components.retry import retry_while_busy
from components.search.filters import Filters
from components.sources.formats.deduplication import short_digest
from components.sources.formats.otel_spans import build_span
from components.sources.formats.spans import Span
from components.sources.formats.times import nanoseconds, timestamp
from components.traces import EmbeddingService, as_json, duration_of, trace_text

if TYPE_CHECKING:
    from components.search.search import Hit

DATASET: Final = "traces"
SOURCE: Final = "traces"
MAX_QUERY_CHARS: Final = 4_000
MOST_EQUAL: Final = 100  # records with the words of a text, among which equal texts are looked for


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTrace:
    """What became of a trace: its record's key, and whether it is news. `reason`: why it is kept as a defect instead."""

    key: str = ""
    is_new: bool = False
    reason: str = ""

    @property
    def is_stored(self) -> bool:
        """Is the trace a record now?"""
        return not self.reason


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarTraces:
    """The records that are most similar to a trace. If the trace `has_fallback` alone, only those of equal text."""

    hits: list[Hit]
    has_fallback: bool = False


class TraceStorage:
    """Traces of one dataset. By default they are compared with the dataset's own model."""

    def __init__(
        self, pipeline: Pipeline, dataset: str = DATASET, *, embeddings: EmbeddingService | None = None
    ) -> None:
        self.pipeline = pipeline
        self.dataset = dataset
        settings = pipeline.settings
        self.embeddings = embeddings or EmbeddingService(settings.model_of(dataset), settings=settings)

    async def store_trace(self, trace: Mapping[str, Any]) -> StoredTrace:
        """Store a trace; it is committed, and nothing is embedded yet, when this returns."""
        return await asyncio.to_thread(self.store_trace_sync, trace)

    def store_trace_sync(self, trace: Mapping[str, Any]) -> StoredTrace:
        """As `store_trace`, for code that is not asynchronous."""
        received, key = Received(source=SOURCE), ""
        maker = wiring.open_maker(self.pipeline.effective_settings(), self.dataset, SOURCE)
        try:
            span = span_of(trace)
        except UnusableTrace as error:
            received.reject(maker, Defect(offset=0, reason=str(error), excerpt=as_json(trace)))
        else:
            for item in items_of(span):
                received.add(maker, item.event, replaces=item.replaces)
                key = key or item.event.key
        store = self.pipeline.store
        (kept,) = retry_while_busy(lambda: store_all(store, self.dataset, [received]))
        reason = received.rejected[0].defect.reason if received.rejected else ""
        return StoredTrace(key="" if reason else key, is_new=kept.new > 0, reason=reason)

    async def similar(self, trace: Mapping[str, Any], k: int = 10) -> SimilarTraces:
        """The spans on the map that are most similar to a trace, which need not be stored.

        Raises `NotFound` before the first index, `ModelChanged` where the map was made by another model.
        """
        return await asyncio.to_thread(self.similar_sync, trace, k)

    def similar_sync(self, trace: Mapping[str, Any], k: int = 10) -> SimilarTraces:
        """As `similar`, for code that is not asynchronous."""
        found = self.embeddings.embed_sync(trace)
        if found.is_fallback:
            return SimilarTraces(hits=self._of_equal_text(trace, k), has_fallback=True)
        model = self.pipeline.snapshot(self.dataset).manifest.model
        if self.embeddings.identity != model:
            raise ModelChanged(
                f"The map was made by model {model}, traces are embedded by {self.embeddings.identity}: index with "
                "recompute=true, or name the map's model."
            )
        spans = Filters(type=("span",))
        return SimilarTraces(
            hits=self.pipeline.search(dataset=self.dataset, vector=found.vector.tolist(), k=k, filters=spans)
        )

    def _of_equal_text(self, trace: Mapping[str, Any], k: int) -> list[Hit]:
        text = self._stored_text(trace)
        if not text:
            return []
        hits = self.pipeline.search(text[:MAX_QUERY_CHARS], self.dataset, mode="words", k=MOST_EQUAL)
        return [hit for hit in hits if hit.record.text == text][:k]

    def _stored_text(self, trace: Mapping[str, Any]) -> str:
        """The text that the trace has once it is stored, without secrets; empty for what is no trace."""
        try:
            event = Event(0, 0, "span", trace_text(trace))
        except UnusableTrace:
            return ""
        made = wiring.open_maker(self.pipeline.effective_settings(), self.dataset, SOURCE).record(event)
        return made.text if isinstance(made, Record) else ""


def span_of(trace: Mapping[str, Any]) -> Span:
    """The span that a trace's dict describes; one without ids is known by its text. Raises `UnusableTrace`."""
    text = trace_text(trace)
    operation = trace.get("operation")
    span = build_span(
        ids=tuple(_id(trace, name) for name in ("trace_id", "span_id", "parent_span_id")),  # type: ignore[arg-type]
        name=trace.get("name") if operation is None else operation,
        resource={"service.name": trace["service"]},
        attributes={str(key): value for key, value in (trace.get("attributes") or {}).items()},
        events=(),
        failures=(),
        status=trace["status"],
        took_ms=duration_of(trace),
        start_ns=nanoseconds(timestamp(trace.get("timestamp"))),
    )
    return span if span.trace_id else replace(span, trace_id=short_digest(text, 16))


def _id(trace: Mapping[str, Any], name: str) -> str:
    value = trace.get(name)
    return value.strip() if isinstance(value, str) else ""
