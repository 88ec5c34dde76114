"""Logs that repeat themselves: which pieces of a run were read before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Final

import orjson

from components.contracts import Json
from components.sources.formats.content import result_text
from components.sources.formats.pieces import Piece

TOOLS: Final = frozenset({"tool_call", "tool_result", "error"})


def short_digest(text: str, size: int = 8) -> str:
    """The BLAKE2b digest of a text as hex, `size` bytes of it."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()


def key_of(piece: Piece) -> str:
    """Sixteen hex digits of a piece's type and text; JSON texts count as equal however they are spaced."""
    text = piece.text.strip()
    kind = "tool_result" if piece.type == "error" else piece.type
    head, brace, rest = text.partition("{")
    if kind == "tool_call" and brace and " " in head:
        text = f"{head.strip()} {_canonical(brace + rest)}"
    elif text[:1] in ("{", "["):
        text = _canonical(text)
    return short_digest(f"{kind}\0{text}")


def _canonical(text: str) -> str:
    try:
        return result_text(value) if isinstance(value := orjson.loads(text), dict | list) else text
    except (orjson.JSONDecodeError, RecursionError):
        return text


class SeenPieces:
    """Counts the pieces of one run, so that each is emitted once though the log repeats them.

    A model call lists the whole history before it: a text that is n times in one list occurred n times at least.
    `balance` matches the calls that a model asks for with the spans of the tools that ran them.
    """

    __slots__ = ("balance", "emitted", "views")

    def __init__(self, state: Json = None) -> None:
        emitted, balance, views = state or ({}, {}, {})
        self.emitted: dict[str, int] = dict(emitted)
        self.balance: dict[str, int] = dict(balance)
        self.views: dict[str, int] = dict(views)

    def state(self) -> Json:
        """Plain JSON from which an equal counter is made."""
        return [self.emitted, {key: n for key, n in self.balance.items() if n}, self.views]

    def forget(self, limit: int) -> None:
        """Keep the latest `limit` messages: what a reader remembers must not grow with its log."""
        for memory in (self.emitted, self.balance, self.views):
            while len(memory) > limit:
                del memory[next(iter(memory))]

    def new_in_history(self, pieces: Iterable[Piece]) -> Iterator[tuple[Piece, bool]]:
        """Each piece of a list that holds everything so far, and whether it was not emitted before."""
        count: dict[str, int] = {}
        for piece in pieces:
            key = key_of(piece)
            count[key] = n = count.get(key, 0) + 1
            is_new = n > self.emitted.get(key, 0)
            if is_new:
                self.emitted[key] = n
                if piece.type in TOOLS:
                    self.balance[key] = self.balance.get(key, 0) + 1
            yield piece, is_new

    def new_answer(self, piece: Piece) -> bool:
        """Is this answer of a model new? Only a call that its tool has already reported is not."""
        key, owed = key_of(piece), 0
        if piece.type == "tool_call":
            owed = self.balance.get(key, 0)
            self.balance[key] = owed + 1
        if owed < 0:
            return False
        self.emitted[key] = self.emitted.get(key, 0) + 1
        return True

    def new_tool(self, piece: Piece) -> bool:
        """Is this call or result that a tool reports new? It is not if a model's message has already held it."""
        key = key_of(piece)
        balance = self.balance.get(key, 0)
        if balance > 0 or piece.type == "tool_call":
            self.balance[key] = balance - 1
        if balance > 0:
            return False
        self.emitted[key] = self.emitted.get(key, 0) + 1
        return True

    def new_in_view(self, view: str, piece: Piece) -> bool:
        """Is it new in one of several views of a run? It is once this view has held it more often than any other."""
        key = key_of(piece)
        name = f"{view} {key}"
        self.views[name] = n = self.views.get(name, 0) + 1
        if n <= self.emitted.get(key, 0):
            return False
        self.emitted[key] = n
        return True
