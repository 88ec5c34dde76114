"""Nebius SWE-agent trajectories: `trajectory` of `{role: system|user|ai, text}`, one run an item, as list, line or object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from components.contracts import Json
from components.sources.formats.contract import End, Format, Head, Options, Read, Turns, Verdict, accept, decline
from components.sources.formats.defects import guarded, not_an_object
from components.sources.formats.message_parts import role_type
from components.sources.formats.messages import pieces_of
from components.sources.formats.pieces import Piece, answer_pieces, events
from components.sources.formats.runs import RunNames, run_per_line
from components.sources.formats.values import listed, mostly, outcome, pick_scalars, scalars


def recognises(head: Head) -> Verdict:
    """Are they runs with a trajectory of roles and texts?"""
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
    return listed(document)


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
    """The items of all runs of a document."""
    names = RunNames()
    for index, run in enumerate(_runs(document)):
        yield from _read_run(index, run, names)


def _read_line(item: Json, names: RunNames, _: Options) -> Iterator[Read]:
    return _read_run(0, item, names)


def _read_run(index: int, run: Json, names: RunNames) -> Iterator[Read]:
    if isinstance(run, dict):
        yield from guarded(index, _steps(index, run, names))
    else:
        yield not_an_object(index, run)


def _steps(index: int, run: Mapping[str, Json], names: RunNames) -> Iterator[Read]:
    turns = Turns(run=names.unique(run.get("instance_id")))
    about = pick_scalars(run, "instance_id", "model_name", "exit_status", "target")
    about |= scalars({"task": run.get("instance_id"), "outcome": outcome(run.get("target"))})
    for step in listed(run.get("trajectory")):
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
    if kind == "user" and iteration:  # a user's message after the first answer is the environment's reply
        kind = "tool_result"
    return pieces_of({"role": kind, "content": text})


def end(document: Json) -> End:
    """Has every run its exit status?"""
    done = all(isinstance(run, dict) and run.get("exit_status") for run in _runs(document))
    return End(mark=done, reason="every run has an exit status" if done else "a run has no exit status yet")


ROWS: Final = (
    Format(name="nebius_swe_agent", shape="document", recognises=recognises, read=read, end=end),
    Format(
        name="nebius_swe_agent",
        shape="lines",
        recognises=recognises,
        reader=run_per_line(_read_line, state_key="names"),
    ),
)
