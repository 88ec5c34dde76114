"""Factory Droid: sessions as it stores them, and the lines that `droid exec --output-format stream-json` prints.

The completion of a run repeats its last answer; reminders that the program puts into a prompt are not the user's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from components.contracts import Json
from components.sources.formats.content import json_text, text_of
from components.sources.formats.contract import Format, Head, Options, Read, Verdict, accept, decline
from components.sources.formats.deduplication import short_digest
from components.sources.formats.defects import BOOKKEEPING, EMPTY, REPEATED, UNKNOWN_LINE, guard_read, not_an_object
from components.sources.formats.message_parts import part_kind, part_text
from components.sources.formats.messages import THOUGHT_TEXTS
from components.sources.formats.sessions import Session
from components.sources.formats.times import timestamp
from components.sources.formats.values import first_of, mapping, mostly

STREAM: Final = frozenset({"message", "tool_call", "tool_result", "completion", "system", "error"})
NO_CONVERSATION: Final = frozenset({"session_start", "session_end", "todo_state", "system", "settings"})
_REMINDER: Final = re.compile(r"<system-reminder>.*?</system-reminder>", re.DOTALL)


def _is_stored(line: Json) -> bool:
    about = mapping(line)
    kind = about.get("type")
    if isinstance(kind, str) and kind in NO_CONVERSATION | {"compaction_state"}:
        return True
    role = mapping(about.get("message")).get("role")
    return kind == "message" and isinstance(role, str) and "id" in about


def _is_streamed(line: Json) -> bool:
    about = mapping(line)
    kind = about.get("type")
    return isinstance(kind, str) and kind in STREAM and "session_id" in about


def _recognise(head: Head) -> Verdict:
    first = mapping(head.lines[0]) if head.lines else {}
    if first.get("type") == "session_start" and "id" in first and mostly(head.lines, _is_stored):
        return accept("a session_start, then messages with an id")
    return decline("the first line is no session_start that messages follow")


def _recognise_stream(head: Head) -> Verdict:
    said = [line for line in head.lines if _is_streamed(line) and "text" in line and mapping(line).get("role")]
    if said and mostly(head.lines, _is_streamed):
        return accept(f"{len(said)} messages with a role, a text and a session, as Droid prints them")
    return decline("no messages with a role, a text and a session")


class Reader:
    """The lines of one session."""

    def __init__(self, state: Json, _: Options) -> None:
        state = state or (None, "")
        session, self.answer = state
        self.session = Session(session)

    def state(self) -> Json:
        """The session, and the digest of its last answer."""
        return [self.session.state(), self.answer]

    @guard_read
    def read(self, item: Json) -> Iterable[Read]:
        """What one line becomes."""
        if not isinstance(item, dict):
            return [not_an_object(0, item)]
        kind, when = item.get("type"), timestamp(item.get("timestamp"))
        self.session.know(run=item.get("session_id"), model=item.get("model"), project=item.get("cwd"))
        if kind == "session_start":
            self.session.know(run=item.get("id"))
            return [BOOKKEEPING]
        if kind == "message":
            message = mapping(item.get("message")) or item
            return self._message(message.get("role"), first_of(message, "content", "text"), when)
        if kind == "tool_call":
            self.session.continue_response()
            name, arguments = first_of(item, "toolName", "toolId"), item.get("parameters")
            return self.session.call(first_of(item, "toolCallId", "id"), name, arguments, when)
        if kind == "tool_result":
            return self._streamed_result(item, when)
        if kind == "completion":
            return self._answer(text_of(item.get("finalText")), when)
        if kind == "error":
            return self.session.input("error", text_of(first_of(item, "message", "error")), when)
        if kind == "compaction_state":
            return self.session.input("summary", text_of(first_of(item, "summaryText", "summary")), when)
        return [BOOKKEEPING if isinstance(kind, str) and kind in NO_CONVERSATION else UNKNOWN_LINE]

    def _answer(self, text: str, when: datetime | None) -> list[Read]:
        """An answer, unless the one before it said the same."""
        digest = short_digest(text)
        if digest == self.answer:
            return [REPEATED]
        self.answer = digest
        self.session.continue_response()
        return self.session.record("assistant", text, when)

    def _message(self, role: Json, content: Json, when: datetime | None) -> list[Read]:
        if role == "assistant":
            self.answer = ""
            self.session.respond()
        got: list[Read] = []
        for block in content if isinstance(content, list) else [content]:
            about = mapping(block)
            part = part_kind(about) if about else ""
            if part == "call":
                got += self.session.call(about.get("id"), about.get("name"), first_of(about, "input", "args"), when)
            elif part == "result":
                id, failed = about.get("tool_use_id"), about.get("is_error") is True
                got += self.session.result(id, about.get("content"), when, failed=failed)
            elif part == "thought":
                got += self.session.record("reasoning", text_of(first_of(about, *THOUGHT_TEXTS)), when)
            elif text := part_text(block):
                got += self._answer(text, when) if role == "assistant" else self._prompt(role, text, when)
        return got or [EMPTY]

    def _prompt(self, role: Json, text: str, when: datetime | None) -> list[Read]:
        """What the user wrote, and before it the reminders that the program added."""
        reminders = _REMINDER.findall(text)
        kind = role if isinstance(role, str) and role else "user"
        got = self.session.input("system", "\n".join(reminders), when) if reminders else []
        if rest := _REMINDER.sub("", text).strip():
            got += self.session.input(kind, rest if reminders else text, when)
        return got

    def _streamed_result(self, item: Mapping[str, Json], when: datetime | None) -> list[Read]:
        value = first_of(item, "value", "result", "error")
        printed = mapping(value)
        texts = [text for key in ("stdout", "stderr", "output") if isinstance(text := printed.get(key), str) and text]
        code = printed.get("exitCode")
        failed = item.get("isError") is True or bool(item.get("error")) or (isinstance(code, int) and code != 0)
        text = "\n".join(texts) or (json_text(value) if isinstance(value, dict) else text_of(value))
        return self.session.result(first_of(item, "toolCallId", "id"), text, when, failed=failed)


ROWS: tuple[Format, ...] = (
    Format(name="droid", shape="lines", recognises=_recognise, reader=Reader),
    Format(name="droid", shape="lines", recognises=_recognise_stream, reader=Reader),
)
