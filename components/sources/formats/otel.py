"""OpenTelemetry traces: OTLP/JSON (a file or a line a batch), Tempo and Jaeger exports, and the SDK's console spans."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from components.contracts import Defect, Json, Skipped
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
from components.sources.formats.otel_genai import Note, is_message_note, role_of, told_by
from components.sources.formats.pieces import Piece, guarded, mostly, not_an_object
from components.sources.formats.spans import LOGGED, Failure, Span, SpanRuns, nanoseconds

METRICS: Final = Skipped(rule="metrics hold no text")
NO_SPANS: Final = Skipped(rule="no spans in this line", is_unknown=True)
KINDS: Final = ("unspecified", "internal", "server", "client", "producer", "consumer")
STATUSES: Final[Mapping[Json, str]] = {
    1: "OK",
    2: "ERROR",
    "1": "OK",
    "2": "ERROR",
    "OK": "OK",
    "ERROR": "ERROR",
    "STATUS_CODE_OK": "OK",
    "STATUS_CODE_ERROR": "ERROR",
    "STATUSCODE.OK": "OK",
    "STATUSCODE.ERROR": "ERROR",
}
JAEGER_TAGS: Final = frozenset({"span.kind", "otel.status_code", "otel.status_description", "internal.span.format"})
EVENT_CHARS: Final = 500

Found = Span | Defect | Skipped


# --- OTLP values ------------------------------------------------------------------------------------------------------


def value_of(value: Json) -> Json:
    """The plain value of an OTLP any-value.

    >>> value_of({"arrayValue": {"values": [{"intValue": "1"}, {"stringValue": "a"}]}})
    [1, 'a']
    """
    if not isinstance(value, dict):
        return value
    for key, inner in value.items():
        match key.replace("_v", "V"):
            case "intValue":
                return int(inner) if isinstance(inner, str) and inner.lstrip("-").isdecimal() else inner
            case "arrayValue":
                return [value_of(each) for each in _list(inner, "values")]
            case "kvlistValue":
                return attributes_of(_list(inner, "values"))
            case "bytesValue":
                return "[bytes]"
            case "stringValue" | "boolValue" | "doubleValue":
                return inner
    return None


def attributes_of(pairs: Json) -> dict[str, Json]:
    """Attributes as a dict, whether they come as OTLP pairs, Jaeger tags or a plain object."""
    if isinstance(pairs, dict):
        return {str(key): value for key, value in pairs.items() if value is not None}
    found: dict[str, Json] = {}
    for pair in pairs if isinstance(pairs, list) else ():
        if isinstance(pair, dict) and isinstance(key := pair.get("key"), str):
            value = value_of(pair.get("value"))
            if value is not None:
                found[key] = value
    return found


def identity(value: Json, size: int) -> str:
    """An id as lower-case hex: OTLP/JSON spells it so, protobuf's own JSON in base64, the SDK with `0x`.

    >>> identity("EEE19B7EC3C1B174", 8), identity("7uGbfsPBsXQ=", 8), identity("0xeee19b7ec3c1b174", 8)
    ('eee19b7ec3c1b174', 'eee19b7ec3c1b174', 'eee19b7ec3c1b174')
    """
    if not isinstance(value, str):
        return ""
    text: str = value.strip().removeprefix("0x")
    if len(text) != 2 * size and len(text) == 4 * ((size + 2) // 3):
        try:
            text = base64.b64decode(text, validate=True).hex()
        except (ValueError, binascii.Error):
            return text
    return "" if not text.strip("0") else text.lower()


def _nanoseconds(value: Json) -> int | None:
    if isinstance(value, str) and value.isdecimal() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**63:
        return None
    return value


def _get(mapping: Mapping[str, Json], *keys: str) -> Json:
    for key in keys:
        if key in mapping:
            return mapping[key]
    return None


def _list(value: Json, *keys: str) -> list[Json]:
    found = _get(value, *keys) if isinstance(value, dict) else None
    return found if isinstance(found, list) else []


def _status(status: Json) -> tuple[str, str]:
    if isinstance(status, dict):
        code = _get(status, "code", "status_code", "statusCode")
        message = _get(status, "message", "description")
    else:
        code, message = status, ""
    key = code.upper() if isinstance(code, str) else code if isinstance(code, int) else ""
    return STATUSES.get(key, "UNSET"), message if isinstance(message, str) else ""


def _kind(kind: Json) -> str:
    if isinstance(kind, int) and 0 <= kind < len(KINDS):
        return KINDS[kind]
    return str(kind or "").rpartition(".")[2].removeprefix("SPAN_KIND_").lower()


# --- one span, from any shape -------------------------------------------------------------------------------------------


def _span(
    *,
    ids: tuple[str, str, str],
    name: Json,
    resource: Mapping[str, Json],
    attributes: dict[str, Json],
    notes: Sequence[Note],
    failures: Sequence[Failure],
    **rest: Any,
) -> Span:
    name = name if isinstance(name, str) else ""
    role = role_of(name, attributes)
    told = told_by(role, name, attributes, notes)
    conversation = attributes.get("gen_ai.conversation.id")
    trace_id, span_id, parent_id = ids
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=parent_id,
        name=name,
        service=str(resource.get("service.name") or ""),
        attributes=attributes,
        events=[_brief(note) for note in notes if not is_message_note(note) and note.name != "exception"],
        failures=failures,
        role=role,
        conversation=str(conversation) if isinstance(conversation, str | int) else "",
        inputs=told.inputs,
        outputs=told.outputs,
        elided=told.elided,
        whole=told.whole,
        **rest,
    )


def _brief(note: Note) -> dict[str, Json]:
    """An event as it is kept beside a span: long values cut."""
    kept = {
        key: value[:EVENT_CHARS] if isinstance(value, str) else value
        for key, value in note.attributes.items()
        if isinstance(value, str | int | float)
    }
    return {"name": note.name, **({"attributes": kept} if kept else {})}


def _failure(attributes: Mapping[str, Json], at_ns: int | None) -> Failure:
    sort = text_of(attributes.get("exception.type"))
    message = text_of(attributes.get("exception.message"))
    stacktrace = text_of(attributes.get("exception.stacktrace"))
    text = ": ".join(word for word in (sort, message) if word.strip()) or stacktrace.strip() or "exception"
    return Failure(text=text, at_ns=at_ns, stacktrace=stacktrace)


def _notes(events: Json) -> tuple[list[Note], list[Failure]]:
    notes: list[Note] = []
    failures: list[Failure] = []
    for event in events if isinstance(events, list) else ():
        if not isinstance(event, dict):
            continue
        name, attributes = str(event.get("name") or ""), attributes_of(event.get("attributes"))
        if name == "exception" or "exception.type" in attributes:
            at = _get(event, "timeUnixNano", "time_unix_nano")
            at_ns = _nanoseconds(at) if at is not None else nanoseconds(timestamp(event.get("timestamp")))
            failures.append(_failure(attributes, at_ns))
        else:
            notes.append(Note(name=name, body=None, attributes=attributes))
    return notes, failures


# --- OTLP and Tempo -------------------------------------------------------------------------------------------------------


def _payload(item: Mapping[str, Json]) -> Mapping[str, Json]:
    """The OTLP object that an item is, or that Tempo wraps as `trace`."""
    inner = item.get("trace")
    return inner if isinstance(inner, dict) and _is_otlp(inner) else item


OTLP_KEYS: Final = ("resourceSpans", "resource_spans", "resourceLogs", "resource_logs")


def _is_otlp(item: Json) -> bool:
    if not isinstance(item, dict):
        return False
    if isinstance(inner := item.get("trace"), dict):
        item = inner
    if any(isinstance(item.get(key), list) for key in OTLP_KEYS):
        return True
    batches = item.get("batches")
    return isinstance(batches, list) and any(_scopes(batch) for batch in batches)


def _scopes(resource_spans: Json) -> list[Json]:
    return _list(resource_spans, "scopeSpans", "scope_spans", "instrumentationLibrarySpans", "ilSpans")


def otlp_spans(index: int, payload: Mapping[str, Json]) -> Iterator[Found]:
    """The spans of one OTLP object, and the log records beside them: attached to their spans, or standing alone."""
    notes, loose = _records(payload)
    for group in _list(payload, "resourceSpans", "resource_spans", "batches"):
        if not isinstance(group, dict):
            yield not_an_object(index, group)
            continue
        resource = attributes_of(group["resource"].get("attributes")) if _has_resource(group) else {}
        for scope in _scopes(group):
            for span in _list(scope, "spans"):
                if isinstance(span, dict):
                    yield _otlp_span(span, resource, notes)
                else:
                    yield not_an_object(index, span)
    for (trace_id, span_id), left in notes.items():  # their spans come later, or elsewhere
        yield _noted_span(trace_id, span_id, left)
    yield from loose
    if "resourceMetrics" in payload:
        yield METRICS


def _has_resource(group: Json) -> bool:
    return isinstance(group, dict) and isinstance(group.get("resource"), dict)


def _otlp_span(span: Mapping[str, Json], resource: Mapping[str, Json], records: _Records) -> Span:
    trace_id = identity(_get(span, "traceId", "trace_id"), 16)
    span_id = identity(_get(span, "spanId", "span_id"), 8)
    notes, failures = _notes(span.get("events"))
    recorded = records.pop((trace_id, span_id), None)
    status, message = _status(span.get("status"))
    return _span(
        ids=(trace_id, span_id, identity(_get(span, "parentSpanId", "parent_span_id"), 8)),
        name=span.get("name"),
        resource=resource,
        attributes=attributes_of(span.get("attributes")),
        notes=[*notes, *(recorded.notes if recorded else ())],
        failures=failures,
        kind=_kind(span.get("kind")),
        status=status,
        message=message,
        start_ns=_nanoseconds(_get(span, "startTimeUnixNano", "start_time_unix_nano")),
        end_ns=_nanoseconds(_get(span, "endTimeUnixNano", "end_time_unix_nano")),
    )


class _Recorded:
    """The log records of one span."""

    __slots__ = ("at_ns", "notes", "resource")

    def __init__(self, resource: Mapping[str, Json], at_ns: int | None) -> None:
        self.notes: list[Note] = []
        self.resource = resource
        self.at_ns = at_ns


_Records = dict[tuple[str, str], _Recorded]


def _records(payload: Mapping[str, Json]) -> tuple[_Records, list[Found]]:
    """Log records that tell messages, by their span, and the other ones, each as a record of its own."""
    told: _Records = {}
    loose: list[Found] = []
    for group in _list(payload, "resourceLogs", "resource_logs"):
        resource = attributes_of(group["resource"].get("attributes")) if _has_resource(group) else {}
        for scope in _list(group, "scopeLogs", "scope_logs", "instrumentationLibraryLogs"):
            for record in _list(scope, "logRecords", "log_records"):
                if not isinstance(record, dict):
                    loose.append(not_an_object(0, record))
                    continue
                note = _note(record)
                key = identity(_get(record, "traceId", "trace_id"), 16), identity(_get(record, "spanId", "span_id"), 8)
                if is_message_note(note):
                    told.setdefault(key, _Recorded(resource, _logged_at(record))).notes.append(note)
                else:
                    loose.append(_log_span(key, note, record, resource))
    return told, loose


def _note(record: Mapping[str, Json]) -> Note:
    attributes = attributes_of(record.get("attributes"))
    name = _get(record, "eventName", "event_name") or attributes.get("event.name") or ""
    return Note(name=str(name), body=value_of(record.get("body")), attributes=attributes)


def _logged_at(record: Mapping[str, Json]) -> int | None:
    time = _nanoseconds(_get(record, "timeUnixNano", "time_unix_nano"))
    return time or _nanoseconds(_get(record, "observedTimeUnixNano", "observed_time_unix_nano"))


def _noted_span(trace_id: str, span_id: str, recorded: _Recorded) -> Span:
    told = told_by("model", "", {}, recorded.notes)
    own = (note.attributes.get("gen_ai.conversation.id") for note in recorded.notes)
    conversation = next((name for name in own if isinstance(name, str)), "")
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        kind=LOGGED,
        service=str(recorded.resource.get("service.name") or ""),
        start_ns=recorded.at_ns,
        role="model",
        conversation=conversation,
        inputs=told.inputs,
        outputs=told.outputs,
        elided=told.elided,
    )


def _log_span(key: tuple[str, str], note: Note, record: Mapping[str, Json], resource: Mapping[str, Json]) -> Found:
    """A plain log record: its text is what was logged, an error where the log says so."""
    text = text_of(note.body) or note.name
    if not text.strip():
        return Skipped(rule="empty message")
    severity = str(_get(record, "severityText", "severity_text") or "")
    number = _get(record, "severityNumber", "severity_number")
    failed = (isinstance(number, int) and number >= 17) or severity.upper().startswith(("ERR", "FATAL"))
    return Span(
        trace_id=key[0],
        span_id="",
        parent_id=key[1],
        name=note.name,
        service=str(resource.get("service.name") or ""),
        kind=severity,
        start_ns=_logged_at(record),
        attributes=note.attributes,
        role="log",
        inputs=[Piece(type="error" if failed else "log", text=text)],
    )


# --- Jaeger ---------------------------------------------------------------------------------------------------------------


def _jaeger_traces(document: Json) -> list[Json]:
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
    processes = trace.get("processes") if isinstance(trace.get("processes"), dict) else {}
    for span in _list(trace, "spans"):
        if isinstance(span, dict):
            yield _jaeger_span(span, processes or {}, trace.get("traceID"))
        else:
            yield not_an_object(index, span)


def _jaeger_span(span: Mapping[str, Json], processes: Mapping[str, Json], trace_id: Json) -> Span:
    tags = attributes_of(span.get("tags"))
    process = span.get("process") or processes.get(str(span.get("processID")))
    process = process if isinstance(process, dict) else {}
    notes, failures = _jaeger_logs(span.get("logs"))
    start, duration = _microseconds(span.get("startTime")), _microseconds(span.get("duration"), zero=True)
    failed = tags.get("error") in (True, "true")
    status, _ = _status(tags.get("otel.status_code"))
    return _span(
        ids=(
            identity(span.get("traceID") or trace_id, 16),
            identity(span.get("spanID"), 8),
            _jaeger_parent(span),
        ),
        name=span.get("operationName"),
        resource={"service.name": process.get("serviceName"), **attributes_of(process.get("tags"))},
        attributes={key: value for key, value in tags.items() if key not in JAEGER_TAGS},
        notes=notes,
        failures=failures,
        kind=_kind(tags.get("span.kind")),
        status="ERROR" if failed and status == "UNSET" else status,
        message=text_of(tags.get("otel.status_description")),
        start_ns=start,
        end_ns=start + duration if start is not None and duration is not None else None,
    )


def _microseconds(value: Json, *, zero: bool = False) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not (0 <= value < 2**53):
        return None
    return int(value) * 1_000 if value or zero else None


def _jaeger_parent(span: Mapping[str, Json]) -> str:
    for reference in _list(span, "references"):
        if isinstance(reference, dict) and reference.get("refType") in ("CHILD_OF", None):
            return identity(reference.get("spanID"), 8)
    return identity(span.get("parentSpanID"), 8)


def _jaeger_logs(logs: Json) -> tuple[list[Note], list[Failure]]:
    notes: list[Note] = []
    failures: list[Failure] = []
    for log in logs if isinstance(logs, list) else ():
        if not isinstance(log, dict):
            continue
        fields = attributes_of(log.get("fields"))
        name = text_of(fields.pop("event", None)) or "log"
        if name == "exception" or "exception.type" in fields:
            failures.append(_failure(fields, _microseconds(log.get("timestamp"))))
        else:
            notes.append(Note(name=name, body=None, attributes=fields))
    return notes, failures


# --- the SDK's console --------------------------------------------------------------------------------------------------


def _console_spans(document: Json) -> list[Json]:
    """Spans as the SDK prints them: a list, one, or under `spans`."""
    if isinstance(document, dict) and isinstance(document.get("spans"), list):
        document = document["spans"]
    spans = document if isinstance(document, list) else [document]
    return spans if mostly(spans, _is_console) else []


def _is_console(span: Json) -> bool:
    context = span.get("context") if isinstance(span, dict) else None
    return isinstance(context, dict) and "trace_id" in context and "span_id" in context and "name" in span


def console_span(index: int, span: Json) -> Found:
    if not isinstance(span, dict) or not isinstance(context := span.get("context"), dict):
        return not_an_object(index, span) if not isinstance(span, dict) else _no_context(index)
    began, ended = timestamp(span.get("start_time")), timestamp(span.get("end_time"))
    notes, failures = _notes(span.get("events"))
    status, message = _status(span.get("status") or span.get("status_code"))
    resource = span.get("resource")
    attributes = attributes_of(span.get("attributes"))
    sort = span.get("span_kind")
    if isinstance(sort, str) and sort in ("LLM", "TOOL", "CHAIN", "AGENT", "RETRIEVER", "EMBEDDING"):  # Phoenix
        attributes.setdefault("openinference.span.kind", sort)
    return _span(
        ids=(
            identity(context.get("trace_id"), 16),
            identity(context.get("span_id"), 8),
            identity(span.get("parent_id"), 8),
        ),
        name=span.get("name"),
        resource=attributes_of(resource.get("attributes")) if isinstance(resource, dict) else {},
        attributes=attributes,
        notes=notes,
        failures=failures,
        kind=_kind(span.get("kind")),
        status=status,
        message=message or text_of(span.get("status_message")),
        start_ns=nanoseconds(began),
        end_ns=nanoseconds(ended),
        zoned=began is None or began.tzinfo is not None,
    )


def _no_context(index: int) -> Defect:
    return Defect(offset=index, reason="a span without `context`")


# --- rows -----------------------------------------------------------------------------------------------------------------


def _otel_spans(document: Json) -> Iterator[Found]:
    if console := _console_spans(document):
        yield from (console_span(index, span) for index, span in enumerate(console))
        return
    for index, item in enumerate(document if isinstance(document, list) else [document]):
        if not isinstance(item, dict):
            yield not_an_object(index, item)
        elif _is_otlp(item) or "resourceMetrics" in item:
            yield from otlp_spans(index, _payload(item))
        else:
            yield NO_SPANS


def _all_jaeger(document: Json) -> Iterator[Found]:
    for index, trace in enumerate(_jaeger_traces(document)):
        yield from jaeger_spans(index, trace)


def _read_batch(runs: SpanRuns, found: Iterable[Found]) -> Iterator[Read]:
    spans: list[Span] = []
    for each in found:
        if isinstance(each, Span):
            spans.append(each)
        else:
            yield each
    yield from runs.read(spans)


def recognises_document(head: Head) -> Verdict:
    document = head.document
    if _console_spans(document):
        return accept("spans with a `context` of trace and span id, as the SDK prints them")
    items = document if isinstance(document, list) else [document]
    if mostly(items, _is_otlp):
        return accept("OTLP resource spans or logs")
    return decline("neither `resourceSpans`, `resourceLogs` nor `batches` of spans, nor spans with a `context`")


def recognises_lines(head: Head) -> Verdict:
    if mostly(head.lines, lambda line: _is_otlp(line) or _is_console(line) or _is_metrics(line)) and not all(
        map(_is_metrics, head.lines)
    ):
        return accept("lines of OTLP resource spans or logs, or of spans with a `context`")
    return decline("no lines with `resourceSpans` or `resourceLogs`, nor spans with a `context`")


def _is_metrics(line: Json) -> bool:
    return isinstance(line, dict) and "resourceMetrics" in line and not _is_otlp(line)


def recognises_jaeger(head: Head) -> Verdict:
    if _jaeger_traces(head.document):
        return accept("traces of spans with `operationName` and `spanID`")
    return decline("no `data` or trace whose `spans` have `operationName` and `spanID`")


def read_document(document: Json, options: Options) -> Iterator[Read]:
    yield from guarded(0, _read_batch(SpanRuns(options.history), _otel_spans(document)))


def read_jaeger(document: Json, options: Options) -> Iterator[Read]:
    yield from guarded(0, _read_batch(SpanRuns(options.history), _all_jaeger(document)))


class Batches:
    """Reads a batch of spans a line; what it remembers of open runs lets another one read on."""

    def __init__(self, state: Json, options: Options) -> None:
        self.runs = SpanRuns(options.history, state)

    def read(self, item: Json) -> Iterator[Read]:
        if not isinstance(item, dict):
            yield not_an_object(0, item)
        elif _is_console(item) or _is_otlp(item):
            yield from guarded(0, _read_batch(self.runs, _otel_spans(item)))
        else:
            yield METRICS if _is_metrics(item) else NO_SPANS

    def state(self) -> Json:
        return self.runs.state()


def reader(state: Json, options: Options) -> LineReader:
    return Batches(state, options)


def _end(found: Iterable[Found]) -> End:
    """A span is exported when it ends, the root last: a trace without its root is still running."""
    traces: dict[str, bool] = {}
    for span in found:
        if isinstance(span, Span):
            traces[span.trace_id] = traces.get(span.trace_id, False) or not span.parent_id
    open_ones = sum(not done for done in traces.values())
    if not traces or open_ones:
        return End(mark=False, reason=f"{open_ones} of {len(traces)} traces have no root span yet")
    return End(mark=True, reason="every trace has its root span")


def _safely(found: Iterable[Found]) -> Iterator[Found]:
    try:
        yield from found
    except RecursionError:
        return


def end_document(document: Json) -> End:
    return _end(_safely(_otel_spans(document)))


def end_jaeger(document: Json) -> End:
    return _end(_safely(_all_jaeger(document)))


ROWS: Final = (
    Format(name="otel_genai", shape="document", recognises=recognises_document, read=read_document, end=end_document),
    Format(name="otel_genai", shape="lines", recognises=recognises_lines, reader=reader, is_neutral=_is_metrics),
    Format(name="otel_genai_jaeger", shape="document", recognises=recognises_jaeger, read=read_jaeger, end=end_jaeger),
)
