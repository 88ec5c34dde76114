"""tau-bench results (a list of scored runs), its few-shot dialogues, and tau2 simulations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from components.contracts import Defect, Json, Skipped
from components.sources.formats.contract import End, Format, Head, Options, Read, Turns, Verdict, accept, decline
from components.sources.formats.defects import EMPTY, excerpt, guarded, not_an_object
from components.sources.formats.message_parts import role_type
from components.sources.formats.messages import pieces_of
from components.sources.formats.pieces import events
from components.sources.formats.runs import RunNames
from components.sources.formats.values import mapping, mostly, scalars

EMPTY_RUN: Final = Skipped(rule="run without messages")
_SPEAKER: Final = re.compile(r"^\s*([A-Za-z_ ]{2,20}):\s", re.MULTILINE)


def recognises(head: Head) -> Verdict:
    """Are they scored runs, or simulations with messages?"""
    runs = _runs(head.document)
    if runs is None:
        return decline("no list of runs with `traj` and `reward`, and no tau2 `simulations`")
    if not any(isinstance(run, dict) and _messages(run) for run in runs):
        return decline("runs without messages that hold text (a voice simulation has none)")
    scored = isinstance(head.document, list) or _is_run(head.document)
    return accept("runs with `traj` and `reward`" if scored else "tau2 simulations")


def _runs(document: Json) -> list[Json] | None:
    if isinstance(document, list) and document:
        return document if mostly(document, _is_run) else None
    if not isinstance(document, dict):
        return None
    if isinstance(simulations := document.get("simulations"), list):
        return simulations
    if _is_run(document) or ("termination_reason" in document and isinstance(document.get("messages"), list)):
        return [document]
    return None


def _is_run(run: Json) -> bool:
    return isinstance(run, dict) and isinstance(run.get("traj"), list) and "reward" in run


def _messages(run: Mapping[str, Json]) -> list[Json]:
    for key in ("traj", "messages"):
        if isinstance(run.get(key), list):
            return list(_flat(run[key]))
    return []


def _flat(messages: Iterable[Json]) -> Iterator[Json]:
    for message in messages:  # tau2 binds the answers to parallel calls into one message
        inner = message.get("tool_messages") if isinstance(message, dict) else None
        if isinstance(inner, list):
            yield from inner
        else:
            yield message


def read(document: Json, _: Options) -> Iterator[Read]:
    """The items of all runs of a document."""
    names = RunNames()
    for index, run in enumerate(_runs(document) or ()):
        if isinstance(run, dict):
            yield from guarded(index, _read_run(index, run, names))
        else:
            yield not_an_object(index, run)


def _read_run(index: int, run: Mapping[str, Json], names: RunNames) -> Iterator[Read]:
    about = _about(run)
    turns = Turns(run=names.unique("-".join(str(about[key]) for key in ("task_id", "trial") if key in about)))
    messages = _messages(run)
    if not messages:
        yield EMPTY_RUN
    for message in messages:
        if not isinstance(message, dict):
            yield not_an_object(index, message)
            continue
        if role_type(message.get("role")) == "assistant":
            turns.respond()
        yield from events(turns, pieces_of(message), about)
    if isinstance(error := mapping(run.get("info")).get("error"), str) and error.strip():
        yield turns.event("error", error, extra=about)


def _about(run: Mapping[str, Json]) -> dict[str, Any]:
    reward = run.get("reward")
    if isinstance(scores := run.get("reward_info"), dict):
        reward = scores.get("reward")
    values = {
        "task_id": run.get("task_id"),
        "trial": run.get("trial"),
        "reward": reward,
        "termination_reason": run.get("termination_reason"),
        "task": run.get("task_id"),
    }
    return scalars(values)


def end(document: Json) -> End:
    """Has every run its reward, or the reason why it ended?"""
    runs = _runs(document) or []
    done = bool(runs) and all(isinstance(run, dict) and {"reward", "termination_reason"} & run.keys() for run in runs)
    return End(mark=done, reason="every run has its reward" if done else "a run has no reward yet")


# --- a line each: scored runs, or few-shot dialogues as one flat text --------------------------------------------


def recognises_lines(head: Head) -> Verdict:
    """Are they few-shot dialogues or scored runs?"""
    if mostly(head.lines, lambda line: isinstance(line, dict) and "messages_display" in line):
        return accept("lines with `messages_display`")
    if mostly(head.lines, _is_run):
        return accept("lines with `traj` and `reward`")
    return decline("no lines with `messages_display`, or with `traj` and `reward`")


class Lines:
    """Reads few-shot dialogues or scored runs, one a line."""

    def __init__(self, state: Json, _: Options) -> None:
        self.lines = int(state["lines"]) if isinstance(state, dict) else 0
        self.names = RunNames(state["names"] if isinstance(state, dict) else None)

    def read(self, item: Json) -> Iterator[Read]:
        """The items of one line."""
        self.lines += 1
        if _is_run(item):
            yield from guarded(0, _read_run(0, item, self.names))
            return
        display = mapping(item).get("messages_display")
        if not isinstance(display, str):
            yield Defect(offset=0, reason="a line without the text `messages_display`", excerpt=excerpt(item))
            return
        turns = Turns(run=str(self.lines))
        messages = list(_split_dialogue(display))
        if not messages:
            yield EMPTY
        for role, text in messages:
            kind = {"customer": "user", "agent": "assistant"}.get(role, role_type(role))
            if kind == "assistant":
                turns.respond()
            yield turns.event(kind, text)

    def state(self) -> Json:
        """The number of lines read and the names used."""
        return {"lines": self.lines, "names": self.names.count}


def _split_dialogue(display: str) -> Iterator[tuple[str, str]]:
    """Role and text of each message."""
    found = [match for match in _SPEAKER.finditer(display) if _is_speaker(match.group(1))]
    bounds = [match.start() for match in found] + [len(display)]
    before = display[: bounds[0]].strip()
    if before:
        yield "user", before
    for match, stop in zip(found, bounds[1:], strict=True):
        if text := display[match.end() : stop].strip():
            yield match.group(1).strip().lower(), text


def _is_speaker(word: str) -> bool:
    return word.strip().lower() in {"user", "assistant", "customer", "agent", "tool", "system", "api", "function"}


ROWS: Final = (
    Format(name="tau_bench", shape="document", recognises=recognises, read=read, end=end),
    Format(name="tau_bench", shape="lines", recognises=recognises_lines, reader=Lines),
)
