r"""Texts fit for every database and reader: no secrets, control characters, blobs or unreadable escapes."""

from __future__ import annotations

import json
import math
import re
from typing import Final

import orjson

from components.contracts import Json
from components.redact import Redactor

WINDOW: Final = 256
SHORTEST_DATA_URL: Final = 22
SHORTEST_TOKEN: Final = 12  # of a secret by itself; a password in a URL may be shorter, and comes before an `@`
LONG_BLOB: Final = 2 * WINDOW  # every run of so many characters covers a whole window
MAX_EXTRA_CHARS: Final = 65_536  # of a text among the extras
MAX_EXTRA_DEPTH: Final = 32
_DATA_URL = re.compile(r"data:([a-z]+)/[\w.+-]+(?:;[\w.=+-]+)*;base64,[A-Za-z0-9+/=_-]*")
_BLOB = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{512,}={0,2}")
_BLOB_WINDOW = re.compile(r"[A-Za-z0-9+/=_-]{256}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_FEW_KINDS: Final = 24  # distinct characters; base64 of real data has some 60, a line of dashes one, hex 16
_ANSI_ESCAPE = (
    re.compile(  # ECMA-48: control sequences (colours, cursor), strings (titles, links), two-character escapes
        r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]+[0-~]|[0-Z\\^-~])"
    )
)
_ANSI_ESCAPE_IN_JSON = re.compile(r"(?<!\\)((?:\\\\)*)\\u001[bB]\[[0-?]*[ -/]*[@-~]")
_UNICODE_ESCAPE: Final = re.compile(
    r"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|.)", re.DOTALL
)
_JSON_OPENS: Final = re.compile(r"[{\[]")
_NO_LETTERS: Final = frozenset({0x2028, 0x2029, 0xFEFF, 0xFFFE, 0xFFFF})


def clean_text(text: str, max_chars: int, redactor: Redactor | None = None) -> str:
    r"""The text without what no database or reader takes: NUL and lone surrogates become U+FFFD, blobs a short mark.

    Secrets are redacted before the text is cut, or what is left of one would not be recognised.

    >>> clean_text("a\x00b data:image/png;base64,iVBORw0KGgo= c", 100)
    'a�b [image] c'
    >>> clean_text("abcdef", 4)
    'abcd… [2 more characters]'
    """
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            text = _SURROGATE.sub("\ufffd", text)
    if redactor is not None and (len(text) >= SHORTEST_TOKEN or "@" in text):
        text = redactor.redact(text)
    if len(text) < SHORTEST_DATA_URL:
        return text if len(text) <= max_chars else _cut(text, max_chars)
    if ";base64," in text:
        text = _DATA_URL.sub(r"[\1]", text)
    if len(text) >= LONG_BLOB and _may_hold_blob(text):
        text = _BLOB.sub(_blob_mark, text)
    return text if len(text) <= max_chars else _cut(text, max_chars)


def _cut(text: str, max_chars: int) -> str:
    return f"{text[:max_chars]}… [{len(text) - max_chars} more characters]"


def _may_hold_blob(text: str) -> bool:
    """Checks a window at every 256th character: 100x faster than searching, and no long run escapes it."""
    for at in range(0, len(text) - WINDOW + 1, WINDOW):
        if text.find(" ", at, at + WINDOW) < 0 and _BLOB_WINDOW.match(text, at):
            return True
    return False


def _blob_mark(found: re.Match[str]) -> str:
    blob = found.group()
    return blob if len(set(blob[:2_048])) < _FEW_KINDS else f"[base64, {len(blob)} characters]"


def clean_extra(extra: Json, redactor: Redactor | None = None) -> Json:
    """The same JSON, fit for every database: clean strings, nothing that is not JSON, no secrets."""
    try:
        spelled = orjson.dumps(extra)
    except TypeError:
        cleaned = _clean_value(extra, 0)
        return redactor.redact_values(cleaned) if redactor else cleaned
    if redactor is not None and redactor.suspects(spelled):
        extra = redactor.redact_values(extra)
    if b"\\u0000" in spelled or b";base64," in spelled or len(spelled) > MAX_EXTRA_CHARS:
        return _clean_value(extra, 0)
    return extra


def _clean_value(value: Json, depth: int) -> Json:
    if isinstance(value, str):
        return clean_text(value, MAX_EXTRA_CHARS)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int):
        return value if abs(value) < 2**63 else str(value)
    if depth > MAX_EXTRA_DEPTH:
        return "[nested too deeply]"
    if isinstance(value, dict):
        return {clean_text(str(key), 1_000): _clean_value(one, depth + 1) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_clean_value(one, depth + 1) for one in value]
    return clean_text(str(value), MAX_EXTRA_CHARS)


# --- escapes ----------------------------------------------------------------------------------------------------


def without_ansi_escapes(text: str, type: str = "") -> str:
    r"""The text without ANSI escapes; of a tool call also without those that its JSON spells.

    >>> without_ansi_escapes("\x1b[1;31mred\x1b[0m \x1b]8;;http://a\x07link\x1b]8;;\x07")
    'red link'
    """
    if "\x1b" in text:
        text = _ANSI_ESCAPE.sub("", text).replace("\x1b", "")
    if type == "tool_call" and "\\u001" in text:
        text = _ANSI_ESCAPE_IN_JSON.sub(r"\1", text)
    return text


def with_letters(text: str) -> str:
    r"""The text with letters in place of their escapes, if it is JSON, a name and JSON behind it, or lines of JSON.

    Tools' arguments and results are often JSON in which every letter beyond ASCII is an escape, which is unreadable,
    searches or embeds. Only texts that are JSON are changed: an escape in code or prose stays.

    >>> with_letters('weather {"city": "\\u5317\\u4eac", "quote": "\\u0022"}')
    'weather {"city": "北京", "quote": "\\u0022"}'
    >>> with_letters('print("\\u5317")'), with_letters('run {"code": "print(\'\\\\u5317\')"}')
    ('print("\\u5317")', 'run {"code": "print(\'\\\\u5317\')"}')
    """
    if "\\u" not in text:
        return text
    found = _JSON_OPENS.search(text)
    if found and _is_json(text[found.start() :]):
        return text[: found.start()] + _UNICODE_ESCAPE.sub(_letter, text[found.start() :])
    if "\n" not in text:
        return text
    return "\n".join(_UNICODE_ESCAPE.sub(_letter, line) if _is_json(line) else line for line in text.split("\n"))


def _is_json(text: str) -> bool:
    """Is it a JSON object or list, escapes of lone surrogates included?"""
    if text.strip()[:1] not in ("{", "["):
        return False
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return False
    return True


def _letter(found: re.Match[str]) -> str:
    high, low, single = found.groups()
    if high:
        return chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00)
    code = int(single, 16) if single else 0
    is_letter = code >= 0xA0 and not 0xD800 <= code < 0xE000 and code not in _NO_LETTERS
    return chr(code) if is_letter else found[0]
