r"""Letters that a JSON text spells as `\uXXXX`: read as letters.

Tools' arguments and results are often JSON texts in which every letter beyond ASCII is an escape. Nobody reads, searches
or embeds those, so the text of a record holds the letters. Only texts that are JSON are touched: an escape in code or
prose stays.
"""

from __future__ import annotations

import json
import re
from typing import Final

import orjson

_ESCAPE: Final = re.compile(
    r"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|.)", re.DOTALL
)
_OPENS: Final = re.compile(r"[{\[]")
_NO_LETTERS: Final = frozenset({0x2028, 0x2029, 0xFEFF, 0xFFFE, 0xFFFF})


def with_letters(text: str) -> str:
    r"""The text with letters in place of their escapes, if it is JSON, a name and JSON behind it, or lines of JSON.

    >>> with_letters('weather {"city": "\\u5317\\u4eac", "quote": "\\u0022"}')
    'weather {"city": "北京", "quote": "\\u0022"}'
    >>> with_letters('print("\\u5317")'), with_letters('run {"code": "print(\'\\\\u5317\')"}')
    ('print("\\u5317")', 'run {"code": "print(\'\\\\u5317\')"}')
    """
    if "\\u" not in text:
        return text
    found = _OPENS.search(text)
    if found and _is_json(text[found.start() :]):
        return text[: found.start()] + _ESCAPE.sub(_letter, text[found.start() :])
    if "\n" not in text:
        return text
    return "\n".join(_ESCAPE.sub(_letter, line) if _is_json(line) else line for line in text.split("\n"))


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
