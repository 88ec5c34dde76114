"""Bodies of requests as plain values: unpacked within bounds, JSON or OTLP's protobuf."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from components.contracts import Json
from components.errors import BadBody, BodyTooLarge
from components.sources.parsing import json_value

if TYPE_CHECKING:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_GZIP: Final = 31  # zlib's code of the gzip container
_SPANS: Final = ("resourceSpans", "resource_spans")


def unpacked(body: bytes, encoding: str, limit_bytes: int) -> bytes:
    """The body without its content encoding; never more than `limit_bytes` are held.

    Raises `BadBody` for an unknown encoding or damaged data, `BodyTooLarge` beyond the limit.
    """
    match encoding.strip().lower():
        case "" | "identity":
            found = body
        case "gzip":
            found = _gunzipped(body, limit_bytes)
        case _:
            raise BadBody(f"Content-Encoding {encoding[:40]!r} is not supported: send gzip, or leave it out.")
    if len(found) > limit_bytes:
        raise BodyTooLarge(
            f"The body unpacks to more than {limit_bytes:,} bytes, the limit set by receive.max_unpacked_bytes: send smaller batches."
        )
    return found


def _gunzipped(body: bytes, limit_bytes: int) -> bytes:
    parts: list[bytes] = []
    size_bytes, rest = 0, body
    try:
        while rest and size_bytes <= limit_bytes:  # a gzip file may consist of several members
            member = zlib.decompressobj(_GZIP)
            parts.append(member.decompress(rest, limit_bytes + 1 - size_bytes))
            size_bytes += len(parts[-1])
            if not member.eof and size_bytes <= limit_bytes:
                raise BadBody("The gzip body is cut short.")
            rest = member.unused_data
    except zlib.error as error:
        raise BadBody(f"The body is not valid gzip: {error}.") from error
    return b"".join(parts)


def json_body(body: bytes) -> Json:
    """The JSON value of a body. Raises `BadBody` with the reason."""
    try:
        return json_value(body)
    except ValueError as error:
        raise BadBody(f"The body is {error}.") from error


def trace_request(body: bytes, *, is_json: bool) -> Mapping[str, Json]:
    """An OTLP trace request in the spelling of OTLP/JSON. Raises `BadBody` if the body is none."""
    if not is_json:
        return _from_protobuf(body)
    request = json_body(body)
    if not isinstance(request, dict):
        raise BadBody(f"The body is a JSON {type(request).__name__}, where an OTLP trace request is an object.")
    for name in _SPANS:
        if name in request:
            if not isinstance(request[name], list):
                raise BadBody(f"{name} is no list.")
            return {name: request[name]}
    if request:
        raise BadBody(f"The body is no OTLP trace request: it has no resourceSpans, but {_named(request)}.")
    return request


def _named(request: Mapping[str, Json]) -> str:
    return ", ".join(repr(str(key)[:40]) for key in list(request)[:5])


# --- protobuf ------------------------------------------------------------------------------------------------------


def _from_protobuf(body: bytes) -> dict[str, Json]:
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    try:
        request = ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise BadBody(f"The body is no OTLP trace request in protobuf: {error}.") from error
    return {"resourceSpans": _resource_spans(request)}


def _resource_spans(request: ExportTraceServiceRequest) -> list[Json]:
    return [
        {
            "resource": {"attributes": _attributes(group.resource.attributes)},
            "scopeSpans": [{"spans": [_span(span) for span in scope.spans]} for scope in group.scope_spans],
        }
        for group in request.resource_spans
    ]


def _span(span: Any) -> dict[str, Json]:
    return {
        "traceId": span.trace_id.hex(),
        "spanId": span.span_id.hex(),
        "parentSpanId": span.parent_span_id.hex(),
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": span.start_time_unix_nano,
        "endTimeUnixNano": span.end_time_unix_nano,
        "attributes": _attributes(span.attributes),
        "events": [
            {"name": one.name, "timeUnixNano": one.time_unix_nano, "attributes": _attributes(one.attributes)}
            for one in span.events
        ],
        "status": {"code": span.status.code, "message": span.status.message},
    }


def _attributes(pairs: Iterable[Any]) -> dict[str, Json]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Json:
    """A plain value, as `value_of` has it for OTLP/JSON."""
    kind = value.WhichOneof("value")
    match kind:
        case None:
            return None
        case "array_value":
            return [_value(one) for one in value.array_value.values]
        case "kvlist_value":
            return {key: one for key, one in _attributes(value.kvlist_value.values).items() if one is not None}
        case "bytes_value":
            return "[bytes]"
        case "double_value" if not math.isfinite(value.double_value):
            return "NaN" if math.isnan(value.double_value) else "Infinity" if value.double_value > 0 else "-Infinity"
    return getattr(value, kind)
