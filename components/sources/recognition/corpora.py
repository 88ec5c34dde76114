"""How a file of a corpus is read: as JSON lines, as one JSON list however large, as objects one below the other, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import orjson

from components.contracts import Json
from components.errors import UnknownFormat
from components.settings import CorpusSettings
from components.sources import parquet, parsing
from components.sources.elements import list_around
from components.sources.formats.contract import Head
from components.sources.formats.corpus import CORPUS
from components.sources.opener import Opened
from components.sources.recognition.candidates import TABLES, Candidate, Kind, candidates
from components.sources.recognition.recognise import Recognition

HEAD_BYTES: Final = 1 << 20


def recognise_corpus(opened: Opened, name: str, corpus: CorpusSettings, item_bytes: int) -> Recognition:
    """How the documents of this file are read. Raises `UnknownFormat` where it holds none, `NotReady`, `Unreadable`."""
    start = opened.start(HEAD_BYTES)
    bare = start.lstrip(parsing.PADDING)
    if not bare:
        raise UnknownFormat("The file is empty.")
    if bare.startswith(parquet.MAGIC) or not bare.startswith((b"[", b"{")):
        return _as_table(opened, name, corpus, item_bytes)
    kind, begin = _json_kind(bare, corpus)
    begin += (len(start) - len(bare)) if kind == "array" else 0
    candidate = Candidate(kind=kind, head=Head(name=name, shape="lines"), begin=begin)
    return Recognition(format=CORPUS, candidate=candidate, reason="it is a file of a corpus")


def _as_table(opened: Opened, name: str, corpus: CorpusSettings, item_bytes: int) -> Recognition:
    wanted = {*corpus.id_names}
    for one in candidates(opened, name, item_bytes, wants_text=False):
        if one.kind in TABLES and any(isinstance(row, dict) and wanted & row.keys() for row in one.head.lines):
            return Recognition(format=CORPUS, candidate=one, reason="it is a table of a corpus")
    names = " or ".join(map(repr, corpus.id_names))
    raise UnknownFormat(
        f"It holds no documents: neither JSON nor a table with a column {names}. `--id NAME` names another key."
    )


def _json_kind(bare: bytes, corpus: CorpusSettings) -> tuple[Kind, int]:
    """How JSON is read, and where its list begins if it is one."""
    if bare.startswith(b"["):
        return "array", 1
    first = _object_on(bare.partition(b"\n")[0])
    if first is not None and _has_key(first, corpus.id_names):
        return "json", 0
    for name in corpus.id_names:
        begin = list_around(bare, orjson.dumps(name))
        if begin:
            return "array", begin
        if begin == 0 and first is None:
            return ("stacked" if b"\n" in bare[: bare.find(orjson.dumps(name))] else "json"), 0
    return "json", 0


def _object_on(line: bytes) -> Mapping[str, Json] | None:
    try:
        values = parsing.json_values(line)
    except ValueError:
        return None
    return values[0] if values and isinstance(values[0], dict) else None


def _has_key(item: Mapping[str, Json], names: Sequence[str]) -> bool:
    return any(name in item for name in names)
