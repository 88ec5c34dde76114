"""openclaw telemetry: one event a line with a dotted type; starts of an agent repeat the conversation so far.

A file is one gateway: what its main agents do is one run, each sub-agent's session is one of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from components.contracts import Json, Skipped
from components.sources.formats.content import json_text, text_of, tool_call
from components.sources.formats.contract import Format, Head, Options, Read, Turns, Verdict, accept, decline
from components.sources.formats.deduplication import SeenPieces
from components.sources.formats.defects import REPEATED, guarded, not_an_object
from components.sources.formats.messages import pieces_of
from components.sources.formats.pieces import GENERATED, Piece, piece_if_text
from components.sources.formats.times import timestamp
from components.sources.formats.values import mostly, pick_scalars

MAX_KEYS: Final = 20_000  # messages that a reader remembers of one run
NO_TEXT: Final = Skipped(rule="event without text")
PREFIXES: Final = tuple(
    f"{family}."
    for family in (
        *("message", "agent", "subagent", "tool", "session", "llm", "model", "run", "exec", "hook"),
        *("gateway", "channel", "cron", "memory", "queue", "webhook", "diagnostic"),
    )
)
TEXT_KEYS: Final = ("content", "prompt", "text", "message", "response", "summary")
ABOUT: Final = ("sessionKey", "agentId", "channel", "toolName", "durationMs", "success", "seq", "model")


def recognises(head: Head) -> Verdict:
    """Are its lines events with dotted types?"""
    if mostly(head.lines, _is_event):
        return accept("lines of events with dotted types such as `agent.start` and `tool.start`")
    return decline("no lines of events with dotted types such as `agent.start`")


def _is_event(line: Json) -> bool:
    kind = line.get("type") if isinstance(line, dict) else None
    if not isinstance(kind, str) or not kind.startswith(PREFIXES) or isinstance(line.get("data"), dict):
        return False  # other agents nest their values under `data`
    return bool({"sessionKey", "agentId", "channel", "toolName", "ts", "seq", "timestamp"} & line.keys())


class _Run:
    __slots__ = ("answering", "seen", "turns")

    def __init__(self, name: str, state: Json = None) -> None:
        iteration, idx, seen, answering = state or (0, 0, None, False)
        self.turns = Turns(run=name, iteration=iteration, idx=idx)
        self.seen = SeenPieces(seen)
        self.answering: bool = answering

    def state(self) -> Json:
        return [self.turns.iteration, self.turns.idx, self.seen.state(), self.answering]


class Events:
    """Reads event after event. Of several events that hold one message the first one counts."""

    def __init__(self, state: Json, options: Options) -> None:
        self.all = options.history == "all"
        runs = state if isinstance(state, dict) else {}
        self.runs = {name: _Run(name, run) for name, run in runs.items()}

    def state(self) -> Json:
        """The numbering and the messages of every run."""
        return {name: run.state() for name, run in self.runs.items()}

    def read(self, item: Json) -> Iterator[Read]:
        """What one event becomes."""
        if isinstance(item, dict):
            yield from guarded(0, self._read(item))
        else:
            yield not_an_object(0, item)

    def _read(self, event: Mapping[str, Json]) -> Iterator[Read]:
        run = self._run(event)
        run.seen.forget(MAX_KEYS)
        kind = str(event.get("type"))
        when = timestamp(event.get("ts") or event.get("timestamp"))
        about = {**pick_scalars(event, *ABOUT), "event": kind}
        history = event.get("messages")
        if isinstance(history, list):
            yield from self._history(run, history, about)
        pieces = list(_pieces(kind, event))
        view = f"{kind} with history" if isinstance(history, list) else kind
        checked = ((piece, run.seen.new_in_view(view, piece)) for piece in pieces)
        yield from self._emit(run, checked, when, about)
        if kind.startswith("tool.") and kind != "tool.start":  # what comes next answers the tool
            run.answering = False
        if not history and not pieces:
            yield NO_TEXT

    def _run(self, event: Mapping[str, Json]) -> _Run:
        key = str(event.get("sessionKey") or "")
        name = key if ":subagent:" in key else ""
        return self.runs.setdefault(name, _Run(name))

    def _history(self, run: _Run, messages: Iterable[Json], about: Mapping[str, Any]) -> Iterator[Read]:
        pieces = [piece for message in messages for piece in pieces_of(message)]
        yield from self._emit(run, run.seen.new_in_history(pieces), None, about)

    def _emit(
        self, run: _Run, checked: Iterable[tuple[Piece, bool]], when: datetime | None, about: Mapping[str, Any]
    ) -> Iterator[Read]:
        for piece, is_new in checked:
            if not is_new and not self.all:
                yield REPEATED
                continue
            generated = piece.type in GENERATED
            if generated and not run.answering:
                run.turns.respond()
            run.answering = generated
            yield run.turns.event(piece.type, piece.text, piece.timestamp or when, {**about, **piece.extra})


def _pieces(kind: str, event: Mapping[str, Json]) -> Iterator[Piece]:
    """The pieces of an event itself."""
    if isinstance(error := event.get("error"), str | dict) and error:
        yield from piece_if_text("error", text_of(error))
    if kind == "tool.start":
        yield from piece_if_text(
            "tool_call", tool_call(event.get("toolName"), event.get("params") or event.get("arguments"))
        )
    elif kind.startswith("tool."):
        for key in ("result", "output", "content"):
            if (result := event.get(key)) is not None:
                failed = event.get("success") is False
                text = result if isinstance(result, str) else text_of(result) if key == "content" else json_text(result)
                yield from piece_if_text("error" if failed else "tool_result", text)
                return
    else:
        text = next((text for key in TEXT_KEYS if (text := text_of(event.get(key))).strip()), "")
        yield from piece_if_text(_type_of_text(kind), text)


def _type_of_text(kind: str) -> str:
    if kind in ("message.in", "message.received", "agent.start"):
        return "user"
    if kind.startswith(("message.", "agent.", "llm.", "model.")):
        return "assistant"
    return kind


ROWS: Final = (Format(name="openclaw_events", shape="lines", recognises=recognises, reader=Events),)
