"""The content of a source as one JSON document."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from components.contracts import Json
from components.errors import NotReady, Unreadable
from components.sources import parsing
from components.sources.fingerprints import Fingerprint, Prints
from components.sources.opener import Opened


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A whole-document source: its one value and the prints of its bytes."""

    value: Json
    prints: Prints


def read_document(opened: Opened, limit_bytes: int) -> Document:
    """The one JSON value that the content is.

    Raises `NotReady` where the content stops before the value does, `ValueError` where it is no JSON, `Unreadable`.
    """
    raw = opened.whole(limit_bytes)
    if opened.damage:
        raise Unreadable(f"Unpacking stopped: {opened.damage}.")
    prints = Fingerprint()
    prints.feed(raw)
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        if opened.cut or _stops_early(error):
            raise NotReady("The JSON document stops before its end; it is being written or was cut short.") from error
        value = only_value(bytes(raw))
    return Document(value=value, prints=prints.prints())


def _stops_early(error: orjson.JSONDecodeError) -> bool:
    """Is the content valid up to its very end?"""
    return "unexpected end of data" in error.msg or (error.pos >= len(error.doc.rstrip()) > 0)


def only_value(raw: bytes) -> Json:
    """The one JSON value in `raw`, lone carriage returns taken for blanks. Raises `ValueError` with the reason."""
    values = parsing.json_values(raw.replace(b"\r", b" "))
    if len(values) != 1:
        raise ValueError("not one JSON value")
    return values[0]


def prints_of(opened: Opened) -> Prints:
    """The digests of all the content."""
    prints = Fingerprint()
    for block in opened.blocks():
        prints.feed(block)
    return prints.prints()
