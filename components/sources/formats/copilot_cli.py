"""GitHub Copilot CLI sessions (`events.jsonl`): events with a dotted type and their data.

The start of a tool repeats the call of the message before it; `session.shutdown` is no end, as a session may be resumed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from components.contracts import Json, Skipped
from components.sources.formats.content import json_text, text_of
from components.sources.formats.contract import Format, Head, Options, Read, Verdict, accept, decline
from components.sources.formats.deduplication import short_digest
from components.sources.formats.defects import EMPTY, REPEATED, UNKNOWN_LINE, guard_read, not_an_object
from components.sources.formats.sessions import Session
from components.sources.formats.times import timestamp
from components.sources.formats.values import first_of, listed, mapping, mostly

FAMILIES: Final = (
    *("session.", "user.", "assistant.", "tool.", "hook.", "system.", "subagent.", "skill.", "permission."),
    *("abort", "external_tool.", "elicitation.", "command.", "model.", "mcp."),
)
TEXTS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {  # type -> type of record, keys of its text
    "user.message": ("user", ("content",)),
    "system.message": ("system", ("content",)),
    "system.notification": ("system", ("content", "message")),
    "session.error": ("error", ("message", "error")),
    "session.compaction_complete": ("summary", ("summaryContent", "summary")),
    "session.handoff": ("summary", ("summary", "context")),
}


def _is_event(line: Json) -> bool:
    about = mapping(line)
    kind = about.get("type")
    return isinstance(kind, str) and kind.startswith(FAMILIES) and isinstance(about.get("data"), dict)


def _recognise(head: Head) -> Verdict:
    kinds = [str(mapping(line).get("type")) for line in head.lines if _is_event(line) and "parentId" in mapping(line)]
    decisive = [kind for kind in kinds if kind in ("session.start", "session.resume", *TEXTS, "assistant.message")]
    if decisive and mostly(head.lines, _is_event):
        return accept(f"events with data and a parent, such as {decisive[0]}")
    return decline("no events such as user.message or assistant.message with data and a parent")


class Reader:
    """The events of one session."""

    def __init__(self, state: Json, _: Options) -> None:
        state = state or (None, "", False)
        session, self.thought, self.is_thinking = state
        self.session = Session(session)

    def state(self) -> Json:
        """The session, the digest of its last thought, and whether a response began with that."""
        return [self.session.state(), self.thought, self.is_thinking]

    @guard_read
    def read(self, item: Json) -> Iterable[Read]:
        """What one event becomes."""
        if not isinstance(item, dict):
            return [not_an_object(0, item)]
        kind, data, when = item.get("type"), mapping(item.get("data")), timestamp(item.get("timestamp"))
        if not isinstance(kind, str) or not kind.startswith(FAMILIES):
            return [UNKNOWN_LINE]
        if kind in ("session.start", "session.resume"):
            cwd = mapping(data.get("context")).get("cwd")
            self.session.know(run=data.get("sessionId"), project=cwd, model=data.get("selectedModel"))
        elif kind == "session.model_change":
            self.session.know(model=data.get("newModel"))
        elif kind in TEXTS:
            type, keys = TEXTS[kind]
            self.is_thinking = False
            return self.session.input(type, text_of(first_of(data, *keys)), when, {"agent": item.get("agentId")})
        elif kind == "assistant.reasoning":
            return self._reasoning(text_of(data.get("content")), when)
        elif kind == "assistant.message":
            return self._message(data, when)
        elif kind == "tool.user_requested":
            return self.session.call(data.get("toolCallId"), data.get("toolName"), data.get("arguments"), when)
        elif kind == "tool.execution_complete":
            return self._result(data, when)
        return [Skipped(rule=f"{kind} event")]

    def _reasoning(self, text: str, when: datetime | None) -> list[Read]:
        digest = short_digest(text)
        if not text.strip():
            return [EMPTY]
        if digest == self.thought:
            return [REPEATED]
        self.thought = digest
        if not self.is_thinking:
            self.session.respond()
            self.is_thinking = True
        return self.session.record("reasoning", text, when)

    def _message(self, data: Mapping[str, Json], when: datetime | None) -> list[Read]:
        if not self.is_thinking:
            self.session.respond()
        self.is_thinking = True  # what the message says of its reasoning belongs to it
        self.session.once = {"output_tokens": data.get("outputTokens"), "model": data.get("model")}
        got = self._reasoning(thought, when) if (thought := text_of(data.get("reasoningText"))) else []
        self.is_thinking = False
        if text := text_of(data.get("content")):
            got += self.session.record("assistant", text, when)
        for request in map(mapping, listed(data.get("toolRequests"))):
            got += self.session.call(request.get("toolCallId"), request.get("name"), request.get("arguments"), when)
        return got or [EMPTY]

    def _result(self, data: Mapping[str, Json], when: datetime | None) -> list[Read]:
        result, error = data.get("result"), data.get("error")
        text = text_of(first_of(mapping(result), "content", "detailedContent")) if isinstance(result, dict) else ""
        if not text.strip():
            text = text_of(mapping(error).get("message") or error) or (json_text(result) if result else "")
        self.is_thinking = False
        failed = data.get("success") is False
        return self.session.result(data.get("toolCallId"), text, when, failed=failed, more={"model": data.get("model")})


ROWS: tuple[Format, ...] = (Format(name="copilot_cli", shape="lines", recognises=_recognise, reader=Reader),)
