"""Texts to token ids, once, with no more of a long text read than the model will see."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.embedders.texts import well_formed
from components.errors import BadSetting

_FIRST_CUT_CHARS = 4_096  # a 2 MB text costs 1.27 s to tokenise whole, 2.5 ms cut here


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenised:
    """One text as the model takes it: windows of int32 ids with the two special tokens around each."""

    windows: tuple[NDArray[np.int32], ...]
    is_long: bool  # has more tokens than one window


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokeniser:
    """A WordPiece tokeniser whose windows hold at most `max_tokens` ids, special tokens counted."""

    tokenizer: Any
    max_tokens: int
    first: int
    last: int

    def each(self, texts: Sequence[str], *, all_windows: bool) -> Iterator[Tokenised]:
        """Every text in order, cut to its first window or in as many windows as it needs."""
        for text in texts:
            yield self._windows(well_formed(text), all_windows=all_windows)

    def _windows(self, text: str, *, all_windows: bool) -> Tokenised:
        limit = self.max_tokens - 2
        ids = self._encode(text).ids if all_windows else self._beginning(text, limit)
        starts = range(0, max(1, len(ids)), limit) if all_windows else (0,)
        windows = tuple(np.array([self.first, *ids[at : at + limit], self.last], np.int32) for at in starts)
        return Tokenised(windows=windows, is_long=len(ids) > limit)

    def _beginning(self, text: str, limit: int) -> list[int]:
        """The ids of a beginning of `text` that has more than `limit` tokens, or of the whole text.

        The first `limit` are those of the whole text: a cut can only change the word that it goes through, so that word
        has to lie beyond them.
        """
        cut = _FIRST_CUT_CHARS
        while cut < len(text):
            encoding = self._encode(text[:cut])
            words = encoding.word_ids
            if len(words) > limit and words[limit - 1] != words[-1]:
                return list(encoding.ids)
            cut *= 2
        return list(self._encode(text).ids)

    def _encode(self, text: str) -> Any:
        return self.tokenizer.encode(text, add_special_tokens=False)


def open_tokeniser(file: Path, max_tokens: int) -> Tokeniser:
    """The tokeniser of a `tokenizer.json`. What the file says of truncation and padding is switched off: the one
    shipped with MiniLM cuts at 128 tokens and pads everything to 128. Raises `BadSetting` where it can't be read.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare Exception
        raise BadSetting(f"The tokeniser {file.name} of the model in {file.parent} can't be read: {error}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    first, last = tokenizer.encode("").ids
    return Tokeniser(tokenizer=tokenizer, max_tokens=max_tokens, first=first, last=last)
