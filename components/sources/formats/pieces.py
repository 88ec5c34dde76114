"""Pieces: the readable parts of a message, before they become the events of a run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from components.contracts import NO_EXTRA
from components.sources.formats.contract import Read, Turns
from components.sources.formats.defects import EMPTY

GENERATED: Final = frozenset({"assistant", "reasoning", "tool_call"})  # types that a model writes
_FENCE: Final = re.compile(r"```[^\n`]*\n(.*?)```|```([^`\n]+)```", re.DOTALL)


class Piece(NamedTuple):
    """One readable part of a message; `text` is never blank."""

    type: str
    text: str
    extra: Mapping[str, Any] = NO_EXTRA
    timestamp: datetime | None = None


def piece_if_text(kind: str, text: str) -> list[Piece]:
    """One piece, or none where the text is blank."""
    return [Piece(type=kind, text=text)] if text.strip() else []


def event_if_text(turns: Turns, kind: str, text: str, extra: Mapping[str, Any]) -> Read:
    """The next event of a run, or a skip where the text is blank."""
    return turns.event(kind, text, extra=extra) if text.strip() else EMPTY


def events(
    turns: Turns, pieces: Iterable[Piece], extra: Mapping[str, Any] | None = None, when: datetime | None = None
) -> Iterator[Read]:
    """The pieces as the next events of a run; a message without any is skipped as empty."""
    is_empty = True
    for piece in pieces:
        is_empty = False
        yield turns.event(piece.type, piece.text, piece.timestamp or when, {**(extra or {}), **piece.extra})
    if is_empty:
        yield EMPTY


def answer_pieces(text: str) -> list[Piece]:
    r"""A model's answer whose last fenced block is the action it takes: its text, then the call.

    >>> [(p.type, p.text) for p in answer_pieces("I look.\n```\nls -a\n```")]
    [('assistant', 'I look.'), ('tool_call', 'ls -a')]
    """
    fences = list(_FENCE.finditer(text))
    if not fences:
        return piece_if_text("assistant", text)
    last = fences[-1]
    action = (last.group(1) or last.group(2) or "").strip()
    prose = (text[: last.start()].rstrip() + text[last.end() :]).strip()
    return [*piece_if_text("assistant", prose), *piece_if_text("tool_call", action)]
