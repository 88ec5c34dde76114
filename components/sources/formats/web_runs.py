"""Web runs of the Agent Data Protocol: a task with an intent, and a trajectory of pages seen and actions taken in turn.

A page is `{url, axtree, screenshot_path}`, an action `{metadata: {cot}, action: {action_name, element_id, …}}`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from components.contracts import Json, Skipped
from components.sources.formats.content import text_of, tool_call
from components.sources.formats.contract import Read, Turns
from components.sources.formats.defects import EMPTY, not_an_object
from components.sources.formats.values import listed, mapping, mostly, pick_scalars

UNKNOWN_STEP = Skipped(rule="step that is neither a page nor an action", is_unknown=True)
_SCREENSHOT = "[image]"


def is_web_run(item: Json) -> bool:
    """Is it a task whose trajectory holds pages and actions?"""
    if not isinstance(item, dict) or not isinstance(trajectory := item.get("trajectory"), list):
        return False
    return mostly(trajectory, lambda step: _is_page(step) or _is_action(step)) and any(map(_is_action, trajectory))


def _is_page(step: Json) -> bool:
    return isinstance(step, dict) and "action" not in step and ("axtree" in step or "screenshot_path" in step)


def _is_action(step: Json) -> bool:
    return isinstance(step, dict) and isinstance(mapping(step.get("action")).get("action_name"), str)


def read_web_run(item: Mapping[str, Json], run: str) -> Iterator[Read]:
    """The items of one run: the task, then what the agent saw, thought and did."""
    turns, about = Turns(run=run), pick_scalars(item, "task_id", "website", "success", "reward", "score")
    intent = text_of(item.get("intent"))
    yield turns.event("user", intent, extra=about) if intent.strip() else EMPTY
    for place, step in enumerate(listed(item.get("trajectory"))):
        if not isinstance(step, dict):
            yield not_an_object(place, step)
        elif _is_action(step):
            yield from _action(turns, step, about)
        elif _is_page(step):
            yield _page(turns, step, about)
        else:
            yield UNKNOWN_STEP


def _action(turns: Turns, step: Mapping[str, Json], about: Mapping[str, Json]) -> Iterator[Read]:
    turns.respond()
    thought = text_of(mapping(step.get("metadata")).get("cot"))
    if thought.strip():
        yield turns.event("reasoning", thought, extra=about)
    action = mapping(step.get("action"))
    arguments = {key: value for key, value in action.items() if key != "action_name" and value not in (None, "")}
    name = text_of(action.get("action_name"))
    text = tool_call(name, arguments or None)
    yield turns.event("tool_call", text, extra={**about, "tool": name}) if text else EMPTY


def _page(turns: Turns, step: Mapping[str, Json], about: Mapping[str, Json]) -> Read:
    seen = text_of(step.get("axtree")) or (_SCREENSHOT if step.get("screenshot_path") else "")
    url = text_of(step.get("url"))
    text = "\n".join(part for part in (url, seen) if part.strip())
    if not text:
        return EMPTY
    return turns.event("tool_result", text, extra={**about, "url": url} if url else about)
