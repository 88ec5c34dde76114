"""SWE-smith trajectories: one run a line, whose messages are a text of JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from components.contracts import Json, Skipped
from components.sources.formats.contract import Format, Head, Options, Read, Turns, Verdict, accept, decline
from components.sources.formats.defects import guarded, not_an_object
from components.sources.formats.message_parts import is_message
from components.sources.formats.messages import Conversation
from components.sources.formats.runs import RunNames, run_per_line
from components.sources.formats.values import filled_scalars, first_of, mostly, parse_json, scalars

KEPT: Final = ("instance_id", "traj_id", "model", "exit_status", "cost")
NO_MESSAGES: Final = Skipped(rule="run without messages")


def _messages(item: Json) -> list[Json]:
    raw = item.get("messages") if isinstance(item, dict) else None
    found = parse_json(raw) if isinstance(raw, str) else None
    return found if isinstance(found, list) else []


def _recognise(head: Head) -> Verdict:
    if head.lines and mostly(head.lines[:5], lambda line: mostly(_messages(line), is_message)):
        return accept("runs whose messages are a text of JSON")
    return decline("no runs whose messages are a text of JSON")


def _read(item: Json, names: RunNames, _: Options) -> Iterable[Read]:
    if not isinstance(item, dict):
        return [not_an_object(0, item)]
    name = first_of(item, "traj_id", "instance_id")
    about = {"run": name, **{key: item[key] for key in KEPT if key in item}}
    if isinstance(resolved := item.get("resolved"), bool):
        about["outcome"] = "pass" if resolved else "fail"
    conversation = Conversation(turns=Turns(run=names.unique(name)), extra=filled_scalars(scalars(about)))
    messages = _messages(item)
    found = (read for place, message in enumerate(messages) for read in conversation.read(message, place))
    return guarded(0, found) if messages else [NO_MESSAGES]


ROWS: tuple[Format, ...] = (Format(name="swe_smith", shape="lines", recognises=_recognise, reader=run_per_line(_read)),)
