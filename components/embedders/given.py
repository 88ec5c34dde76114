"""Vectors that were made elsewhere: a dataset's model is then but a name and a dimension."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

from components.contracts import Embedded
from components.errors import BadSetting, NoModel

SCHEME: Final = "given"


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenVectors:
    """Embeds nothing: its vectors come with the documents."""

    name: str
    dim: int

    @property
    def identity(self) -> str:
        return f"given {self.name} dim={self.dim}"

    @property
    def uri(self) -> str:
        """The model URI of these vectors."""
        return f"{SCHEME}://{quote(self.name)}?dim={self.dim}"

    def embed(self, texts: Sequence[str]) -> Embedded:  # noqa: ARG002 - that of an `Embedder`
        """Raises `NoModel`."""
        raise NoModel(
            f"The vectors of this dataset were given with its documents, under the name {self.name!r}: there is no model "
            "that embeds a text. Search by words (mode=words), by a record (similar) or by a vector; new documents bring "
            "their vectors with `runatlas ingest … --vectors COLUMN`."
        )


def open_given(uri: str) -> GivenVectors:
    """The vectors that `given://NAME?dim=DIM` names. Raises `BadSetting`."""
    match = re.fullmatch(rf"{SCHEME}://([^?#]+)\?dim=(\d{{1,5}})", uri)
    if not match or not 1 <= int(match[2]) <= 65_536:
        raise BadSetting(
            f"Model {uri!r}: write {SCHEME}://NAME?dim=DIM with DIM from 1 to 65536; "
            "`runatlas ingest … --vectors COLUMN --model NAME` does."
        )
    return GivenVectors(name=unquote(match[1]), dim=int(match[2]))
