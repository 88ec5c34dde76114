"""Answers of the OpenTelemetry protocol over HTTP: partial success, and errors as its Status, in the client's encoding."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from fastapi.responses import Response

from components.receive.received import Rejected

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
MAX_MESSAGE_CHARS = 1_000
CODES = {400: 3, 413: 3, 415: 3, 429: 8, 503: 14}  # HTTP status -> gRPC code, which a Status holds


def media_type_of(content_type: str) -> str | None:
    """The encoding that a Content-Type names, None if it is none of the protocol's."""
    named = content_type.partition(";")[0].strip().lower()
    return named if named in {PROTOBUF, JSON} else None


def success(rejected: Sequence[Rejected], media_type: str) -> Response:
    """200; with how many spans were rejected and why, if any were: a client takes any partial success for a warning."""
    message = _reasons(rejected)
    if media_type == JSON:
        partial = {"partialSuccess": {"rejectedSpans": str(len(rejected)), "errorMessage": message}}
        return Response(orjson.dumps(partial if rejected else {}), media_type=JSON)
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    answer = ExportTraceServiceResponse()
    if rejected:
        answer.partial_success.rejected_spans = len(rejected)
        answer.partial_success.error_message = message
    return Response(answer.SerializeToString(), media_type=PROTOBUF)


def _reasons(rejected: Sequence[Rejected]) -> str:
    message = "; ".join(dict.fromkeys(one.defect.reason for one in rejected))
    return message if len(message) <= MAX_MESSAGE_CHARS else message[: MAX_MESSAGE_CHARS - 1] + "…"


def failure(status: int, message: str, media_type: str | None, headers: dict[str, str]) -> Response:
    """An error as a `google.rpc.Status`; in JSON where the client's encoding is not known."""
    code, message = CODES[status], message[:MAX_MESSAGE_CHARS]
    if media_type == PROTOBUF:
        spelled = message.encode("utf-8", "replace")
        content = b"\x08" + bytes([code]) + b"\x12" + _varint(len(spelled)) + spelled
        return Response(content, status, headers, PROTOBUF)
    return Response(orjson.dumps({"code": code, "message": message}), status, headers, JSON)


def _varint(number: int) -> bytes:
    r"""A number as protobuf writes it.

    >>> _varint(300)
    b'\xac\x02'
    """
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])
