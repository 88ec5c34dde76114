"""Cursor's editor: the composers of its database (`state.vscdb`), one a session, their bubbles one a line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from components.contracts import Json, Skipped
from components.sources.formats.content import json_text, text_of
from components.sources.formats.contract import Format, Head, Options, Read, Verdict, accept, decline
from components.sources.formats.defects import BOOKKEEPING, EMPTY, UNKNOWN_LINE, guard_read, not_an_object
from components.sources.formats.sessions import Session
from components.sources.formats.times import timestamp
from components.sources.formats.values import first_of, mapping, mostly, parse_json, total

USER, ASSISTANT = 1, 2
MISSING: Final = Skipped(rule="bubble that the database does not hold")
RESULT_KEYS: Final = ("contents", "output", "result", "content", "message")


def _is_line(line: Json) -> bool:
    about = mapping(line)
    value = about.get("composer", about.get("bubble"))
    return len(about) == 1 and (isinstance(value, dict) or "missing" in about)


def _recognise(head: Head) -> Verdict:
    first = mapping(head.lines[0]) if head.lines else {}
    if isinstance(first.get("composer"), dict) and mostly(head.lines, _is_line):
        return accept(f"a composer, then {len(head.lines) - 1} bubbles")
    return decline("no composer that bubbles follow")


class Reader:
    """The bubbles of one composer, in its order."""

    def __init__(self, state: Json, _: Options) -> None:
        self.session = Session(state)

    def state(self) -> Json:
        """The session's numbers and open calls."""
        return self.session.state()

    @guard_read
    def read(self, item: Json) -> Iterable[Read]:
        """What the composer or one bubble becomes."""
        key, value = next(iter(mapping(item).items()), ("", None))
        if key == "missing":
            return [MISSING]
        if not isinstance(value, dict):
            return [not_an_object(0, value)]
        if key == "composer":
            folder = mapping(mapping(value.get("workspaceIdentifier")).get("uri")).get("fsPath")
            model = mapping(value.get("modelConfig")).get("modelName")
            self.session.know(run=value.get("composerId"), title=value.get("name"), project=folder, model=model)
            return [BOOKKEEPING]
        return self._bubble(value) if key == "bubble" else [UNKNOWN_LINE]

    def _bubble(self, bubble: Mapping[str, Json]) -> list[Read]:
        timing = mapping(bubble.get("timingInfo"))
        when = timestamp(first_of(bubble, "createdAt") or first_of(timing, "clientStartTime"))
        text = text_of(bubble.get("text"))
        if bubble.get("type") == USER:
            return self.session.input("user", text, when)
        if bubble.get("type") != ASSISTANT:
            return [UNKNOWN_LINE]
        self.session.continue_response()
        self.session.know(model=mapping(bubble.get("modelInfo")).get("modelName"))
        tokens = total(mapping(bubble.get("tokenCount")), "inputTokens", "outputTokens")
        self.session.once = {"tokens": tokens or None}
        got: list[Read] = []
        if thought := text_of(mapping(bubble.get("thinking")).get("text")):
            got += self.session.record("reasoning", thought, when)
        if text.strip():
            got += self.session.record("assistant", text, when)
        if tool := mapping(bubble.get("toolFormerData")):
            got += self._tool(tool, when)
        self.session.once = {}
        return got or [EMPTY]

    def _tool(self, tool: Mapping[str, Json], when: datetime | None) -> list[Read]:
        id, name = tool.get("toolCallId"), tool.get("name")
        if not isinstance(name, str) or not name:
            return []  # a marker of the editor
        arguments = first_of(tool, "params", "rawArgs")
        got = self.session.call(id, name, parse_json(arguments), when)
        result = parse_json(first_of(tool, "result", "error"))
        if not result:
            return got
        about = mapping(result)
        text = first_of(about, *RESULT_KEYS) if about else result
        spelled = text if isinstance(text, str) else json_text(result)
        failed = tool.get("status") == "error"
        return got + self.session.result(
            id, spelled, when, failed=failed, more={"tool": name, "status": tool.get("status")}
        )


ROWS: tuple[Format, ...] = (Format(name="cursor_ide", shape="lines", recognises=_recognise, reader=Reader),)
