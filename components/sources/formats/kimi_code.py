"""Kimi Code sessions (`wire.jsonl`): the events between the agent and its surface, of today and of its first version.

What a turn is prompted with follows once more as a message, which is the one that is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from components.contracts import Json, Skipped
from components.sources.formats.content import text_of
from components.sources.formats.contract import Format, Head, Options, Read, Verdict, accept, decline
from components.sources.formats.deduplication import short_digest
from components.sources.formats.defects import REPEATED, UNKNOWN_LINE, guard_read, not_an_object
from components.sources.formats.sessions import Session
from components.sources.formats.times import timestamp
from components.sources.formats.values import first_of, mapping, mostly

FAMILIES: Final = (
    *("metadata", "config.", "context.", "turn.", "tools.", "llm.", "usage.", "permission.", "profile.", "plugin."),
    *("runtime.", "token_counting.", "step.", "goal.", "plan", "swarm", "todo", "full_compaction.", "interaction."),
)
PROMPTED_BY_A_PERSON: Final = (None, "user", "system_trigger")  # a trigger gives a sub-agent its task
OLD: Final = frozenset(
    {
        *("TurnBegin", "TurnEnd", "StepBegin", "StepInterrupted", "ContentPart", "ToolCall", "ToolCallPart"),
        *("ToolResult", "StatusUpdate", "CompactionBegin", "CompactionEnd", "ApprovalRequest", "ApprovalResponse"),
        *("SubagentEvent", "SteerInput", "Notification", "ApprovalRequestResolved"),
    }
)


def _kind(line: Json) -> str:
    kind = mapping(line).get("type")
    return kind if isinstance(kind, str) else ""


def _old_kind(line: Json) -> str:
    kind = mapping(mapping(line).get("message")).get("type")
    return kind if isinstance(kind, str) and kind in OLD else ""


def _recognise(head: Head) -> Verdict:
    if any(map(_old_kind, head.lines)) and mostly(
        head.lines, lambda line: _old_kind(line) or _kind(line) == "metadata"
    ):
        return accept("messages of Kimi's first wire protocol, such as TurnBegin")
    n = sum(_kind(line).startswith("context.append_") or _kind(line) == "turn.prompt" for line in head.lines)
    begins = (
        _kind(head.lines[0]) == "metadata" and "protocol_version" in mapping(head.lines[0]) if head.lines else False
    )
    if (n or begins) and mostly(head.lines, lambda line: _kind(line).startswith(FAMILIES)):
        return accept(f"events of Kimi's wire protocol, {n} of them additions to the context")
    return decline("no events of Kimi's wire protocol")


class Reader:
    """The events of one session or sub-agent."""

    def __init__(self, state: Json, _: Options) -> None:
        state = state or (None, "")
        session, self.prompt = state
        self.session = Session(session)

    def state(self) -> Json:
        """The session, and the digest of its system prompt."""
        return [self.session.state(), self.prompt]

    @guard_read
    def read(self, item: Json) -> Iterable[Read]:
        """What one event becomes."""
        if not isinstance(item, dict):
            return [not_an_object(0, item)]
        if kind := _old_kind(item):
            return self._old(kind, mapping(mapping(item["message"]).get("payload")), timestamp(item.get("timestamp")))
        kind, when = _kind(item), timestamp(item.get("time"))
        if kind in ("config.update", "profile.bind"):
            return self._config(item, when)
        if kind == "context.append_message":
            return self._message(mapping(item.get("message")), when)
        if kind == "context.append_loop_event":
            return self._event(mapping(item.get("event")), when)
        if kind == "context.apply_compaction":
            return self.session.input("summary", text_of(item.get("summary")), when)
        return [Skipped(rule=f"{kind} event") if kind.startswith(FAMILIES) else UNKNOWN_LINE]

    def _config(self, item: Mapping[str, Json], when: datetime | None) -> list[Read]:
        cwd = first_of(item, "cwd") or mapping(item.get("environmentDisclosure")).get("cwd")
        self.session.know(model=item.get("modelAlias"), project=cwd)
        text = text_of(item.get("systemPrompt"))
        if not text.strip():
            return [Skipped(rule=f"{_kind(item)} event")]
        if (digest := short_digest(text)) == self.prompt:
            return [REPEATED]
        self.prompt = digest
        return self.session.input("system", text, when)

    def _message(self, message: Mapping[str, Json], when: datetime | None) -> list[Read]:
        role, origin = message.get("role"), mapping(message.get("origin")).get("kind")
        text = text_of(message.get("content"))
        if role == "assistant":
            self.session.respond()
            return self.session.record("assistant", text, when)
        if role == "tool":
            return self.session.result(message.get("toolCallId"), text, when)
        is_users = origin in PROMPTED_BY_A_PERSON and role != "system"
        return self.session.input(
            "user" if is_users else "system", text, when, {"origin": origin} if origin != "user" else None
        )

    def _event(self, event: Mapping[str, Json], when: datetime | None) -> list[Read]:
        kind = event.get("type")
        if kind == "step.begin":
            self.session.respond()
        elif kind == "content.part":
            return self._part(mapping(event.get("part")), when)
        elif kind == "tool.call":
            return self.session.call(event.get("toolCallId"), event.get("name"), event.get("args"), when)
        elif kind == "tool.result":
            result = mapping(event.get("result"))
            failed = result.get("isError") is True or bool(result.get("error"))
            text = first_of(result, "output", "error", "message")
            return self.session.result(event.get("toolCallId"), text, when, failed=failed)
        return [Skipped(rule=f"{kind} event") if isinstance(kind, str) and kind.startswith("step.") else UNKNOWN_LINE]

    def _part(self, part: Mapping[str, Json], when: datetime | None) -> list[Read]:
        self.session.continue_response()
        if part.get("type") in ("think", "thinking"):
            return self.session.record("reasoning", text_of(first_of(part, "think", "thinking", "text")), when)
        return self.session.record("assistant", text_of(part) if part else "", when)

    def _old(self, kind: str, payload: Mapping[str, Json], when: datetime | None) -> list[Read]:
        """An event of the first protocol."""
        if kind in ("TurnBegin", "SteerInput"):
            return self.session.input("user", text_of(payload.get("user_input")), when)
        if kind == "StepBegin":
            self.session.respond()
        elif kind == "ContentPart":
            return self._part(payload, when)
        elif kind == "ToolCall":
            function = mapping(payload.get("function"))
            self.session.continue_response()
            return self.session.call(payload.get("id"), function.get("name"), function.get("arguments"), when)
        elif kind == "ToolResult":
            value = mapping(first_of(payload, "return_value", "result"))
            text = text_of(value.get("output")) or text_of(value.get("message"))
            failed = value.get("is_error") is True
            return self.session.result(payload.get("tool_call_id"), text, when, failed=failed)
        return [Skipped(rule=f"{kind} event")]


ROWS: tuple[Format, ...] = (Format(name="kimi_code", shape="lines", recognises=_recognise, reader=Reader),)
