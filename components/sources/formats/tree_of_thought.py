"""Tree-of-thought results: a list of tasks, each with the thoughts of its steps, or with the path of a depth-first search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from components.contracts import Json, Skipped
from components.sources.formats.content import text_of
from components.sources.formats.contract import Format, Head, Options, Read, Turns, Verdict, accept, decline
from components.sources.formats.pieces import EMPTY, Names, guarded, mostly, named, not_an_object

REPEATED_ANSWER: Final = Skipped(rule="the answer repeats a thought of a step")
REPEATED_TASK: Final = Skipped(rule="the step repeats its task")


def recognises(head: Head) -> Verdict:
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
    names = Names()
    for index, task in enumerate(document if isinstance(document, list) else ()):
        if isinstance(task, dict):
            yield from guarded(index, _read_task(index, task, names))
        elif isinstance(task, list):
            yield from guarded(index, _read_search(index, task, names))
        else:
            yield not_an_object(index, task)


def _read_task(index: int, task: Mapping[str, Json], names: Names) -> Iterator[Read]:
    turns = Turns(run=names.unique(task.get("idx", index)))
    thoughts: set[str] = set()
    asked: set[str] = set()
    for step in _list(task.get("steps")):
        if isinstance(step, dict):
            yield from _read_step(turns, step, asked, thoughts)
        else:
            yield not_an_object(index, step)
    answers = _list(task.get("ys"))
    if any(text_of(answer) not in thoughts for answer in answers):
        turns.respond()  # all samples of one answer come from one request
    for place, answer in enumerate(answers):
        yield REPEATED_ANSWER if text_of(answer) in thoughts else _event(turns, answer, _score(task, place))


def _read_step(turns: Turns, step: Mapping[str, Json], asked: set[str], thoughts: set[str]) -> Iterator[Read]:
    question = text_of(step.get("x"))
    if question.strip():
        yield REPEATED_TASK if question in asked else turns.event("user", question, extra=named(step, "step"))
        asked.add(question)
    turns.respond()
    chosen = {text_of(choice) for choice in _list(step.get("select_new_ys"))}
    values = _list(step.get("values"))
    for place, thought in enumerate(_list(step.get("new_ys"))):
        text = text_of(thought)
        thoughts.add(text)
        value = {"value": values[place]} if place < len(values) and isinstance(values[place], int | float) else {}
        extra = (
            {**named(step, "step"), **value, "chosen": text in chosen} if chosen else {**named(step, "step"), **value}
        )
        yield _event(turns, thought, extra)


def _score(task: Mapping[str, Json], place: int) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    correct, infos = _list(task.get("accs")), _list(task.get("infos"))
    if place < len(correct) and isinstance(correct[place], bool):
        extra["correct"] = correct[place]
    if place < len(infos) and isinstance(infos[place], dict):
        extra |= named(infos[place], "r", "r_word", "r_letter", "r_game")
    return extra


def _read_search(index: int, steps: Sequence[Json], names: Names) -> Iterator[Read]:
    turns = Turns(run=names.unique(str(index)))
    for step in steps:
        if not isinstance(step, dict):
            yield not_an_object(index, step)
            continue
        turns.respond()
        info, count = step.get("info"), step.get("count")
        extra = named(step, "total_step", "env_step")
        extra |= named(info, "r_letter", "r_word", "r_game") if isinstance(info, dict) else {}
        extra |= named(count, "sure", "maybe", "impossible") if isinstance(count, dict) else {}
        yield _event(turns, step.get("actions"), extra)


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _event(turns: Turns, content: Json, extra: Mapping[str, Any]) -> Read:
    text = text_of(content)
    return turns.event("assistant", text, extra=extra) if text.strip() else EMPTY


ROWS: Final = (Format(name="tree_of_thought", shape="document", recognises=recognises, read=read),)
