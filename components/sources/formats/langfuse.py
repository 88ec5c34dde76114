"""Langfuse exports by their documented shape: a trace or session with its observations, or lists and lines of those."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final

from components.contracts import Defect, Json
from components.sources.formats.content import text_of, tool_call
from components.sources.formats.contract import End, Format, Head, Verdict, accept, decline
from components.sources.formats.defects import excerpt, not_an_object
from components.sources.formats.messages import pieces_of
from components.sources.formats.payloads import pieces_of_payload
from components.sources.formats.pieces import Piece
from components.sources.formats.span_formats import end_time_end, parsed_spans, span_document, span_lines
from components.sources.formats.spans import Failure, Role, Span
from components.sources.formats.times import has_zone, nanoseconds, timestamp
from components.sources.formats.values import first_of, listed, mapping, mostly, parse_json

ROLES: Final[Mapping[str, Role]] = {"GENERATION": "model", "TOOL": "tool"}
TYPES: Final = frozenset(
    "SPAN GENERATION EVENT AGENT TOOL CHAIN RETRIEVER EVALUATOR EMBEDDING GUARDRAIL".split()  # noqa: SIM905
)


def recognises(head: Head) -> Verdict:
    """Are they observations, traces or sessions?"""
    items = head.lines if head.shape == "lines" else _listed(head.document)
    if mostly(items, lambda item: _is_observation(item) or _is_trace(item) or _is_session(item)):
        return accept("observations with a trace id and a type such as GENERATION, or traces that hold some")
    return decline("no observations with a trace id and a type such as GENERATION")


def _is_observation(item: Json) -> bool:
    return (
        isinstance(item, dict)
        and str(item.get("type")).upper() in TYPES
        and isinstance(item.get("id"), str)
        and first_of(item, "traceId", "trace_id") is not None
        and first_of(item, "startTime", "start_time") is not None
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
    return listed(document)


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
    session = text_of(first_of(trace, "sessionId", "session_id")) or session
    trace_id = text_of(trace.get("id"))
    yield _span(trace, trace_id=trace_id, span_id=trace_id, parent="", session=session, role="other")
    observations = trace.get("observations")
    if isinstance(observations, str):
        observations = _parse(observations)
    for observation in listed(observations):
        if isinstance(observation, dict):
            yield _observation(observation, session=session, trace_id=trace_id)
        else:
            yield not_an_object(index, observation)


def _observation(item: Mapping[str, Json], *, session: str, trace_id: str = "") -> Span:
    trace = text_of(first_of(item, "traceId", "trace_id")) or trace_id
    parent = text_of(first_of(item, "parentObservationId", "parent_observation_id")) or trace_id
    session = text_of(first_of(item, "sessionId", "session_id")) or session
    role = ROLES.get(str(item.get("type")).upper(), "other")
    return _span(item, trace_id=trace, span_id=text_of(item.get("id")), parent=parent, session=session, role=role)


def _span(item: Mapping[str, Json], *, trace_id: str, span_id: str, parent: str, session: str, role: Role) -> Span:
    began = timestamp(first_of(item, "startTime", "start_time", "timestamp"))
    level = text_of(item.get("level"))
    message = text_of(first_of(item, "statusMessage", "status_message"))
    failed = level.upper() == "ERROR"
    inputs, outputs = _extract_messages(role, item, is_root=not parent)
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=parent,
        name=text_of(item.get("name")),
        kind=text_of(item.get("type")).lower() or "trace",
        status="ERROR" if failed else "UNSET",
        message=message,
        start_ns=nanoseconds(began),
        end_ns=nanoseconds(timestamp(first_of(item, "endTime", "end_time"))),
        zoned=has_zone(began),
        attributes=_attributes(item),
        failures=(Failure(text=message),) if failed and message.strip() else (),
        role=role,
        conversation=session,
        inputs=inputs,
        outputs=outputs,
    )


def _attributes(item: Mapping[str, Json]) -> dict[str, Json]:
    usage = mapping(first_of(item, "usageDetails", "usage_details", "usage"))
    metadata = _parse(item.get("metadata"))
    found: dict[str, Any] = {
        "type": item.get("type"),
        "level": item.get("level") if item.get("level") != "DEFAULT" else None,
        "environment": item.get("environment"),
        "tags": item.get("tags") or None,
        "user.id": first_of(item, "userId", "user_id"),
        "gen_ai.request.model": first_of(item, "model", "providedModelName", "provided_model_name"),
        "gen_ai.usage.input_tokens": usage.get("input"),
        "gen_ai.usage.output_tokens": usage.get("output"),
        "metadata": metadata if metadata and not isinstance(metadata, str) else None,
    }
    return {key: value for key, value in found.items() if value is not None}


def _extract_messages(role: Role, item: Mapping[str, Json], *, is_root: bool) -> tuple[list[Piece], list[Piece]]:
    asked, answered = _parse(item.get("input")), _parse(item.get("output"))
    if role == "tool":
        text = tool_call(text_of(item.get("name")), asked)
        result = pieces_of({"role": "tool", "content": answered})
        return ([Piece(type="tool_call", text=text)] if text else []), result
    if role == "model" or is_root or str(item.get("type")).upper() == "AGENT":
        return pieces_of_payload(asked, "user"), pieces_of_payload(answered, "assistant")
    return [], []


def _parse(value: Json) -> Json:
    """The value itself, or what its JSON holds: some exports keep JSON in strings."""
    return parse_json(value, opening=("{", "[", '"'))


def _document_spans(document: Json) -> Iterator[Span | Defect]:
    return (span for index, item in enumerate(_listed(document)) for span in spans_of(index, item))


def end(document: Json) -> End:
    """Has every observation its end time? An event has no duration."""
    spans = [span for index, item in enumerate(_listed(document)) for span in parsed_spans(spans_of(index, item))]
    running = sum(span.end_ns is None and span.kind not in ("event", "trace") for span in spans)
    return end_time_end(running, len(spans), "observation")


ROWS: Final = (
    Format(name="langfuse", shape="document", recognises=recognises, read=span_document(_document_spans), end=end),
    Format(name="langfuse", shape="lines", recognises=recognises, reader=span_lines(partial(spans_of, 0))),
)
