"""Small pure helpers that every format shares: times, tool calls, content blocks, canonical JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Final

import orjson

from components.contracts import Json

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_S: Final = 631_152_000  # 1990-01-01: no log is older
LAST_S: Final = 4_102_444_800  # 2100-01-01
LONGEST_ISO: Final = 64
UNITS: Final = (1, 10**3, 10**6, 10**9)  # parts of a second: s, ms, us, ns; their ranges don't overlap

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")
_TEXT_KEYS: Final = ("text", "content", "refusal", "transcript", "thinking", "output", "value", "logs")
_MEDIA: Final = ("image", "audio", "video")


def timestamp(value: Json) -> datetime | None:
    """The time that `value` spells: ISO 8601 with or without zone, or epoch s, ms, us or ns as int, float or string.

    An aware time comes back in UTC, a naive one stays naive. None for what is no time, or lies outside 1990-2100.

    >>> timestamp("2025-03-01T12:00:00.5+02:00")
    datetime.datetime(2025, 3, 1, 10, 0, 0, 500000, tzinfo=datetime.timezone.utc)
    >>> timestamp("1740823200000000000") == timestamp(1740823200.0) == timestamp(1740823200000)
    True
    >>> timestamp(12) is timestamp("soon") is None
    True
    """
    if isinstance(value, str):
        if value[4:5] == "-" and len(value) <= LONGEST_ISO:  # by far the most frequent
            try:
                return _plausible(datetime.fromisoformat(value))
            except (ValueError, OverflowError):
                return _from_iso(value)
        value = value.strip()
        return _from_number(value) if _NUMBER.fullmatch(value) else _from_iso(value)
    if isinstance(value, datetime):
        return _plausible(value)
    if isinstance(value, date):
        return _plausible(datetime(value.year, value.month, value.day))  # noqa: DTZ001 - the source's zone comes later
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return _from_number(value)


def _from_number(value: str | float) -> datetime | None:
    try:
        exact = int(value) if not isinstance(value, float) and "." not in str(value) else float(value)
    except (ValueError, OverflowError):
        return None
    for unit in UNITS:
        if FIRST_S * unit <= exact < LAST_S * unit:
            whole, rest = divmod(exact, unit)
            return (
                EPOCH + timedelta(seconds=int(whole), microseconds=int(rest * 1_000_000 // unit))
                if unit > 1
                else (EPOCH + timedelta(microseconds=round(exact * 1_000_000)))
            )
    return None


def _from_iso(value: str) -> datetime | None:
    if not 8 <= len(value) <= LONGEST_ISO:
        return None
    if value.endswith(" UTC"):
        value = value[:-4] + "Z"
    try:
        return _plausible(datetime.fromisoformat(value))
    except (ValueError, OverflowError):
        return None


def _plausible(when: datetime) -> datetime | None:
    if not 1990 <= when.year < 2100:
        return None
    zone = when.tzinfo
    return when if zone is None or zone is UTC else when.astimezone(UTC)


def json_text(value: Json) -> str:
    """Canonical JSON: keys sorted, no blanks; equal values give equal texts.

    >>> json_text({"b": 1, "a": [None, "é"]})
    '{"a":[null,"é"],"b":1}'
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # lone surrogates, integers beyond 64 bits, more than 254 levels
        return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)


def tool_call(name: Json, arguments: Json) -> str:
    """The text of a tool call: the name, a blank, the arguments. Arguments that are a string already stay as they are.

    >>> tool_call("bash", {"timeout": 5, "command": "ls"})
    'bash {"command":"ls","timeout":5}'
    >>> tool_call("bash", '{"command": "ls"}')
    'bash {"command": "ls"}'
    """
    spelled = "" if arguments is None else arguments if isinstance(arguments, str) else json_text(arguments)
    return f"{name or ''} {spelled}".strip()


def text_of(content: Json) -> str:
    r"""What a person would read of a message's content: a string, a content block, or a list of them.

    Texts are joined by line ends, media become a short mark such as `[image]`, other values their canonical JSON.

    >>> text_of([{"type": "text", "text": "see"}, {"type": "image", "source": {"data": "iVBO"}}])
    'see\n[image]'
    """
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if isinstance(content, list):
        return "\n".join(text for part in content if (text := text_of(part)))
    if isinstance(content, dict):
        return _text_of_block(content)
    return json_text(content)


def result_text(value: Json) -> str:
    """A tool's answer: text where it is text or content blocks, else canonical JSON."""
    if isinstance(value, dict) and _are_blocks(value.get("content")):  # an MCP server's answer
        value = value["content"]
    elif isinstance(value, dict) and isinstance(value.get("type"), str) and value.keys() == {"type", "value"}:
        value = value["value"]  # the AI SDK's
    if isinstance(value, str):
        return value
    if _are_blocks(value):
        return text_of(value)
    return "" if value is None else json_text(value)


def _are_blocks(value: Json) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(part, dict) and "type" in part for part in value)


def _text_of_block(block: Mapping[str, Json]) -> str:
    kind = block.get("type")
    if kind == "text" and isinstance(text := block.get("text"), str):
        return text
    if isinstance(kind, str):
        for medium in _MEDIA:
            if medium in kind:
                return f"[{medium}]"
    for key in _TEXT_KEYS:
        if isinstance(value := block.get(key), str | list | dict):
            return text_of(value)
    if isinstance(kind, str) and kind in ("file", "document", "input_file"):
        return "[file]"
    return json_text(block) if block else ""
