"""openclaw telemetry: one event a line with a dotted type; starts of an agent repeat the conversation so far.

A file is one gateway: what its main agents do is one run, each sub-agent's session is one of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from components.contracts import Json, Skipped
from components.sources.formats.content import json_text, text_of, timestamp, tool_call
from components.sources.formats.contract import (
    Format,
    Head,
    LineReader,
    Options,
    Read,
    Turns,
    Verdict,
    accept,
    decline,
)
from components.sources.formats.messages import pieces_of
from components.sources.formats.pieces import GENERATED, REPEATED, Piece, Said, guarded, mostly, named, not_an_object

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
    if mostly(head.lines, _is_event):
        return accept("lines of events with dotted types such as `agent.start` and `tool.start`")
    return decline("no lines of events with dotted types such as `agent.start`")


def _is_event(line: Json) -> bool:
    kind = line.get("type") if isinstance(line, dict) else None
    if not isinstance(kind, str) or not kind.startswith(PREFIXES) or isinstance(line.get("data"), dict):
        return False  # other agents nest what they tell under `data`
    return bool({"sessionKey", "agentId", "channel", "toolName", "ts", "seq", "timestamp"} & line.keys())


class _Run:
    __slots__ = ("answering", "said", "turns")

    def __init__(self, name: str, state: Json = None) -> None:
        iteration, idx, said, answering = state or (0, 0, None, False)
        self.turns = Turns(run=name, iteration=iteration, idx=idx)
        self.said = Said(said)
        self.answering: bool = answering

    def state(self) -> Json:
        return [self.turns.iteration, self.turns.idx, self.said.state(), self.answering]


class Events:
    """Reads event after event. Of several witnesses of one message the first one counts."""

    def __init__(self, state: Json, options: Options) -> None:
        self.all = options.history == "all"
        runs = state if isinstance(state, dict) else {}
        self.runs = {name: _Run(name, run) for name, run in runs.items()}

    def state(self) -> Json:
        return {name: run.state() for name, run in self.runs.items()}

    def read(self, item: Json) -> Iterator[Read]:
        if isinstance(item, dict):
            yield from guarded(0, self._read(item))
        else:
            yield not_an_object(0, item)

    def _read(self, event: Mapping[str, Json]) -> Iterator[Read]:
        run = self._run(event)
        run.said.forget(MAX_KEYS)
        kind = str(event.get("type"))
        when = timestamp(event.get("ts") or event.get("timestamp"))
        about = {**named(event, *ABOUT), "event": kind}
        history = event.get("messages")
        if isinstance(history, list):
            yield from self._history(run, history, about)
        pieces = list(_pieces(kind, event))
        view = f"{kind} with history" if isinstance(history, list) else kind
        told = self._live(run, view, pieces)
        yield from self._given(run, told, when, about)
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
        yield from self._given(run, run.said.new_in_history(pieces), None, about)

    def _live(self, run: _Run, view: str, pieces: Iterable[Piece]) -> Iterator[tuple[Piece, bool]]:
        for piece in pieces:
            yield piece, run.said.new_in_view(view, piece)

    def _given(
        self, run: _Run, told: Iterable[tuple[Piece, bool]], when: datetime | None, about: Mapping[str, Any]
    ) -> Iterator[Read]:
        for piece, new in told:
            if not new and not self.all:
                yield REPEATED
                continue
            generated = piece.type in GENERATED
            if generated and not run.answering:
                run.turns.respond()
            run.answering = generated
            yield run.turns.event(piece.type, piece.text, piece.timestamp or when, {**about, **piece.extra})


def _pieces(kind: str, event: Mapping[str, Json]) -> Iterator[Piece]:
    """What an event itself says, in the usual types."""
    if isinstance(error := event.get("error"), str | dict) and error:
        yield from _piece("error", text_of(error))
    if kind == "tool.start":
        yield from _piece("tool_call", tool_call(event.get("toolName"), event.get("params") or event.get("arguments")))
    elif kind.startswith("tool."):
        for key in ("result", "output", "content"):
            if (result := event.get(key)) is not None:
                failed = event.get("success") is False
                text = result if isinstance(result, str) else text_of(result) if key == "content" else json_text(result)
                yield from _piece("error" if failed else "tool_result", text)
                return
    else:
        text = next((text for key in TEXT_KEYS if (text := text_of(event.get(key))).strip()), "")
        yield from _piece(_speaker(kind), text)


def _speaker(kind: str) -> str:
    if kind in ("message.in", "message.received", "agent.start"):
        return "user"
    if kind.startswith(("message.", "agent.", "llm.", "model.")):
        return "assistant"
    return kind


def _piece(kind: str, text: str) -> list[Piece]:
    return [Piece(type=kind, text=text)] if text.strip() else []


def _events(state: Json, options: Options) -> LineReader:
    return Events(state, options)


ROWS: Final = (Format(name="openclaw_events", shape="lines", recognises=recognises, reader=_events),)
