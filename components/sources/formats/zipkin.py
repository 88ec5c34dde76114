"""Zipkin traces (v2), and flat lists of spans whose every field stands at the top level."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from components.contracts import Defect, Json
from components.sources.formats.content import text_of, timestamp
from components.sources.formats.contract import (
    End,
    Format,
    Head,
    LineReader,
    Options,
    Read,
    Verdict,
    accept,
    decline,
)
from components.sources.formats.otel import attributes_of
from components.sources.formats.otel_genai import role_of, told_by
from components.sources.formats.pieces import guarded, mostly, not_an_object
from components.sources.formats.spans import Failure, Span, SpanRuns, nanoseconds

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
    spans = head.lines if head.shape == "lines" else _spans(head.document)
    if mostly(spans, _is_zipkin):
        return accept("spans with `traceId`, `id` and an endpoint, as Zipkin writes them")
    return decline("no spans with `traceId` and `id`")


def recognises_flat(head: Head) -> Verdict:
    spans = head.lines if head.shape == "lines" else _spans(head.document)
    if mostly(spans, _is_flat):
        return accept("flat spans with a trace id, a span id and a name")
    return decline("no flat spans with a trace id, a span id and a name")


def zipkin_span(index: int, span: Json) -> Span | Defect:
    """One Zipkin span; times are in µs. The two halves of a shared span keep one id and differ in kind."""
    if not isinstance(span, dict):
        return not_an_object(index, span)
    tags = span.get("tags")
    tags = dict(tags) if isinstance(tags, dict) else {}
    endpoint = span.get("localEndpoint")
    start = _microseconds(span.get("timestamp"))
    duration = _microseconds(span.get("duration"))
    failed = "error" in tags and str(tags["error"]).lower() != "false"
    message = text_of(tags.get("error")) if failed else ""
    remote = span.get("remoteEndpoint")
    if isinstance(remote, dict) and isinstance(peer := remote.get("serviceName"), str):
        tags.setdefault("peer.service", peer)
    return _finished(
        tags,
        trace_id=text_of(span.get("traceId")),
        span_id=text_of(span.get("id")),
        parent_id=text_of(span.get("parentId")),
        name=text_of(span.get("name")),
        service=text_of(endpoint.get("serviceName")) if isinstance(endpoint, dict) else "",
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
        zoned=began is None or began.tzinfo is not None,
        events=[event for event in _list(span.get("events")) if isinstance(event, dict)],
    )


def _finished(attributes: dict[str, Json], *, name: str, **fields: Any) -> Span:
    role = role_of(name, attributes)
    told = told_by(role, name, attributes, ())
    conversation = attributes.get("gen_ai.conversation.id")
    failures: tuple[Failure, ...] = ()
    if isinstance(sort := attributes.get("exception.type"), str):
        said = text_of(attributes.get("exception.message"))
        failures = (Failure(text=f"{sort}: {said}" if said else sort),)
    return Span(
        name=name,
        attributes=attributes,
        role=role,
        failures=failures,
        conversation=conversation if isinstance(conversation, str) else "",
        inputs=told.inputs,
        outputs=told.outputs,
        whole=told.whole,
        **fields,
    )


def _annotations(annotations: Json) -> list[Json]:
    values = (text_of(each.get("value")) for each in _list(annotations) if isinstance(each, dict))
    return [{"name": text[:500]} for text in values if text]


def _first(span: Mapping[str, Json], keys: Iterable[str]) -> Json:
    return next((span[key] for key in keys if span.get(key) not in (None, "")), None)


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _number(value: Json) -> float | None:
    return (
        float(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12 else None
    )


def _microseconds(value: Json) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 2**53:
        return None
    return int(value) * 1_000


def _status(status: Json) -> str:
    word = text_of(status).upper().removeprefix("STATUS_CODE_")
    return {"1": "OK", "2": "ERROR", "0": "UNSET", "": "UNSET"}.get(word, word[:20])


def _read(spans: Iterable[Span | Defect], runs: SpanRuns) -> Iterator[Read]:
    found: list[Span] = []
    for span in spans:
        if isinstance(span, Span):
            found.append(span)
        else:
            yield span
    yield from runs.read(found)


def read_zipkin(document: Json, options: Options) -> Iterator[Read]:
    spans = (zipkin_span(index, span) for index, span in enumerate(_spans(document)))
    yield from guarded(0, _read(spans, SpanRuns(options.history)))


def read_flat(document: Json, options: Options) -> Iterator[Read]:
    spans = (flat_span(index, span) for index, span in enumerate(_spans(document)))
    yield from guarded(0, _read(spans, SpanRuns(options.history)))


class Lines:
    """Reads a span a line, or a list of them a line."""

    def __init__(self, state: Json, options: Options, *, flat: bool) -> None:
        self.runs = SpanRuns(options.history, state)
        self.span = flat_span if flat else zipkin_span

    def read(self, item: Json) -> Iterator[Read]:
        spans = item if isinstance(item, list) else [item]
        yield from guarded(0, _read((self.span(0, span) for span in spans), self.runs))

    def state(self) -> Json:
        return self.runs.state()


def zipkin_reader(state: Json, options: Options) -> LineReader:
    return Lines(state, options, flat=False)


def flat_reader(state: Json, options: Options) -> LineReader:
    return Lines(state, options, flat=True)


def _end(spans: list[Json], trace_keys: Iterable[str], parent_keys: Iterable[str]) -> End:
    """A trace whose root span has not arrived is still running."""
    traces: dict[str, bool] = {}
    for span in spans:
        if isinstance(span, dict):
            trace = str(_first(span, trace_keys))
            traces[trace] = traces.get(trace, False) or _first(span, parent_keys) is None
    open_ones = sum(not done for done in traces.values())
    if not traces or open_ones:
        return End(mark=False, reason=f"{open_ones} of {len(traces)} traces have no root span yet")
    return End(mark=True, reason="every trace has its root span")


def end_zipkin(document: Json) -> End:
    return _end(_spans(document), ("traceId",), ("parentId",))


def end_flat(document: Json) -> End:
    return _end(_spans(document), TRACE_KEYS, PARENT_KEYS)


ROWS: Final = (
    Format(name="zipkin", shape="document", recognises=recognises_zipkin, read=read_zipkin, end=end_zipkin),
    Format(name="zipkin", shape="lines", recognises=recognises_zipkin, reader=zipkin_reader),
    Format(name="flat_spans", shape="document", recognises=recognises_flat, read=read_flat, end=end_flat),
    Format(name="flat_spans", shape="lines", recognises=recognises_flat, reader=flat_reader),
)
