"""Runs of smolagents: the steps of an agent's memory, as a list or as the `steps` of a run's result.

What a step sends to the model (`model_input_messages`) repeats the steps before it and is not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from components.contracts import Json, Skipped
from components.sources.formats.content import json_text, text_of
from components.sources.formats.contract import End, Format, Head, Options, Read, Verdict, accept, decline
from components.sources.formats.defects import EMPTY, guarded, not_an_object
from components.sources.formats.sessions import Session
from components.sources.formats.times import timestamp
from components.sources.formats.values import first_of, listed, mapping, mostly, total

_OPENING: Final = re.compile(r"(?:<code>|```\w*|Code:)\s*$")
_CLOSING: Final = re.compile(r"^(?:</code>|```)(?:<end_code>)?")
UNKNOWN: Final = Skipped(rule="step of another type", is_unknown=True)
TEXTS: Final = (("system_prompt", "system"), ("task", "user"), ("plan", "assistant"))


def _steps(document: Json) -> list[Json]:
    return document if isinstance(document, list) else listed(mapping(document).get("steps"))


def _is_step(step: Json) -> bool:
    about = mapping(step)
    if "step_number" in about:
        return not {"model_output", "model_output_message", "observations"}.isdisjoint(about)
    return any(key in about for key, _ in TEXTS)


def _recognise(head: Head) -> Verdict:
    steps = _steps(head.document)
    n = sum("step_number" in mapping(step) for step in steps)
    if n and mostly(steps, _is_step):
        return accept(f"{n} steps with a number, the model's output and observations")
    return decline("no steps with a number, the model's output and observations")


def _read(document: Json, _: Options) -> Iterator[Read]:
    session = Session()
    for index, step in enumerate(_steps(document)):
        if isinstance(step, dict):
            yield from guarded(index, _step(session, step))
        else:
            yield not_an_object(index, step)


def _step(session: Session, step: Mapping[str, Json]) -> Iterator[Read]:
    timing = mapping(step.get("timing"))
    began, ended = timestamp(timing.get("start_time")), timestamp(timing.get("end_time"))
    if "step_number" not in step:
        found = next(((kind, step[key]) for key, kind in TEXTS if key in step), None)
        if found is None:
            yield UNKNOWN
            return
        if found[0] == "assistant":
            session.respond()
        yield from session.record(found[0], text_of(found[1]), began)
        return
    session.respond()
    usage = mapping(step.get("token_usage"))
    session.once = {"tokens": total(usage, "input_tokens", "output_tokens")}
    said = text_of(first_of(step, "model_output") or mapping(step.get("model_output_message")).get("content"))
    code = text_of(step.get("code_action")).strip()
    if prose := _without(said, code):
        yield from session.record("assistant", prose, began)
    for call in map(mapping, listed(step.get("tool_calls"))):
        function = mapping(call.get("function")) or call
        yield from session.call(call.get("id"), function.get("name"), function.get("arguments"), began)
    yield from _outcome(session, step, ended)


def _without(said: str, code: str) -> str:
    """What the model said, without the code that is its call."""
    at = said.find(code) if code else -1
    if at < 0:
        return said.strip()
    before, after = said[:at].rstrip(), said[at + len(code) :].lstrip()
    return f"{_OPENING.sub('', before)}\n{_CLOSING.sub('', after)}".strip()


def _outcome(session: Session, step: Mapping[str, Json], ended: Json) -> Iterator[Read]:
    error = step.get("error")
    text = text_of(mapping(error).get("message") or error)
    observations = text_of(step.get("observations"))
    if observations.strip():
        yield from session.input("tool_result", observations, ended)
    if text.strip():
        yield from session.input("error", text, ended)
    answer = step.get("action_output")
    if step.get("is_final_answer") is True and answer is not None:
        yield from session.record("assistant", answer if isinstance(answer, str) else json_text(answer), ended)
    elif not (observations or text):
        yield EMPTY


def _end(document: Json) -> End:
    last = (_steps(document) or [None])[-1]
    if mapping(last).get("is_final_answer") is True:
        return End(mark=True, reason="its last step is the final answer")
    return End(mark=False, reason="its last step is no final answer")


ROWS: tuple[Format, ...] = (Format(name="smolagents", shape="document", recognises=_recognise, read=_read, end=_end),)
