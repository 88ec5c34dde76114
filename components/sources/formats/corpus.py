"""Documents of a corpus: one JSON object each, with a key of its own and some fields whose texts are wanted.

Only what the dataset's `corpus` setting names is kept of a document; the rest is dropped as soon as it is parsed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

import orjson

from components.contracts import Defect, Event, Json, Skipped
from components.settings import CorpusSettings
from components.sources.formats.contract import Format, Head, Options, Read, Verdict, decline
from components.sources.formats.defects import EXCERPT_CHARS
from components.text import joined_values

NAME: Final = "corpus"
TYPE: Final = "document"
NO_TEXT: Final = Skipped(rule="no text in the fields that are embedded")


def recognises(_: Head) -> Verdict:
    """Never by itself: which fields are wanted is known only where a dataset has a `corpus` setting."""
    return decline("only datasets with a `corpus` setting are read so; `runatlas ingest` makes it")


class Reader:
    """Remembers nothing: each document stands for itself."""

    def __init__(self, _: Json, options: Options) -> None:
        assert options.corpus is not None
        self.corpus = options.corpus

    def read(self, item: Json) -> Iterable[Read]:
        """The document's texts, joined, under its key."""
        if not isinstance(item, dict):
            return (Defect(offset=0, reason="not a JSON object"),)
        corpus = self.corpus
        parts = [
            corpus.field_prefixes.get(name, "") + text + corpus.field_suffixes.get(name, "")
            for name in corpus.fields
            if (text := joined_values(item.get(name)))
        ]
        if not (key := key_of(item, corpus)):
            names = " or ".join(map(repr, corpus.id_names))
            return (Defect(offset=0, reason=f"it has no key {names}", excerpt=" ".join(parts)[:EXCERPT_CHARS]),)
        if not parts:
            return (NO_TEXT,)
        extra = {"metadata_hash": metadata_hash(item, corpus), **kept_fields(item, corpus)}
        return (Event(0, 0, TYPE, corpus.delimiter.join(parts), extra=extra, key=key),)

    def state(self) -> Json:
        """Nothing to remember."""
        return {}


def key_of(item: Mapping[str, Json], corpus: CorpusSettings) -> str:
    """The document's key without blanks around it; a number as it is written. "" if there is none."""
    for name in corpus.id_names:
        value = item.get(name)
        if isinstance(value, str) and value.strip():
            return value.strip()
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
    return ""


def kept_fields(item: Mapping[str, Json], corpus: CorpusSettings) -> dict[str, Json]:
    """What is kept beside the text."""
    return {name: item[name] for name in corpus.keep if item.get(name) is not None}


def metadata_hash(item: Mapping[str, Json], corpus: CorpusSettings) -> str:
    """32 hex digits that change when one of the requested fields does: SHA-256 of their canonical JSON.

    >>> metadata_hash({"title": ["A"], "year": 2021}, CorpusSettings(fields=("title",)))
    '962f26dce52a0bc507c2b2f897c1fa90'
    """
    requested = {name: item[name] for name in (*corpus.fields, *corpus.keep) if name in item}
    return hashlib.sha256(orjson.dumps(requested, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


CORPUS: Final = Format(name=NAME, shape="lines", recognises=recognises, reader=Reader)
