"""AutoGen, Magentic-One and CaptainAgent runs as Who&When keeps them: a question, its history, and who failed when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from components.contracts import Json
from components.sources.formats.contract import Format, Head, Options, Read, Turns, Verdict, accept, decline
from components.sources.formats.defects import guarded, not_an_object
from components.sources.formats.messages import pieces_of
from components.sources.formats.pieces import Piece, events
from components.sources.formats.values import listed, mapping, pick_scalars, scalars

MARKS: Final = ("question_ID", "ground_truth", "mistake_agent")
TERMINALS: Final = frozenset({"computerterminal", "computer_terminal", "terminal", "code_executor", "executor"})


def recognises(head: Head) -> Verdict:
    """Is it a question with a history and who failed?"""
    document = head.document
    if not isinstance(document, dict) or not isinstance(history := document.get("history"), list):
        return decline("no object with a `history`")
    if not any(mark in document for mark in MARKS) or "question" not in document:
        return decline("a `history` without `question` and one of " + ", ".join(f"`{mark}`" for mark in MARKS))
    if not any(isinstance(message, dict) and "content" in message for message in history):
        return decline("a `history` without messages")
    return accept("a `question` with the `history` of the agents that worked on it")


def read(document: Json, _: Options) -> Iterator[Read]:
    """The prompts and messages of the run."""
    if isinstance(document, dict):
        yield from guarded(0, _read(document))
    else:
        yield not_an_object(0, document)


def _read(document: Mapping[str, Json]) -> Iterator[Read]:
    turns, about = Turns(), pick_scalars(document, "question_ID", "level", "is_correct")
    about |= scalars({"task": document.get("question_ID")})
    for agent, prompt in mapping(document.get("system_prompt")).items():
        yield from events(turns, pieces_of(prompt, "system"), {**about, "agent": agent})
    blamed = str(document.get("mistake_step", ""))
    for step, message in enumerate(listed(document.get("history"))):
        if not isinstance(message, dict):
            yield not_an_object(step, message)
            continue
        kind, agent = speaker(message, first=step == 0)
        extra = {**about, "agent": agent, "step": step}
        if str(step) == blamed:
            extra |= {"mistake": True, **pick_scalars(document, "mistake_agent", "mistake_reason")}
        yield from _events(turns, kind, message, extra)


def _events(turns: Turns, kind: str, message: Mapping[str, Json], extra: Mapping[str, Any]) -> Iterator[Read]:
    if kind in ("assistant", "reasoning"):
        turns.respond()
    pieces = pieces_of({"role": kind, "content": message.get("content"), "tool_calls": message.get("tool_calls")})
    typed = (Piece(type=kind if p.type == "assistant" else p.type, text=p.text, extra=p.extra) for p in pieces)
    yield from events(turns, typed, extra)


def speaker(message: Mapping[str, Json], *, first: bool) -> tuple[str, str]:
    """The record type of a message and its agent. The agent is in `name`, or in the role in hand-made runs.

    >>> speaker({"role": "Orchestrator (thought)"}, first=False)
    ('reasoning', 'Orchestrator')
    >>> speaker({"role": "user", "name": "Computer_terminal"}, first=False)
    ('tool_result', 'Computer_terminal')
    """
    name = message.get("name")
    role = str(message.get("role") or "")
    agent, _, aside = role.partition(" (")
    if isinstance(name, str) and name:
        agent, aside = name, ""
    if agent.lower() in TERMINALS:
        return "tool_result", agent
    if first or agent.lower() in ("human", "user", "user_proxy"):  # the first message is the task, whoever passes it on
        return "user", agent
    if agent.lower() == "system":
        return "system", agent
    return "reasoning" if aside.startswith("thought") else "assistant", agent


ROWS: Final = (Format(name="autogen_whowhen", shape="document", recognises=recognises, read=read),)
