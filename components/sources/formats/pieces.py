"""What formats share beside messages: pieces that become events, runs' names, and the count of what was already said."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import orjson

from components.contracts import NO_EXTRA, Defect, Json, Skipped
from components.sources.formats.content import result_text
from components.sources.formats.contract import Read, Turns

GENERATED: Final = frozenset({"assistant", "reasoning", "tool_call"})
TOOLS: Final = frozenset({"tool_call", "tool_result", "error"})
EMPTY: Final = Skipped(rule="empty message")
REPEATED: Final = Skipped(rule="repeated message")


class Piece(NamedTuple):
    """One readable part of a message; `text` is never blank."""

    type: str
    text: str
    extra: Mapping[str, Any] = NO_EXTRA
    timestamp: datetime | None = None


def _text(kind: str, text: str, extra: Mapping[str, Any], when: datetime | None = None) -> list[Piece]:
    return [Piece(type=kind, text=text, extra=extra, timestamp=when)] if text.strip() else []


def events(
    turns: Turns, pieces: Iterable[Piece], extra: Mapping[str, Any] | None = None, when: datetime | None = None
) -> Iterator[Read]:
    """The pieces as the next events of a run; a message without any is skipped as empty."""
    empty = True
    for piece in pieces:
        empty = False
        yield turns.event(piece.type, piece.text, piece.timestamp or when, {**(extra or {}), **piece.extra})
    if empty:
        yield EMPTY


def guarded(index: int, reads: Iterable[Read]) -> Iterator[Read]:
    """The same, with a defect in place of what is nested too deeply to be read."""
    try:
        yield from reads
    except RecursionError:
        yield Defect(offset=index, reason="nested too deeply to be read")


def not_an_object(index: int, item: Json) -> Defect:
    return Defect(offset=index, reason=f"expected an object, found {type(item).__name__}", excerpt=excerpt(item))


def excerpt(item: Json) -> str:
    """The beginning of an item, for a person to recognise it by; it is cut when its secrets are redacted."""
    if isinstance(item, dict | list):
        return f"{type(item).__name__} of {len(item)}"
    return str(item)[:4_000]


def mostly(items: Sequence[Json], fits: Callable[[Json], bool]) -> bool:
    """Do three in five of the first twenty items fit? A few odd ones don't make it another format."""
    first = items[:20]
    return bool(first) and sum(map(fits, first)) >= 0.6 * len(first)


def named(mapping: Mapping[str, Json], *keys: str) -> dict[str, Any]:
    """Those of the keys that hold a plain value, as they are."""
    return {key: mapping[key] for key in keys if isinstance(mapping.get(key), str | int | float)}


_FENCE: Final = re.compile(r"```[^\n`]*\n(.*?)```|```([^`\n]+)```", re.DOTALL)


def answer_pieces(text: str) -> list[Piece]:
    r"""A model's answer whose last fenced block is the action it takes: what it says, then the call.

    >>> [(p.type, p.text) for p in answer_pieces("I look.\n```\nls -a\n```")]
    [('assistant', 'I look.'), ('tool_call', 'ls -a')]
    """
    fences = list(_FENCE.finditer(text))
    if not fences:
        return _text("assistant", text, {})
    last = fences[-1]
    action = (last.group(1) or last.group(2) or "").strip()
    said = (text[: last.start()].rstrip() + text[last.end() :]).strip()
    return [*_text("assistant", said, {}), *_text("tool_call", action, {})]


# --- what a run has already said ----------------------------------------------------------------------------------


def key_of(piece: Piece) -> str:
    """Sixteen hex digits of a piece's type and text; JSON texts count as equal however they are spaced."""
    text = piece.text.strip()
    kind = "tool_result" if piece.type == "error" else piece.type
    head, brace, rest = text.partition("{")
    if kind == "tool_call" and brace and " " in head:
        text = f"{head.strip()} {_canonical(brace + rest)}"
    elif text[:1] in ("{", "["):
        text = _canonical(text)
    return blake2b(f"{kind}\0{text}".encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _canonical(text: str) -> str:
    try:
        return result_text(value) if isinstance(value := orjson.loads(text), dict | list) else text
    except (orjson.JSONDecodeError, RecursionError):
        return text


class Said:
    """Counts the pieces of one run, so that each is given once though the log repeats them.

    A model call lists the whole history before it: a text that stands n times in a list was said n times at least.
    `balance` matches the calls a model asks for with the spans of the tools that ran them.
    """

    __slots__ = ("balance", "given", "views")

    def __init__(self, state: Json = None) -> None:
        given, balance, views = state or ({}, {}, {})
        self.given: dict[str, int] = dict(given)
        self.balance: dict[str, int] = dict(balance)
        self.views: dict[str, int] = dict(views)

    def state(self) -> Json:
        return [self.given, {key: n for key, n in self.balance.items() if n}, self.views]

    def forget(self, limit: int) -> None:
        """Keep the latest `limit` messages: what a reader remembers must not grow with its log."""
        for memory in (self.given, self.balance, self.views):
            while len(memory) > limit:
                del memory[next(iter(memory))]

    def new_in_history(self, pieces: Iterable[Piece]) -> Iterator[tuple[Piece, bool]]:
        """Each piece of a list that tells everything so far, and whether it was not given before."""
        count: dict[str, int] = {}
        for piece in pieces:
            key = key_of(piece)
            count[key] = n = count.get(key, 0) + 1
            new = n > self.given.get(key, 0)
            if new:
                self.given[key] = n
                if piece.type in TOOLS:
                    self.balance[key] = self.balance.get(key, 0) + 1
            yield piece, new

    def new_answer(self, piece: Piece) -> bool:
        """A model says it now. Only a call whose tool has already reported itself is not new."""
        key, owed = key_of(piece), 0
        if piece.type == "tool_call":
            owed = self.balance.get(key, 0)
            self.balance[key] = owed + 1
        if owed < 0:
            return False
        self.given[key] = self.given.get(key, 0) + 1
        return True

    def new_tool(self, piece: Piece) -> bool:
        """A tool reports its call or result. New unless a model's message has told of it."""
        key = key_of(piece)
        balance = self.balance.get(key, 0)
        if balance > 0 or piece.type == "tool_call":
            self.balance[key] = balance - 1
        if balance > 0:
            return False
        self.given[key] = self.given.get(key, 0) + 1
        return True

    def new_in_view(self, view: str, piece: Piece) -> bool:
        """One of several witnesses tells of it: new when this one has told of it more often than any other."""
        key = key_of(piece)
        name = f"{view} {key}"
        self.views[name] = n = self.views.get(name, 0) + 1
        if n <= self.given.get(key, 0):
            return False
        self.given[key] = n
        return True


class Names:
    """Makes the names of a file's runs unique: the second `a` becomes `a~2`.

    >>> names = Names()
    >>> names.unique("a"), names.unique("a"), names.unique("")
    ('a', 'a~2', 'run')
    """

    __slots__ = ("count",)

    def __init__(self, count: Mapping[str, int] | None = None) -> None:
        self.count: dict[str, int] = dict(count or {})

    def unique(self, name: Json) -> str:
        spelled = str(name) if isinstance(name, str | int | float) and str(name).strip() else "run"
        self.count[spelled] = n = self.count.get(spelled, 0) + 1
        return spelled if n == 1 else f"{spelled}~{n}"
