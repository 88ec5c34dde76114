"""One session of an agent whose log is a stream of small items: their numbers, and what they have in common."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from components.contracts import Json
from components.sources.formats.content import text_of, tool_call
from components.sources.formats.contract import Read, Turns
from components.sources.formats.defects import EMPTY
from components.sources.formats.values import filled_scalars

MAX_OPEN_CALLS: Final = 500  # whose results are still to come


class Session:
    """Numbers the items of one session; `about` goes into the extras of each, `calls` are those without a result yet.

    `once` goes into the extras of the next item alone, as the tokens of a response do.
    """

    __slots__ = ("about", "answering", "calls", "once", "turns")

    def __init__(self, state: Json = None) -> None:
        iteration, idx, about, calls, answering, once = state or (0, 0, {}, {}, False, {})
        self.turns = Turns(iteration=iteration, idx=idx)
        self.about: dict[str, Json] = dict(about)
        self.calls: dict[str, str] = dict(calls)  # call id -> tool
        self.answering: bool = answering  # the last item came from the model
        self.once: dict[str, Json] = dict(once)

    def state(self) -> Json:
        """Plain JSON from which an equal session is made."""
        return [self.turns.iteration, self.turns.idx, self.about, self.calls, self.answering, self.once]

    def know(self, **about: Json) -> None:
        """Keep what is known of all items from here on; what is null, empty or nested is left out."""
        self.about.update(filled_scalars(about))

    def respond(self) -> None:
        """A new response of the model begins."""
        self.turns.respond()
        self.answering = True

    def continue_response(self) -> None:
        """What follows belongs to a response: to the one that is open, or else to a new one."""
        if not self.answering:
            self.respond()

    def record(
        self, kind: str, text: str, when: datetime | None = None, more: Mapping[str, Json] | None = None
    ) -> list[Read]:
        """The next item, or a skip where there is nothing to read."""
        if not text or text.isspace():
            return [EMPTY]
        extra = {**self.about, **filled_scalars({**self.once, **(more or {})})}
        self.once = {}
        return [self.turns.event(kind, text, when, extra)]

    def input(
        self, kind: str, text: str, when: datetime | None = None, more: Mapping[str, Json] | None = None
    ) -> list[Read]:
        """The same for what comes from outside of the model: the response ends with it."""
        self.answering = False
        return self.record(kind, text, when, more)

    def call(
        self,
        id: Json,
        name: Json,
        arguments: Json,
        when: datetime | None = None,
        more: Mapping[str, Json] | None = None,
    ) -> list[Read]:
        """A tool call; its result finds the tool's name by `id`."""
        if isinstance(id, str) and isinstance(name, str):
            self.calls[id] = name
            if len(self.calls) > MAX_OPEN_CALLS:
                del self.calls[next(iter(self.calls))]
        about = {"tool": name, "call_id": id, **(more or {})}
        return self.record("tool_call", tool_call(name, arguments), when, about)

    def result(
        self,
        id: Json,
        result: Json,
        when: datetime | None = None,
        *,
        failed: bool = False,
        more: Mapping[str, Json] | None = None,
    ) -> list[Read]:
        """A tool's result, with the name of the tool that was called."""
        self.answering = False
        tool = self.calls.pop(id, None) if isinstance(id, str) else None
        about = {"tool": tool, "call_id": id, **(more or {})}
        return self.record("error" if failed else "tool_result", text_of(result), when, about)
