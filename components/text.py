"""Record to prepared text: what gets embedded, and the digest that names it."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from components.contracts import Record
from components.settings import TextSettings


def prepared_text(record: Record, settings: TextSettings) -> str:
    r"""The text to embed: the chosen fields, each with its prefix, joined; never empty.

    >>> from components.settings import TextSettings
    >>> record = Record(id="0" * 32, timestamp=None, filename="a", text="Hello", iteration=0, idx_in_iteration=0,
    ...                 type="user", extra={"tool": "ls"})
    >>> prepared_text(record, TextSettings(fields=("extra.tool", "text"), field_prefixes={"text": "says "}))
    'ls\nsays Hello'
    """
    if settings == _plain:
        return record.text
    parts = []
    for name in settings.fields:
        value = _value(record, name)
        if value:
            parts.append(settings.field_prefixes.get(name, "") + value + settings.field_suffixes.get(name, ""))
    text = settings.prefix + settings.delimiter.join(parts) + settings.suffix
    if settings.lowercase:
        text = text.lower()
    if settings.truncate is not None:
        text = text[: settings.truncate]
    return text or record.text


def joined_values(value: Any) -> str:
    """A value as a person would write it: the entries of a list joined, of an object its text; never JSON.

    Nulls and blank entries are left out, and so are blanks around each.

    >>> joined_values(["A Title", None, " ", 2021]), joined_values({"text": "nested"}), joined_values(None)
    ('A Title; 2021', 'nested', '')
    """
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, dict):
        return joined_values(value.get("text") or list(value.values()))
    if isinstance(value, list | tuple):
        return LIST_DELIMITER.join(filter(None, map(joined_values, value)))
    return "" if value is None else str(value)


def digest(text: str) -> bytes:
    """SHA-256 of a prepared text, cut to 16 bytes: with the model's identity it names a vector."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]


def settings_hash(settings: TextSettings) -> str:
    """16 hex digits that change when a setting changes that changes prepared texts."""
    spelled = orjson.dumps(_decisive(settings), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(spelled).hexdigest()[:16]


def _decisive(settings: TextSettings) -> dict[str, Any]:
    """The settings; one that a map of an earlier version does not know, only where it is used."""
    named = settings.model_dump()
    return named if settings.field_suffixes else {name: one for name, one in named.items() if name != "field_suffixes"}


LIST_DELIMITER = "; "  # names of authors hold commas
_plain = TextSettings()


def _value(record: Record, name: str) -> str:
    """A record's field, or a key of its `extra` (`extra.key`, or the bare key where no field has that name)."""
    field: Any = getattr(record, name, None) if name != "extra" else None
    if field is None:
        field = record.extra.get(name.removeprefix("extra."))
    if field is None:
        return ""
    if isinstance(field, str):
        return field
    if isinstance(field, list):
        return joined_values(field)
    if isinstance(field, dict):
        return orjson.dumps(field, option=orjson.OPT_SORT_KEYS).decode()
    return str(field)
