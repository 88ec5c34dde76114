"""SWE-agent trajectories: `.traj`, one JSON document a run.

A step of `trajectory` is one model response: the thought, the action, the observation. `history` repeats them as
the model saw them (shortened), so only its opening is read: system prompt and task. Some files have `history` alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from components.contracts import Json, Skipped
from components.sources.formats.content import text_of
from components.sources.formats.contract import Format, Head, Options, Read, Turns, Verdict, accept, decline
from components.sources.formats.defects import EMPTY, guarded, not_an_object
from components.sources.formats.message_parts import is_message
from components.sources.formats.messages import read_messages
from components.sources.formats.runs import exit_status_end
from components.sources.formats.values import listed, mapping, mostly, scalars

DEMONSTRATION: Final = Skipped(rule="demonstration")
REPEATED_HISTORY: Final = Skipped(rule="history retells the trajectory")


def _recognise(head: Head) -> Verdict:
    document = head.document
    if not isinstance(document, dict):
        return decline("not a JSON object")
    steps, history = document.get("trajectory"), document.get("history")
    if isinstance(steps, list) and mostly(steps, _is_step):
        return accept(f"trajectory of {len(steps)} steps with action and observation")
    if isinstance(steps, list) and not steps and _is_history(history):
        return accept("an empty trajectory and a history with roles")
    if steps is None and _is_history(history) and "question_ID" not in document:
        return accept("no trajectory, but a history whose items name their agent or message type")
    return decline("no trajectory of steps with action and observation, no history of an agent's messages")


def _is_step(item: Json) -> bool:
    return isinstance(item, dict) and "action" in item and "observation" in item


def _is_history(history: Json) -> bool:
    return isinstance(history, list) and mostly(history, _names_its_agent)


def _names_its_agent(message: Json) -> bool:
    return is_message(message) and not message.keys().isdisjoint(("agent", "message_type"))


def _read(document: Json, _: Options) -> Iterator[Read]:
    if not isinstance(document, dict):
        yield not_an_object(0, document)
        return
    steps, history = document.get("trajectory"), document.get("history")
    extra = _meta(document)
    if isinstance(steps, list) and steps:
        turns = Turns()
        yield from guarded(0, _opening(turns, listed(history), extra))
        for place, step in enumerate(steps):
            yield from guarded(place, _step(turns, step, place, extra))
    else:
        yield from _history(listed(history), extra)


def _history(history: list[Json], extra: Mapping[str, Json]) -> Iterator[Read]:
    yield from (DEMONSTRATION for message in history if _is_demonstration(message))
    yield from read_messages([m for m in history if not _is_demonstration(m)], extra=extra)


def _opening(turns: Turns, history: list[Json], extra: Mapping[str, Json]) -> Iterator[Read]:
    """System prompt and task: what the history holds before the first response."""
    opening = True
    for place, message in enumerate(history):
        if not isinstance(message, dict):
            yield not_an_object(place, message)
        elif _is_demonstration(message):
            yield DEMONSTRATION
        elif not (opening := opening and message.get("role") != "assistant"):
            yield REPEATED_HISTORY
        elif (text := text_of(message.get("content"))).strip():
            yield turns.event("system" if message.get("role") == "system" else "user", text, extra=extra)
        else:
            yield EMPTY


def _is_demonstration(message: Json) -> bool:
    return isinstance(message, dict) and message.get("is_demo") is True


def _step(turns: Turns, step: Json, place: int, extra: Mapping[str, Json]) -> Iterator[Read]:
    if not isinstance(step, dict):
        yield not_an_object(place, step)
        return
    turns.respond()
    thought = text_of(step.get("thought"))
    thought = thought if thought.strip() else text_of(step.get("response"))
    own = extra
    if isinstance(seconds := step.get("execution_time"), int | float):
        own = {**extra, "execution_time_s": seconds}
    events: list[Read] = [
        turns.event(kind, text, extra=more)
        for kind, text, more in (
            ("reasoning", text_of(step.get("thinking_blocks")), extra),
            ("assistant", thought, extra),
            ("tool_call", text_of(step.get("action")), own),
            ("tool_result", text_of(step.get("observation")), own),
        )
        if text and not text.isspace()
    ]
    yield from events or [EMPTY]


def _meta(document: Mapping[str, Json]) -> dict[str, Json]:
    """What is kept of the run: how it ended, what it cost, which environment and model."""
    info, config = mapping(document.get("info")), mapping(document.get("replay_config"))
    stats = mapping(info.get("model_stats"))
    agent = mapping(config.get("agent"))
    found = {
        "environment": document.get("environment"),
        "exit_status": info.get("exit_status"),
        "model": mapping(agent.get("model")).get("name"),
        "instance_id": (instance := mapping(config.get("problem_statement")).get("id")),
        "task": instance,
        "cost": stats.get("instance_cost"),
        "api_calls": stats.get("api_calls"),
    }
    return scalars(found)


ROWS: tuple[Format, ...] = (
    Format(name="swe_agent", shape="document", recognises=_recognise, read=_read, end=exit_status_end),
)
