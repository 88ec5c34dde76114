"""Goose sessions: a header line, then messages; its database gives the same lines, one session each.

Results of tools come under the role of the user; what is not `userVisible` repeats the conversation for the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from components.contracts import Json, Skipped
from components.sources.formats.content import text_of
from components.sources.formats.contract import Format, Head, Options, Read, Verdict, accept, decline
from components.sources.formats.defects import BOOKKEEPING, EMPTY, ENCRYPTED, UNKNOWN_LINE, guard_read, not_an_object
from components.sources.formats.message_parts import part_text
from components.sources.formats.sessions import Session
from components.sources.formats.times import timestamp
from components.sources.formats.values import first_of, listed, mapping, mostly, parse_json

NOTICES: Final = ("summarizationRequested", "contextLengthExceeded", "systemNotification")
HIDDEN: Final = Skipped(rule="message that is not shown to the user")


def _is_header(line: Json) -> bool:
    about = mapping(line)
    return "working_dir" in about and "role" not in about


def _is_message(line: Json) -> bool:
    about = mapping(line)
    return about.get("role") in ("user", "assistant") and isinstance(about.get("content"), list) and "created" in about


def _recognise(head: Head) -> Verdict:
    others = head.lines[1:]
    if head.lines and _is_header(head.lines[0]) and (not others or mostly(others, _is_message)):
        return accept(f"a header with working_dir, then {len(others)} messages")
    return decline("the first line is no header with working_dir")


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
        if _is_header(item):
            model = mapping(parse_json(item.get("model_config_json"))).get("model_name")
            self.session.know(run=item.get("id"), project=item.get("working_dir"), model=model)
            return [BOOKKEEPING]
        if not isinstance(item.get("role"), str):
            return [UNKNOWN_LINE]
        if mapping(parse_json(item.get("metadata"))).get("userVisible") is False:
            return [HIDDEN]
        if item["role"] == "assistant":
            self.session.respond()
            self.session.once = {"tokens": item.get("tokens")}
        when = timestamp(item.get("created"))
        return [read for block in listed(item.get("content")) for read in self._block(item["role"], block, when)] or [
            EMPTY
        ]

    def _block(self, role: str, block: Json, when: datetime | None) -> list[Read]:
        about = mapping(block)
        kind = about.get("type")
        if kind in ("toolRequest", "frontendToolRequest"):
            return self._request(about, when)
        if kind == "toolResponse":
            return self._response(about, when)
        if kind in ("thinking", "reasoning"):
            return self.session.record("reasoning", text_of(first_of(about, "thinking", "text")), when)
        if kind == "redactedThinking":
            return [ENCRYPTED]
        text = part_text(block)
        if kind in NOTICES:
            return self.session.record("system", text_of(first_of(about, "msg", "message")) or text, when)
        return (
            self.session.record("assistant", text, when)
            if role == "assistant"
            else self.session.input(role, text, when)
        )

    def _request(self, about: Mapping[str, Json], when: datetime | None) -> list[Read]:
        asked = mapping(about.get("toolCall"))
        call = mapping(asked.get("value"))
        if asked.get("status") == "error" or not call:
            text = text_of(first_of(asked, "error", "value"))
            return self.session.record("error", text, when, {"call_id": about.get("id")})
        return self.session.call(about.get("id"), call.get("name"), call.get("arguments"), when)

    def _response(self, about: Mapping[str, Json], when: datetime | None) -> list[Read]:
        result = mapping(about.get("toolResult"))
        value = result.get("value")
        failed = result.get("status") == "error" or mapping(value).get("isError") is True
        content = mapping(value).get("content", value)
        text = text_of(result.get("error")) or text_of(content)
        return self.session.result(about.get("id"), text, when, failed=failed)


ROWS: tuple[Format, ...] = (Format(name="goose", shape="lines", recognises=_recognise, reader=Reader),)
