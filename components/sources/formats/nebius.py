"""Nebius SWE-agent trajectories: `trajectory` of `{role: system|user|ai, text}`, one run an item, as list, line or object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from components.contracts import Json
from components.sources.formats.contract import (
    End,
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
from components.sources.formats.messages import pieces_of, role_type
from components.sources.formats.pieces import Names, Piece, answer_pieces, events, guarded, mostly, named, not_an_object


def recognises(head: Head) -> Verdict:
    items = head.lines if head.shape == "lines" else _runs(head.document)
    if mostly(items, _is_run):
        return accept("runs with a `trajectory` of `role` and `text`")
    return decline("no runs with a `trajectory` of `role` and `text`")


def _runs(document: Json) -> list[Json]:
    """The runs of a document: a list, one run, or the rows that a dataset server answers with."""
    if isinstance(document, dict):
        rows = document.get("rows")
        if not isinstance(rows, list):
            return [document]
        return [row.get("row", row) if isinstance(row, dict) else row for row in rows]
    return document if isinstance(document, list) else []


def _is_run(item: Json) -> bool:
    steps = item.get("trajectory") if isinstance(item, dict) else None
    return (
        isinstance(steps, list)
        and bool(steps)
        and all(
            isinstance(step, dict) and "role" in step and ("text" in step or "system_prompt" in step)
            for step in steps[:20]
        )
    )


def read(document: Json, _: Options) -> Iterator[Read]:
    names = Names()
    for index, run in enumerate(_runs(document)):
        yield from _read_run(index, run, names)


def _read_run(index: int, run: Json, names: Names) -> Iterator[Read]:
    if isinstance(run, dict):
        yield from guarded(index, _steps(index, run, names))
    else:
        yield not_an_object(index, run)


def _steps(index: int, run: Mapping[str, Json], names: Names) -> Iterator[Read]:
    turns = Turns(run=names.unique(run.get("instance_id")))
    about = named(run, "instance_id", "model_name", "exit_status", "target")
    steps = run.get("trajectory")
    for step in steps if isinstance(steps, list) else ():
        if not isinstance(step, dict):
            yield not_an_object(index, step)
            continue
        kind = role_type(step.get("role"))
        if kind == "assistant":
            turns.respond()
        yield from events(turns, _pieces(kind, step, turns.iteration), about)


def _pieces(kind: str, step: Mapping[str, Json], iteration: int) -> list[Piece]:
    text = step.get("text") or step.get("system_prompt") or ""
    if not isinstance(text, str):
        return pieces_of({"role": kind, "content": text})
    if kind == "assistant":
        return answer_pieces(text)
    if kind == "user" and iteration:  # what a user says after the first answer is the environment's reply
        kind = "tool_result"
    return pieces_of({"role": kind, "content": text})


class Runs:
    """Reads a run a line."""

    def __init__(self, state: Json) -> None:
        self.names = Names(state.get("names") if isinstance(state, dict) else None)

    def read(self, item: Json) -> Iterator[Read]:
        yield from _read_run(0, item, self.names)

    def state(self) -> Json:
        return {"names": self.names.count}


def _reader(state: Json, _: Options) -> LineReader:
    return Runs(state)


def end(document: Json) -> End:
    done = all(isinstance(run, dict) and run.get("exit_status") for run in _runs(document))
    return End(mark=done, reason="every run has an exit status" if done else "a run has no exit status yet")


ROWS: Final = (
    Format(name="nebius_swe_agent", shape="document", recognises=recognises, read=read, end=end),
    Format(name="nebius_swe_agent", shape="lines", recognises=recognises, reader=_reader),
)
