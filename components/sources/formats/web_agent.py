"""Web-agent steps: each item is one model call with its `prompt`, `messages` and `output`; neighbours of one id are a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any, Final

from components.contracts import Json, Skipped
from components.sources.formats.contract import Format, Head, Options, Read, Turns, Verdict, accept, decline
from components.sources.formats.deduplication import SeenPieces
from components.sources.formats.defects import REPEATED, guarded, not_an_object
from components.sources.formats.message_parts import role_type
from components.sources.formats.messages import pieces_of
from components.sources.formats.pieces import Piece, answer_pieces, events
from components.sources.formats.runs import RunNames
from components.sources.formats.values import listed, mostly, pick_scalars

REPEATED_PROMPT: Final = Skipped(rule="the prompt repeats the messages")
REPEATED_OUTPUT: Final = Skipped(rule="the output repeats the answer")


def recognises(head: Head) -> Verdict:
    """Is it a list of steps?"""
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
    """The items of all steps."""
    names = RunNames()
    steps = enumerate(listed(document))
    for name, run in groupby(steps, key=lambda step: str(_name(step[1]))):
        turns, seen = Turns(run=names.unique(name)), SeenPieces()
        for index, step in run:
            if isinstance(step, dict):
                yield from guarded(index, _read_step(turns, seen, step, options))
            else:
                yield not_an_object(index, step)


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


ROWS: Final = (Format(name="web_agent", shape="document", recognises=recognises, read=read),)
