"""Aider's chat history (`.aider.chat.history.md`): Markdown to which each start of the program adds a run.

Lines after `#### ` are the user's, those after `> ` the program's, the rest is the model's answer. Aider ends lines of
the first two with two blanks, which tells them from headings and quotes of an answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from components.contracts import Defect, Json, Skipped
from components.sources.formats.contract import Format, Head, Options, Read, Turns, Verdict, accept, decline
from components.sources.formats.defects import EMPTY
from components.sources.formats.runs import RunNames
from components.sources.formats.times import timestamp

START_RULE: Final = Skipped(rule="start of a chat")
_START: Final = re.compile(r"# aider chat started at (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\s*")
_MODEL: Final = re.compile(r"(?:Main )?[Mm]odels?: (\S+) with ")


def recognises(head: Head) -> Verdict:
    """Does it begin with the start of a chat?"""
    first = next((line for line in head.text.splitlines() if line.strip()), "")
    if _START.fullmatch(first):
        return accept("its first line is the start of an aider chat")
    return decline("its first line is not '# aider chat started at …'")


def _unit_of(text: str) -> str:
    """Do the user's lines end with two blanks, as Aider writes them? Another program may have removed these."""
    return "spaced" if re.search(r"^#### .*  $", text, re.MULTILINE) else "bare"


def _grouping(unit: str) -> Callable[[bytes, bytes], bool]:
    """Does another item begin at this line? Blank lines belong to what is before them."""
    current = ""

    def closes(last: bytes, line: bytes) -> bool:
        nonlocal current
        if not line.strip():
            return False
        before, current = (
            current or _kind(last.decode("utf-8", "replace"), unit),
            _kind(line.decode("utf-8", "replace"), unit),
        )
        is_next_prompt = current == "user" and not last.strip()
        return current == "start" or current != before or is_next_prompt

    return closes


def _kind(line: str, unit: str) -> str:
    if _START.fullmatch(line):
        return "start"
    if unit == "bare" or line.rstrip("\r\n").endswith("  "):
        if line.startswith("#### "):
            return "user"
        if line.startswith(("> ", ">\n")):
            return "tool_result"
    return "assistant"


class Reader:
    """The items of a history: the lines of one voice each."""

    def __init__(self, state: Json, _: Options) -> None:
        state = state or ({}, "", 0, 0, "", "", "bare")
        names, run, iteration, idx, self.started, self.model, self.unit = state
        self.names = RunNames(names)
        self.turns = Turns(run=run, iteration=iteration, idx=idx)

    def state(self) -> Json:
        """The names of the runs so far, the numbers and model of the last one, its start if nothing followed, the unit."""
        turns = self.turns
        return [self.names.count, turns.run, turns.iteration, turns.idx, self.started, self.model, self.unit]

    def read(self, item: Json) -> Iterable[Read]:
        """What one item becomes."""
        if not isinstance(item, str):
            return [Defect(offset=0, reason="not a text")]
        text = item.strip("\r\n")
        first = text.partition("\n")[0]
        if started := _START.fullmatch(first):
            self.started, self.model = started[1], ""
            self.turns = Turns(run=self.names.unique(started[1]))
            return [START_RULE]
        if first.startswith(("#### ", "> ")) and first.endswith("  "):
            self.unit = "spaced"
        kind = _kind(first + "\n", self.unit)
        if kind != "assistant":
            prefix = 5 if kind == "user" else 2
            text = "\n".join(line[prefix:].rstrip() for line in text.splitlines() if line.strip())
        else:
            self.turns.respond()
        if not text.strip():
            return [EMPTY]
        if found := _MODEL.search(text) if kind == "tool_result" else None:
            self.model = found[1]
        when, self.started = timestamp(self.started), ""
        extra = {"run": self.turns.run, **({"model": self.model} if self.model else {})}
        return [self.turns.event(kind, text.strip(), when, extra)]


ROWS: tuple[Format, ...] = (
    Format(name="aider", shape="text", recognises=recognises, reader=Reader, unit_of=_unit_of, grouping=_grouping),
)
