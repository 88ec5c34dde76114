"""Qwen Code sessions: JSONL, one message of Gemini parts a line.

What a hook adds to a prompt, and what the program notifies itself of, is not the user's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from components.contracts import Json, Skipped
from components.sources.formats.content import response_text, text_of
from components.sources.formats.contract import Format, Head, Options, Read, Verdict, accept, decline
from components.sources.formats.defects import EMPTY, UNKNOWN_LINE, guard_read, not_an_object
from components.sources.formats.message_parts import part_text
from components.sources.formats.sessions import Session
from components.sources.formats.times import timestamp
from components.sources.formats.values import listed, mapping, mostly

MESSAGES: Final = ("user", "assistant", "tool_result")
HOOK_CONTEXT: Final = Skipped(rule="context that a hook added to the prompt")
HOOK_MARK: Final = "<qwen:"


def _is_line(line: Json) -> bool:
    if not isinstance(line, dict) or "uuid" not in line:
        return False
    return line.get("type") == "system" or _is_message(line)


def _is_message(line: Json) -> bool:
    about = mapping(line)
    return about.get("type") in MESSAGES and isinstance(mapping(about.get("message")).get("parts"), list)


def _recognise(head: Head) -> Verdict:
    n_messages = sum(map(_is_message, head.lines))
    if n_messages and mostly(head.lines, _is_line):
        return accept(f"{n_messages} of its first {len(head.lines)} lines are messages with a uuid and parts")
    return decline("no lines with a uuid and a message of parts")


class Reader:
    """The lines of one session."""

    def __init__(self, state: Json, _: Options) -> None:
        self.session = Session(state)

    def state(self) -> Json:
        """The session's numbers and open calls."""
        return self.session.state()

    @guard_read
    def read(self, item: Json) -> Iterable[Read]:
        """What one line becomes."""
        if not isinstance(item, dict):
            return [not_an_object(0, item)]
        self.session.know(run=item.get("sessionId"), project=item.get("cwd"), model=item.get("model"))
        kind, when = item.get("type"), timestamp(item.get("timestamp"))
        parts = listed(mapping(item.get("message")).get("parts"))
        if kind == "system":
            subtype = item.get("subtype")
            text = "\n".join(filter(None, map(part_text, parts)))
            named = Skipped(rule=f"{subtype} line" if isinstance(subtype, str) else "system line without content")
            return self.session.input("system", text, when) if text else [named]
        if kind not in MESSAGES:
            return [UNKNOWN_LINE]
        if kind == "assistant":
            self.session.respond()
            self.session.once = {"tokens": mapping(item.get("usageMetadata")).get("totalTokenCount")}
        elif kind == "user" and item.get("subtype"):
            kind = "system"
        return [read for part in parts for read in self._part(str(kind), part, item, when)] or [EMPTY]

    def _part(self, kind: str, part: Json, item: Mapping[str, Json], when: datetime | None) -> list[Read]:
        about = mapping(part)
        if call := mapping(about.get("functionCall")):
            return self.session.call(call.get("id"), call.get("name"), call.get("args"), when)
        if response := mapping(about.get("functionResponse")):
            failed = mapping(item.get("toolCallResult")).get("status") == "error"
            text, more = response_text(part), {"tool": response.get("name")}
            return self.session.result(response.get("id"), text, when, failed=failed, more=more)
        text = part_text(part)
        if about.get("thought") is True:
            return self.session.record("reasoning", text, when)
        if kind == "assistant":
            return self.session.record("assistant", text, when)
        if text.lstrip().startswith(HOOK_MARK):
            return [HOOK_CONTEXT]
        return self.session.input(kind, text_of(text), when)


ROWS: tuple[Format, ...] = (Format(name="qwen_code", shape="lines", recognises=_recognise, reader=Reader),)
