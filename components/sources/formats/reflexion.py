"""Reflexion results: one problem a line, tried again and again; the trials are the iterations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from components.contracts import Json, Skipped
from components.sources.formats.content import text_of
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
from components.sources.formats.pieces import EMPTY, Names, guarded, mostly, named, not_an_object

REPEATED_SOLUTION: Final = Skipped(rule="the solution repeats the last implementation")
TRIALS: Final = (("implementations", "assistant"), ("test_feedback", "tool_result"), ("reflections", "reasoning"))


def recognises(head: Head) -> Verdict:
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


class Problems:
    """Reads problem after problem; remembers the names it has met, since they name the runs."""

    def __init__(self, state: Json) -> None:
        self.names = Names(state.get("names") if isinstance(state, dict) else None)

    def read(self, item: Json) -> Iterator[Read]:
        if isinstance(item, dict):
            yield from guarded(0, self._read(item))
        else:
            yield not_an_object(0, item)

    def _read(self, problem: Mapping[str, Json]) -> Iterator[Read]:
        turns = Turns(run=self.names.unique(problem.get("task_id") or problem.get("name")))
        about = named(problem, "task_id", "name", "is_solved", "language", "entry_point")
        trials = {key: _list(problem.get(key)) for key, _ in TRIALS}
        yield _event(turns, "user", problem.get("prompt"), about)
        for trial in range(max(map(len, trials.values()), default=0)):
            turns.respond()
            for key, kind in TRIALS:
                if trial < len(trials[key]):
                    yield _event(turns, kind, trials[key][trial], {**about, "trial": trial + 1})
        yield from self._solution(turns, problem, trials["implementations"], about)

    @staticmethod
    def _solution(
        turns: Turns, problem: Mapping[str, Json], implementations: list[Json], about: Mapping[str, Json]
    ) -> Iterator[Read]:
        solution = problem.get("solution")
        if solution is None:
            return
        if implementations and implementations[-1] == solution:
            yield REPEATED_SOLUTION
            return
        turns.respond()  # the answer that comes after the last reflection
        yield _event(turns, "assistant", solution, {**about, "trial": turns.iteration})

    def state(self) -> Json:
        return {"names": self.names.count}


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _event(turns: Turns, kind: str, content: Json, extra: Mapping[str, Json]) -> Read:
    text = text_of(content)
    return turns.event(kind, text, extra=extra) if text.strip() else EMPTY


def _problems(state: Json, _: Options) -> LineReader:
    return Problems(state)


ROWS: Final = (Format(name="reflexion", shape="lines", recognises=recognises, reader=_problems),)
