"""Tree-of-thought results: a list of tasks, each with the thoughts of its steps, or with the path of a depth-first search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from components.contracts import Json, Skipped
from components.sources.formats.content import text_of
from components.sources.formats.contract import Format, Head, Options, Read, Turns, Verdict, accept, decline
from components.sources.formats.defects import guarded, not_an_object
from components.sources.formats.pieces import event_if_text
from components.sources.formats.runs import RunNames
from components.sources.formats.values import listed, mapping, mostly, pick_scalars

REPEATED_ANSWER: Final = Skipped(rule="the answer repeats a thought of a step")
REPEATED_TASK: Final = Skipped(rule="the step repeats its task")


def recognises(head: Head) -> Verdict:
    """Is it a list of tasks or searches?"""
    tasks = head.document
    if not isinstance(tasks, list) or not tasks:
        return decline("no list of tasks")
    if mostly(tasks, _is_task):
        return accept("a list of tasks with `idx` and `ys` or `steps`")
    if mostly(tasks, _is_search) and any(tasks[:20]):
        return accept("a list of searches whose steps have `env_step` and `actions`")
    return decline("neither tasks with `idx` and `ys` nor searches with `env_step` and `actions`")


def _is_task(task: Json) -> bool:
    if not isinstance(task, dict) or "idx" not in task:
        return False
    answers = task.get("ys")
    return isinstance(task.get("steps"), list) or (
        isinstance(answers, list) and all(isinstance(answer, str) for answer in answers)
    )


def _is_search(task: Json) -> bool:
    return isinstance(task, list) and all(
        isinstance(step, dict) and "actions" in step and ("env_step" in step or "total_step" in step)
        for step in task[:20]
    )


def read(document: Json, _: Options) -> Iterator[Read]:
    """The items of all tasks."""
    names = RunNames()
    for index, task in enumerate(listed(document)):
        if isinstance(task, dict):
            yield from guarded(index, _read_task(index, task, names))
        elif isinstance(task, list):
            yield from guarded(index, _read_search(index, task, names))
        else:
            yield not_an_object(index, task)


def _read_task(index: int, task: Mapping[str, Json], names: RunNames) -> Iterator[Read]:
    turns = Turns(run=names.unique(task.get("idx", index)))
    thoughts: set[str] = set()
    asked: set[str] = set()
    for step in listed(task.get("steps")):
        if isinstance(step, dict):
            yield from _read_step(turns, step, asked, thoughts)
        else:
            yield not_an_object(index, step)
    answers = listed(task.get("ys"))
    if any(text_of(answer) not in thoughts for answer in answers):
        turns.respond()  # all samples of one answer come from one request
    for place, answer in enumerate(answers):
        text = text_of(answer)
        is_repeated = text in thoughts
        yield REPEATED_ANSWER if is_repeated else event_if_text(turns, "assistant", text, _score(task, place))


def _read_step(turns: Turns, step: Mapping[str, Json], asked: set[str], thoughts: set[str]) -> Iterator[Read]:
    question = text_of(step.get("x"))
    if question.strip():
        yield REPEATED_TASK if question in asked else turns.event("user", question, extra=pick_scalars(step, "step"))
        asked.add(question)
    turns.respond()
    chosen = {text_of(choice) for choice in listed(step.get("select_new_ys"))}
    values = listed(step.get("values"))
    for place, thought in enumerate(listed(step.get("new_ys"))):
        text = text_of(thought)
        thoughts.add(text)
        value = {"value": values[place]} if place < len(values) and isinstance(values[place], int | float) else {}
        extra = {**pick_scalars(step, "step"), **value, **({"chosen": text in chosen} if chosen else {})}
        yield event_if_text(turns, "assistant", text, extra)


def _score(task: Mapping[str, Json], place: int) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    correct, infos = listed(task.get("accs")), listed(task.get("infos"))
    if place < len(correct) and isinstance(correct[place], bool):
        extra["correct"] = correct[place]
    if place < len(infos) and isinstance(infos[place], dict):
        extra |= pick_scalars(infos[place], "r", "r_word", "r_letter", "r_game")
    return extra


def _read_search(index: int, steps: Sequence[Json], names: RunNames) -> Iterator[Read]:
    turns = Turns(run=names.unique(str(index)))
    for step in steps:
        if not isinstance(step, dict):
            yield not_an_object(index, step)
            continue
        turns.respond()
        extra = pick_scalars(step, "total_step", "env_step")
        extra |= pick_scalars(mapping(step.get("info")), "r_letter", "r_word", "r_game")
        extra |= pick_scalars(mapping(step.get("count")), "sure", "maybe", "impossible")
        yield event_if_text(turns, "assistant", text_of(step.get("actions")), extra)


ROWS: Final = (Format(name="tree_of_thought", shape="document", recognises=recognises, read=read),)
