"""Values as columns of text hold them."""

from __future__ import annotations

from typing import Any

import orjson


def to_json(value: Any) -> str:
    """JSON of a value; keys that are no strings become strings, other unknown objects their `str`."""
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS, default=str).decode()


def storable(text: str) -> str:
    """Text that every database accepts: no NUL, no lone surrogates."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
