"""Antigravity: the steps of one conversation, as JSON lines (`transcript.jsonl`, or `transcript_full.jsonl`).

Arguments of tools are quoted twice, and a prompt stands in `<USER_REQUEST>`, with what the program adds behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from components.contracts import Json, Skipped
from components.sources.formats.content import text_of
from components.sources.formats.contract import Format, Head, Options, Read, Verdict, accept, decline
from components.sources.formats.defects import EMPTY, guard_read, not_an_object
from components.sources.formats.sessions import Session
from components.sources.formats.times import timestamp
from components.sources.formats.values import listed, mapping, mostly, parse_json

_REQUEST: Final = re.compile(r"<USER_REQUEST>\s*(.*?)\s*</USER_REQUEST>", re.DOTALL)
SYSTEM_TYPES: Final[Mapping[str, str]] = {"CHECKPOINT": "summary", "ERROR_MESSAGE": "error"}


def _is_step(line: Json) -> bool:
    about = mapping(line)
    return "step_index" in about and isinstance(about.get("source"), str) and isinstance(about.get("type"), str)


def _recognise(head: Head) -> Verdict:
    if mostly(head.lines, _is_step):
        return accept(f"{sum(map(_is_step, head.lines))} steps with step_index, source and type")
    return decline("no steps with step_index, source and type")


class Reader:
    """The steps of one conversation."""

    def __init__(self, state: Json, _: Options) -> None:
        self.session = Session(state)

    def state(self) -> Json:
        """The numbers of the conversation."""
        return self.session.state()

    @guard_read
    def read(self, item: Json) -> Iterable[Read]:
        """What one step becomes."""
        if not isinstance(item, dict):
            return [not_an_object(0, item)]
        kind, when, text = item.get("type"), timestamp(item.get("created_at")), text_of(item.get("content"))
        cut = {"is_truncated": True} if item.get("truncated_fields") else {}
        if kind == "USER_INPUT":
            asked = _REQUEST.search(text)
            return self.session.input("user", asked[1] if asked else text, when, cut)
        if kind == "PLANNER_RESPONSE":
            return self._response(item, text, when, cut)
        if not text.strip():
            return [Skipped(rule=f"{kind} step without content")]
        if item.get("source") == "MODEL":
            failed = item.get("status") == "ERROR"
            return self.session.result(None, text, when, failed=failed, more={"tool": str(kind).lower(), **cut})
        return self.session.input(SYSTEM_TYPES.get(str(kind), "system"), text, when, cut)

    def _response(
        self, item: Mapping[str, Json], text: str, when: datetime | None, cut: Mapping[str, Json]
    ) -> list[Read]:
        self.session.respond()
        got: list[Read] = []
        if thought := text_of(item.get("thinking")):
            got += self.session.record("reasoning", thought, when)
        if text:
            got += self.session.record("assistant", text, when, cut)
        for call in map(mapping, listed(item.get("tool_calls"))):
            args = {key: _unquoted(value) for key, value in mapping(call.get("args")).items()}
            got += self.session.call(call.get("id"), call.get("name"), args, when)
        return got or [EMPTY]


def _unquoted(value: Json) -> Json:
    return parse_json(value, ('"', "{", "["))


ROWS: tuple[Format, ...] = (Format(name="antigravity", shape="lines", recognises=_recognise, reader=Reader),)
