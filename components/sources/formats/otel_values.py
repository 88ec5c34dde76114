"""Values as OpenTelemetry exporters write them: attributes, ids, times, status and kind of a span."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Final

from components.contracts import Json
from components.sources.formats.times import FIRST_S, LAST_S, UNITS

_HEX: Final = re.compile("[0-9a-f]+")

PLAIN: Final = frozenset({"stringValue", "boolValue", "doubleValue"})
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


def value_of(value: Json) -> Json:
    """The plain value of an OTLP any-value.

    >>> value_of({"arrayValue": {"values": [{"intValue": "1"}, {"stringValue": "a"}]}})
    [1, 'a']
    """
    if not isinstance(value, dict):
        return value
    if len(value) == 1:  # by far the most frequent: a plain value in camel case
        ((key, inner),) = value.items()
        if key in PLAIN:
            return inner
    for key, inner in value.items():
        match key.replace("_v", "V"):
            case "intValue":
                return int(inner) if isinstance(inner, str) and inner.lstrip("-").isdecimal() else inner
            case "arrayValue":
                return [value_of(each) for each in list_at(inner, "values")]
            case "kvlistValue":
                return attributes_of(list_at(inner, "values"))
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
        if type(pair) is dict:  # of what JSON gives; quicker than isinstance in the busiest loop of all
            key, value = pair.get("key"), pair.get("value")
            if type(value) is dict:
                value = value_of(value)
            if value is not None and type(key) is str:
                found[key] = value
    return found


def identity(value: Json, size: int) -> str:
    """An id as lower-case hex: OTLP/JSON has it so, protobuf's own JSON in base64, the SDK with `0x`.

    What is base64 of another number of bytes than `size` stays as it is.

    >>> identity("EEE19B7EC3C1B174", 8), identity("7uGbfsPBsXQ=", 8), identity("0xeee19b7ec3c1b174", 8)
    ('eee19b7ec3c1b174', 'eee19b7ec3c1b174', 'eee19b7ec3c1b174')
    """
    if not isinstance(value, str):
        return ""
    if len(value) == 2 * size and value.isalnum() and value[1] != "x":  # by far the most frequent
        return value.lower() if value.strip("0") else ""
    text: str = value.strip().removeprefix("0x")
    if len(text) != 2 * size and len(text) == 4 * ((size + 2) // 3):
        try:
            decoded = base64.b64decode(text, validate=True)
        except (ValueError, binascii.Error):
            return text
        if len(decoded) != size:
            return text
        text = decoded.hex()
    return "" if not text.strip("0") else text.lower()


def fault_of_id(id: str, size: int, name: str, value: Json) -> str:
    """Why an `identity` is none of so many bytes; empty if it is one. `value` is what was given for it.

    >>> fault_of_id("00f067aa0ba902", 8, "spanId", "00f067aa0ba902"), fault_of_id("", 8, "spanId", None)
    ("spanId '00f067aa0ba902' is not 8 bytes in hex", 'spanId is missing or all zeros')
    """
    if len(id) == 2 * size and _HEX.fullmatch(id):
        return ""
    if not id:
        return f"{name} is missing or all zeros" if value is None or isinstance(value, str) else f"{name} is no text"
    return f"{name} {str(value)[:40]!r} is not {size} bytes in hex"


def integer_nanoseconds(value: Json) -> int | None:
    """Nanoseconds since 1970 from a number or a string of digits; None where they are not plausible.

    Clients that write seconds, milliseconds or microseconds into this field are known by the size of the number; others
    write a 64-bit number as its two halves.

    >>> integer_nanoseconds("1767690000040"), integer_nanoseconds({"low": 2063769600, "high": 411572400})
    (1767690000040000000, 1767690000000000000)
    """
    if isinstance(value, str) and value.isdecimal() and len(value) < 20:
        value = int(value)
    elif isinstance(value, dict):
        value = _joined_halves(value.get("low"), value.get("high"))
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**63:
        return None
    unit = next((unit for unit in UNITS if FIRST_S * unit <= value < LAST_S * unit), UNITS[-1])
    return value * (UNITS[-1] // unit)


def _joined_halves(low: Json, high: Json) -> int | None:
    if type(low) is not int or type(high) is not int:
        return None
    return (high << 32) + (low & 0xFFFFFFFF)


def get_any(mapping: Mapping[str, Json], *keys: str) -> Json:
    """The value of the first key that is there: exporters write keys in camel case or with underscores."""
    for key in keys:
        if key in mapping:
            return mapping[key]
    return None


def list_at(value: Json, *keys: str) -> list[Json]:
    """The list under the first key that is there, else an empty one."""
    found = get_any(value, *keys) if isinstance(value, dict) else None
    return found if isinstance(found, list) else []


def status_of(status: Json) -> tuple[str, str]:
    """The status of a span (`UNSET`, `OK` or `ERROR`) and its message."""
    if isinstance(status, dict):
        code = get_any(status, "code", "status_code", "statusCode")
        message = get_any(status, "message", "description")
    else:
        code, message = status, ""
    key = code.upper() if isinstance(code, str) else code if isinstance(code, int) else ""
    return STATUSES.get(key, "UNSET"), message if isinstance(message, str) else ""


def kind_of(kind: Json) -> str:
    """The kind of a span in lower case, such as `client`."""
    if isinstance(kind, int) and 0 <= kind < len(KINDS):
        return KINDS[kind]
    return str(kind or "").rpartition(".")[2].removeprefix("SPAN_KIND_").lower()
