"""Langfuse exports by their documented shape: a trace or session with its observations, or lists and lines of those."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import orjson

from components.contracts import Defect, Json
from components.sources.formats.content import text_of, timestamp, tool_call
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
from components.sources.formats.messages import pieces_of
from components.sources.formats.otel_genai import spoken
from components.sources.formats.pieces import Piece, excerpt, guarded, mostly, not_an_object
from components.sources.formats.spans import Failure, Role, Span, SpanRuns, nanoseconds

ROLES: Final[Mapping[str, Role]] = {"GENERATION": "model", "TOOL": "tool"}
TYPES: Final = frozenset(
    "SPAN GENERATION EVENT AGENT TOOL CHAIN RETRIEVER EVALUATOR EMBEDDING GUARDRAIL".split()  # noqa: SIM905
)


def recognises(head: Head) -> Verdict:
    items = head.lines if head.shape == "lines" else _listed(head.document)
    if mostly(items, lambda item: _is_observation(item) or _is_trace(item) or _is_session(item)):
        return accept("observations with a trace id and a type such as GENERATION, or traces that hold some")
    return decline("no observations with a trace id and a type such as GENERATION")


def _is_observation(item: Json) -> bool:
    return (
        isinstance(item, dict)
        and str(item.get("type")).upper() in TYPES
        and isinstance(item.get("id"), str)
        and _get(item, "traceId", "trace_id") is not None
        and _get(item, "startTime", "start_time") is not None
    )


def _is_trace(item: Json) -> bool:
    found = item.get("observations") if isinstance(item, dict) else None
    return isinstance(found, list) and mostly(found, lambda each: isinstance(each, dict) and "type" in each)


def _is_session(item: Json) -> bool:
    found = item.get("traces") if isinstance(item, dict) else None
    return isinstance(found, list) and mostly(
        found, lambda each: isinstance(each, dict) and "id" in each and "input" in each
    )


def _listed(document: Json) -> list[Json]:
    """The items of an export: a list, a page of the API under `data`, or one."""
    if isinstance(document, dict):
        data = document.get("data")
        return data if isinstance(data, list) else [document]
    return document if isinstance(document, list) else []


def _get(item: Mapping[str, Json], *keys: str) -> Json:
    return next((item[key] for key in keys if item.get(key) is not None), None)


def spans_of(index: int, item: Json, session: str = "") -> Iterator[Span | Defect]:
    """The spans of one exported item: an observation, a trace with its own, or a session with its traces."""
    if not isinstance(item, dict):
        yield not_an_object(index, item)
    elif isinstance(traces := item.get("traces"), list) and "observations" not in item:
        for trace in traces:
            yield from spans_of(index, trace, text_of(item.get("id")))
    elif str(item.get("type")).upper() in TYPES:
        yield _observation(item, session=session)
    elif "observations" in item or "id" in item:
        yield from _trace(index, item, session)
    else:
        yield Defect(offset=index, reason="neither an observation, a trace nor a session", excerpt=excerpt(item))


def _trace(index: int, trace: Mapping[str, Json], session: str) -> Iterator[Span | Defect]:
    session = text_of(_get(trace, "sessionId", "session_id")) or session
    trace_id = text_of(trace.get("id"))
    yield _span(trace, trace_id=trace_id, span_id=trace_id, parent="", session=session, role="other")
    observations = trace.get("observations")
    if isinstance(observations, str):
        observations = _parsed(observations)
    for observation in observations if isinstance(observations, list) else ():
        if isinstance(observation, dict):
            yield _observation(observation, session=session, trace_id=trace_id)
        else:
            yield not_an_object(index, observation)


def _observation(item: Mapping[str, Json], *, session: str, trace_id: str = "") -> Span:
    trace = text_of(_get(item, "traceId", "trace_id")) or trace_id
    parent = text_of(_get(item, "parentObservationId", "parent_observation_id")) or trace_id
    session = text_of(_get(item, "sessionId", "session_id")) or session
    role = ROLES.get(str(item.get("type")).upper(), "other")
    return _span(item, trace_id=trace, span_id=text_of(item.get("id")), parent=parent, session=session, role=role)


def _span(item: Mapping[str, Json], *, trace_id: str, span_id: str, parent: str, session: str, role: Role) -> Span:
    began = timestamp(_get(item, "startTime", "start_time", "timestamp"))
    level = text_of(item.get("level"))
    said = text_of(_get(item, "statusMessage", "status_message"))
    failed = level.upper() == "ERROR"
    inputs, outputs = _told(role, item, is_root=not parent)
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=parent,
        name=text_of(item.get("name")),
        kind=text_of(item.get("type")).lower() or "trace",
        status="ERROR" if failed else "UNSET",
        message=said,
        start_ns=nanoseconds(began),
        end_ns=nanoseconds(timestamp(_get(item, "endTime", "end_time"))),
        zoned=began is None or began.tzinfo is not None,
        attributes=_attributes(item),
        failures=(Failure(text=said),) if failed and said.strip() else (),
        role=role,
        conversation=session,
        inputs=inputs,
        outputs=outputs,
    )


def _attributes(item: Mapping[str, Json]) -> dict[str, Json]:
    usage = _get(item, "usageDetails", "usage_details", "usage")
    usage = usage if isinstance(usage, dict) else {}
    metadata = _parsed(item.get("metadata"))
    found: dict[str, Any] = {
        "type": item.get("type"),
        "level": item.get("level") if item.get("level") != "DEFAULT" else None,
        "environment": item.get("environment"),
        "tags": item.get("tags") or None,
        "user.id": _get(item, "userId", "user_id"),
        "gen_ai.request.model": _get(item, "model", "providedModelName", "provided_model_name"),
        "gen_ai.usage.input_tokens": usage.get("input"),
        "gen_ai.usage.output_tokens": usage.get("output"),
        "metadata": metadata if metadata and not isinstance(metadata, str) else None,
    }
    return {key: value for key, value in found.items() if value is not None}


def _told(role: Role, item: Mapping[str, Json], *, is_root: bool) -> tuple[list[Piece], list[Piece]]:
    asked, answered = _parsed(item.get("input")), _parsed(item.get("output"))
    if role == "tool":
        text = tool_call(text_of(item.get("name")), asked)
        result = pieces_of({"role": "tool", "content": answered})
        return ([Piece(type="tool_call", text=text)] if text else []), result
    if role == "model" or is_root or str(item.get("type")).upper() == "AGENT":
        return spoken(asked, "user"), spoken(answered, "assistant")
    return [], []


def _parsed(value: Json) -> Json:
    """The value itself, or what it spells: some exports hold JSON in strings."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "[", '"'):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return value


def _read(runs: SpanRuns, items: Iterable[tuple[int, Json]]) -> Iterator[Read]:
    found: list[Span] = []
    for index, item in items:
        for span in spans_of(index, item):
            if isinstance(span, Span):
                found.append(span)
            else:
                yield span
    yield from runs.read(found)


def read(document: Json, options: Options) -> Iterator[Read]:
    yield from guarded(0, _read(SpanRuns(options.history), enumerate(_listed(document))))


class Items:
    """Reads an observation, a trace or a session a line."""

    def __init__(self, state: Json, options: Options) -> None:
        self.runs = SpanRuns(options.history, state)

    def read(self, item: Json) -> Iterator[Read]:
        yield from guarded(0, _read(self.runs, [(0, item)]))

    def state(self) -> Json:
        return self.runs.state()


def reader(state: Json, options: Options) -> LineReader:
    return Items(state, options)


def end(document: Json) -> End:
    """An event has no duration; every other observation is over when it has an end time."""
    spans = [span for index, item in enumerate(_listed(document)) for span in _safely(index, item)]
    running = sum(span.end_ns is None and span.kind not in ("event", "trace") for span in spans)
    if running or not spans:
        return End(mark=False, reason=f"{running} of {len(spans)} observations have no end time yet")
    return End(mark=True, reason="every observation has its end time")


def _safely(index: int, item: Json) -> list[Span]:
    try:
        return [span for span in spans_of(index, item) if isinstance(span, Span)]
    except RecursionError:
        return []


ROWS: Final = (
    Format(name="langfuse", shape="document", recognises=recognises, read=read, end=end),
    Format(name="langfuse", shape="lines", recognises=recognises, reader=reader),
)
