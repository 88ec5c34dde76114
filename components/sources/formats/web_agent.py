"""Web-agent steps: each item is one model call with its `prompt`, `messages` and `output`; neighbours of one id are a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any, Final

from components.contracts import Json, Skipped
from components.sources.formats.contract import Format, Head, Options, Read, Turns, Verdict, accept, decline
from components.sources.formats.messages import pieces_of, role_type
from components.sources.formats.pieces import (
    REPEATED,
    Names,
    Piece,
    Said,
    answer_pieces,
    events,
    guarded,
    mostly,
    named,
    not_an_object,
)

REPEATED_PROMPT: Final = Skipped(rule="the prompt repeats the messages")
REPEATED_OUTPUT: Final = Skipped(rule="the output repeats the answer")


def recognises(head: Head) -> Verdict:
    steps = head.document
    if isinstance(steps, list) and mostly(steps, _is_step):
        return accept("a list of steps with `prompt`, `messages` and `output`")
    return decline("no list of steps with `prompt`, `messages` and `output`")


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
    names = Names()
    steps = enumerate(document if isinstance(document, list) else ())
    for name, run in groupby(steps, key=lambda step: str(_name(step[1]))):
        turns, said = Turns(run=names.unique(name)), Said()
        for index, step in run:
            if isinstance(step, dict):
                yield from guarded(index, _read_step(turns, said, step, options))
            else:
                yield not_an_object(index, step)


def _read_step(turns: Turns, said: Said, step: Mapping[str, Json], options: Options) -> Iterator[Read]:
    about = named(step, "id", "task_name", "dataset", "n_tokens")
    found = step.get("messages")
    listed = found if isinstance(found, list) else []
    messages = [message for message in listed if isinstance(message, dict)]
    yield from (not_an_object(place, message) for place, message in enumerate(listed) if not isinstance(message, dict))
    answered = bool(messages) and role_type(messages[-1].get("role")) == "assistant"
    answer = answer_pieces(_spelled(messages[-1])) if answered else []
    asked = [piece for message in messages[: -1 if answered else None] for piece in _asked(turns, message)]
    prompt = step.get("prompt")
    if not messages and isinstance(prompt, str):
        asked = pieces_of(prompt, "user")
    for piece, new in said.new_in_history(asked[:-1]):
        yield from events(turns, [piece], about) if new or options.history == "all" else (REPEATED,)
    for piece in asked[-1:]:  # what the page shows now is new, even where it looks as before
        said.new_answer(piece)
        yield from events(turns, [piece], about)
    if messages and isinstance(prompt, str):
        yield REPEATED_PROMPT
    output = _without_marks(step.get("output"))
    turns.respond()
    if answered:
        yield from _answer(turns, said, answer, about)
    if answered and output == _spelled(messages[-1]).strip():
        yield REPEATED_OUTPUT
    elif output:
        yield from _answer(turns, said, answer_pieces(output), about)


def _asked(turns: Turns, message: Mapping[str, Json]) -> list[Piece]:
    pieces = pieces_of(message)
    if not turns.iteration:
        return pieces
    return [
        Piece(type="tool_result" if piece.type == "user" else piece.type, text=piece.text, extra=piece.extra)
        for piece in pieces
    ]


def _answer(turns: Turns, said: Said, pieces: list[Piece], about: Mapping[str, Any]) -> Iterator[Read]:
    for piece in pieces:
        said.new_answer(piece)
    yield from events(turns, pieces, about)


def _spelled(message: Mapping[str, Json]) -> str:
    return "\n".join(piece.text for piece in pieces_of(message))


def _without_marks(output: Json) -> str:
    """The output without the model's own marks for the start and the end of a turn."""
    if not isinstance(output, str):
        return ""
    head, mark, rest = output.partition("<|end_header_id|>")
    text = rest if mark and head.strip().startswith("<|start_header_id|>") else output
    return text.strip().removesuffix("<|eot_id|>").strip()


ROWS: Final = (Format(name="web_agent", shape="document", recognises=recognises, read=read),)
