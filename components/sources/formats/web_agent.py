"""Web-agent steps: each item is one model call with its `prompt`, `messages` and `output`; neighbours of one id are a run.

Runs of the Agent Data Protocol, with a trajectory of pages and actions, are read too (`web_runs`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, Final

from components.contracts import Json, Skipped
from components.sources.formats.contract import Format, Head, Options, Read, Turns, Verdict, accept, decline
from components.sources.formats.deduplication import SeenPieces
from components.sources.formats.defects import REPEATED, guarded, not_an_object
from components.sources.formats.message_parts import role_type
from components.sources.formats.messages import pieces_of
from components.sources.formats.pieces import Piece, answer_pieces, events
from components.sources.formats.runs import RunNames, run_per_line
from components.sources.formats.values import listed, mostly, pick_scalars
from components.sources.formats.web_runs import is_web_run, read_web_run

REPEATED_PROMPT: Final = Skipped(rule="the prompt repeats the messages")
REPEATED_OUTPUT: Final = Skipped(rule="the output repeats the answer")


def recognises(head: Head) -> Verdict:
    """Is it a list of steps?"""
    steps = head.document
    if isinstance(steps, list) and mostly(steps, _is_step):
        return accept("a list of steps with `prompt`, `messages` and `output`")
    if _holds_web_runs(steps):
        return accept("runs with a trajectory of pages and actions")
    return decline(
        "no list of steps with `prompt`, `messages` and `output`, no runs with a trajectory of pages and actions"
    )


def _holds_web_runs(document: Json) -> bool:
    return is_web_run(document) or (isinstance(document, list) and mostly(document, is_web_run))


def _is_step(step: Json) -> bool:
    return (
        isinstance(step, dict)
        and isinstance(step.get("messages"), list)
        and isinstance(step.get("prompt"), str)
        and "output" in step
    )


def _name(step: Json) -> Json:
    return (step.get("id") or step.get("task_name") or "") if isinstance(step, dict) else None


def read(document: Json, options: Options) -> Iterator[Read]:
    """The items of all steps, or of all web runs."""
    if _holds_web_runs(document):
        yield from _read_web_runs(document)
        return
    names = RunNames()
    steps = enumerate(listed(document))
    for name, run in groupby(steps, key=lambda step: str(_name(step[1]))):
        turns, seen = Turns(run=names.unique(name)), SeenPieces()
        for index, step in run:
            if isinstance(step, dict):
                yield from guarded(index, _read_step(turns, seen, step, options))
            else:
                yield not_an_object(index, step)


def _read_web_runs(document: Json) -> Iterator[Read]:
    if isinstance(document, dict):
        yield from guarded(0, read_web_run(document, ""))
        return
    names = RunNames()
    for index, item in enumerate(document):
        if isinstance(item, dict):
            yield from guarded(index, read_web_run(item, names.unique(item.get("task_id", ""))))
        else:
            yield not_an_object(index, item)


def _read_step(turns: Turns, seen: SeenPieces, step: Mapping[str, Json], options: Options) -> Iterator[Read]:
    about = pick_scalars(step, "id", "task_name", "dataset", "n_tokens")
    items = listed(step.get("messages"))
    messages = [message for message in items if isinstance(message, dict)]
    yield from (not_an_object(place, item) for place, item in enumerate(items) if not isinstance(item, dict))
    answered = bool(messages) and role_type(messages[-1].get("role")) == "assistant"
    answer = answer_pieces(_text(messages[-1])) if answered else []
    asked = [piece for message in messages[: -1 if answered else None] for piece in _asked(turns, message)]
    prompt = step.get("prompt")
    if not messages and isinstance(prompt, str):
        asked = pieces_of(prompt, "user")
    for piece, is_new in seen.new_in_history(asked[:-1]):
        yield from events(turns, [piece], about) if is_new or options.history == "all" else (REPEATED,)
    for piece in asked[-1:]:  # what the page shows now is new, even where it looks as before
        seen.new_answer(piece)
        yield from events(turns, [piece], about)
    if messages and isinstance(prompt, str):
        yield REPEATED_PROMPT
    output = _without_marks(step.get("output"))
    turns.respond()
    if answered:
        yield from _answer(turns, seen, answer, about)
    if answered and output == _text(messages[-1]).strip():
        yield REPEATED_OUTPUT
    elif output:
        yield from _answer(turns, seen, answer_pieces(output), about)


def _asked(turns: Turns, message: Mapping[str, Json]) -> list[Piece]:
    pieces = pieces_of(message)
    if not turns.iteration:
        return pieces
    return [
        Piece(type="tool_result" if piece.type == "user" else piece.type, text=piece.text, extra=piece.extra)
        for piece in pieces
    ]


def _answer(turns: Turns, seen: SeenPieces, pieces: list[Piece], about: Mapping[str, Any]) -> Iterator[Read]:
    for piece in pieces:
        seen.new_answer(piece)
    yield from events(turns, pieces, about)


def _text(message: Mapping[str, Json]) -> str:
    return "\n".join(piece.text for piece in pieces_of(message))


def _without_marks(output: Json) -> str:
    """The output without the model's own marks for the start and the end of a turn."""
    if not isinstance(output, str):
        return ""
    head, mark, rest = output.partition("<|end_header_id|>")
    text = rest if mark and head.strip().startswith("<|start_header_id|>") else output
    return text.strip().removesuffix("<|eot_id|>").strip()


def _recognise_lines(head: Head) -> Verdict:
    if mostly(head.lines, is_web_run):
        return accept("runs with a trajectory of pages and actions on its lines")
    return decline("no runs with a trajectory of pages and actions on its lines")


def _read_line(item: Json, names: RunNames, _: Options) -> Iterable[Read]:
    if not isinstance(item, dict):
        return (not_an_object(0, item),)
    return guarded(0, read_web_run(item, names.unique(item.get("task_id", ""))))


ROWS: Final = (
    Format(name="web_agent", shape="document", recognises=recognises, read=read),
    Format(name="web_agent", shape="lines", recognises=_recognise_lines, reader=run_per_line(_read_line)),
)
