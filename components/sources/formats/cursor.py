"""Cursor: transcripts of its agent (`agent-transcripts/*.jsonl`), and the `stream-json` output of its CLI.

A transcript has neither ids nor times; a prompt stands in `<user_query>`, and what Cursor withholds is `[REDACTED]`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from components.contracts import Json, Skipped
from components.sources.formats.content import text_of
from components.sources.formats.contract import Format, Head, Options, Read, Verdict, accept, decline
from components.sources.formats.defects import BOOKKEEPING, EMPTY, UNKNOWN_LINE, guard_read, not_an_object
from components.sources.formats.message_parts import part_kind, part_text
from components.sources.formats.messages import THOUGHT_TEXTS
from components.sources.formats.sessions import Session
from components.sources.formats.times import timestamp
from components.sources.formats.values import first_of, mapping, mostly

WITHHELD: Final = Skipped(rule="text that Cursor withheld")
REPEATED_ANSWER: Final = Skipped(rule="result line")
ROLES: Final = ("user", "assistant")
_QUERY: Final = re.compile(r"\s*<user_query>\s*(.*?)\s*</user_query>\s*", re.DOTALL)


def _is_transcript_line(line: Json) -> bool:
    about = mapping(line)
    if about.get("type") in ("turn_ended", "error"):
        return "role" not in about
    return about.keys() <= {"role", "message"} and _is_message(about.get("role"), about.get("message"))


def _is_message(role: Json, message: Json) -> bool:
    content = mapping(message).get("content")
    return isinstance(role, str) and role in ROLES and isinstance(content, list | str)


def _recognise(head: Head) -> Verdict:
    n = sum(_is_transcript_line(line) and "role" in mapping(line) for line in head.lines)
    if n and mostly(head.lines, _is_transcript_line):
        return accept(f"{n} of its first {len(head.lines)} lines have a role and a message, and nothing else")
    return decline("no lines that have a role and a message, and nothing else")


def _recognise_stream(head: Head) -> Verdict:
    if any(_is_stream_start(mapping(line)) for line in head.lines):
        return accept("the start of a session as Cursor's CLI prints it")
    if any(_is_stream_call(mapping(line)) for line in head.lines):
        return accept("calls of tools as Cursor's CLI prints them")
    if any(map(_is_stream_answer, head.lines)) and mostly(head.lines, _has_session):
        return accept("answers with a session but no id, as Cursor's CLI prints them")
    return decline("no lines as Cursor's CLI prints them")


def _is_stream_start(line: Mapping[str, Json]) -> bool:
    is_start = line.get("type") == "system" and line.get("subtype") == "init" and "apiKeySource" in line
    return is_start and "tools" not in line and "uuid" not in line


def _is_stream_call(line: Mapping[str, Json]) -> bool:
    return line.get("type") == "tool_call" and "subtype" in line and isinstance(line.get("tool_call"), dict)


def _is_stream_answer(line: Json) -> bool:
    about = mapping(line)
    message = about.get("message")
    is_named = "uuid" in about or "id" in mapping(message)
    return (
        about.get("type") == "assistant" and _has_session(line) and not is_named and _is_message("assistant", message)
    )


def _has_session(line: Json) -> bool:
    return isinstance(mapping(line).get("session_id"), str)


class Reader:
    """The lines of one session, as a transcript or as the CLI prints them."""

    def __init__(self, state: Json, _: Options) -> None:
        state = state or (None, False)
        session, self.is_thinking = state
        self.session = Session(session)

    def state(self) -> Json:
        """The session, and whether a response began with a thought that the CLI printed."""
        return [self.session.state(), self.is_thinking]

    @guard_read
    def read(self, item: Json) -> Iterable[Read]:
        """What one line becomes."""
        if not isinstance(item, dict):
            return [not_an_object(0, item)]
        self.session.know(run=item.get("session_id"), project=item.get("cwd"), model=item.get("model"))
        kind, message = item.get("type"), item.get("message")
        role = item.get("role", kind)
        if _is_message(role, message):
            return self._message(str(role), mapping(message).get("content"), item)
        if kind == "error":
            return self.session.input("error", text_of(item.get("error") or message))
        if kind == "tool_call":
            return self._stream_call(item)
        if kind == "thinking":
            self.session.continue_response()
            self.is_thinking = True
            return self.session.record("reasoning", text_of(item.get("text")), timestamp(item.get("timestamp_ms")))
        if kind == "result":
            return [REPEATED_ANSWER]
        return [BOOKKEEPING if kind in ("turn_ended", "system") else UNKNOWN_LINE]

    def _message(self, role: str, content: Json, item: Mapping[str, Json]) -> list[Read]:
        when = timestamp(item.get("timestamp_ms") or item.get("timestamp"))
        if role == "assistant" and not self.is_thinking:
            self.session.respond()
        self.is_thinking = False
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
            else:
                got += self._text(role, part_text(block))
        return got or [EMPTY]

    def _text(self, role: str, text: str) -> list[Read]:
        if text.strip() == "[REDACTED]":
            return [WITHHELD]
        if role == "assistant":
            return self.session.record("assistant", text)
        query = _QUERY.fullmatch(text)
        return self.session.input("user", query[1] if query else text)

    def _stream_call(self, item: Mapping[str, Json]) -> list[Read]:
        """A call when it starts, its result when it is completed."""
        name, about = next(iter(mapping(item.get("tool_call")).items()), ("", None))
        self.is_thinking = False
        about, id, when = mapping(about), item.get("call_id"), timestamp(item.get("timestamp_ms"))
        is_known = isinstance(id, str) and id in self.session.calls
        got: list[Read] = []
        if not is_known:
            tool = about.get("name") if name == "function" else name.removesuffix("ToolCall")
            self.session.continue_response()
            got = self.session.call(id, tool, first_of(about, "args", "arguments"), when)
        if item.get("subtype") != "completed":
            return got or [EMPTY]
        result = mapping(about.get("result"))
        outcome = next(iter(result), "")
        body = result.get(outcome)
        text = (
            first_of(mapping(body), "content", "stdout", "message", "errorMessage") if isinstance(body, dict) else body
        )
        failed = outcome in ("error", "failure", "rejected", "timeout")
        return got + self.session.result(id, body if text is None else text, when, failed=failed)


ROWS: tuple[Format, ...] = (
    Format(name="cursor", shape="lines", recognises=_recognise, reader=Reader),
    Format(name="cursor", shape="lines", recognises=_recognise_stream, reader=Reader),
)
