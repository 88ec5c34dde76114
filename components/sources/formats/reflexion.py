"""Reflexion results: one problem a line, tried again and again; the trials are the iterations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from components.contracts import Json, Skipped
from components.sources.formats.content import text_of
from components.sources.formats.contract import Format, Head, Options, Read, Turns, Verdict, accept, decline
from components.sources.formats.defects import guarded, not_an_object
from components.sources.formats.pieces import event_if_text
from components.sources.formats.runs import RunNames, run_per_line
from components.sources.formats.values import first_of, mostly, pick_scalars, scalars

REPEATED_SOLUTION: Final = Skipped(rule="the solution repeats the last implementation")
TRIALS: Final = (("implementations", "assistant"), ("test_feedback", "tool_result"), ("reflections", "reasoning"))


def recognises(head: Head) -> Verdict:
    """Are its lines problems with a prompt and a solution or its trials?"""
    lines = head.lines
    if not mostly(lines, _is_problem):
        return decline("no lines with `prompt`, `is_solved` and a `solution` or its trials")
    return accept("lines of problems with `prompt`, `is_solved` and `solution`")


def _is_problem(line: Json) -> bool:
    return (
        isinstance(line, dict)
        and isinstance(line.get("prompt"), str)
        and "is_solved" in line
        and any(key in line for key in ("solution", "reflections", "implementations"))
    )


def _read_line(item: Json, names: RunNames, _: Options) -> Iterator[Read]:
    if isinstance(item, dict):
        yield from guarded(0, _read(item, names))
    else:
        yield not_an_object(0, item)


def _read(problem: Mapping[str, Json], names: RunNames) -> Iterator[Read]:
    turns = Turns(run=names.unique(problem.get("task_id") or problem.get("name")))
    about = pick_scalars(problem, "task_id", "name", "is_solved", "language", "entry_point")
    about |= scalars({"task": first_of(about, "task_id", "name")})
    trials = {key: _list(problem.get(key)) for key, _ in TRIALS}
    yield event_if_text(turns, "user", text_of(problem.get("prompt")), about)
    for trial in range(max(map(len, trials.values()), default=0)):
        turns.respond()
        for key, kind in TRIALS:
            if trial < len(trials[key]):
                yield event_if_text(turns, kind, text_of(trials[key][trial]), {**about, "trial": trial + 1})
    yield from _solution(turns, problem.get("solution"), trials["implementations"], about)


def _solution(turns: Turns, solution: Json, implementations: list[Json], about: Mapping[str, Json]) -> Iterator[Read]:
    if solution is None:
        return
    if implementations and implementations[-1] == solution:
        yield REPEATED_SOLUTION
        return
    turns.respond()  # the answer that comes after the last reflection
    yield event_if_text(turns, "assistant", text_of(solution), {**about, "trial": turns.iteration})


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else [] if value is None else [value]


ROWS: Final = (
    Format(name="reflexion", shape="lines", recognises=recognises, reader=run_per_line(_read_line, state_key="names")),
)
