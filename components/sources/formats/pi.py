"""Sessions of the pi coding agent: JSONL, a header, then entries that only ever grow.

Entries form a tree (a person may go back and branch off); they are read in the order they were written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from components.contracts import COPIED_FROM, Json, Skipped
from components.sources.formats.content import text_of, tool_call
from components.sources.formats.contract import Format, Head, Options, Read, Turns, Verdict, accept, decline
from components.sources.formats.defects import BOOKKEEPING, EMPTY, not_an_object, too_deep
from components.sources.formats.messages import Conversation
from components.sources.formats.times import timestamp
from components.sources.formats.values import filled_scalars, mapping

UNKNOWN: Final = Skipped(rule="entry of a type that the format does not know", is_unknown=True)
SUMMARIES: Final = frozenset({"compaction", "branch_summary"})
ENTRIES: Final = SUMMARIES | {
    *("message", "model_change", "thinking_level_change", "custom", "custom_message", "label", "session_info"),
}


def _recognise(head: Head) -> Verdict:
    first = head.lines[0] if head.lines else None
    if not isinstance(first, dict) or first.get("type") != "session" or first.keys().isdisjoint(("cwd", "version")):
        return decline("the first line is no session header with a cwd")
    others = [line for line in head.lines[1:] if isinstance(line, dict)]
    known = sum(isinstance(kind := line.get("type"), str) and kind in ENTRIES for line in others)
    if known * 2 >= len(others):
        return accept(f"a session header, then {known} entries such as message, compaction, model_change")
    return decline("a session header, but entries of other types behind it")


@dataclass(slots=True)
class Session:
    """The entries of one session; `extra` holds its id, from the header."""

    turns: Turns = field(default_factory=Turns)
    extra: Mapping[str, Json] = field(default_factory=dict)
    parent: str = ""  # the session that this one was branched off
    began: datetime | None = None  # what is older was copied from the parent

    def read(self, entry: Json) -> list[Read]:
        """What one line becomes."""
        if not isinstance(entry, dict):
            return [not_an_object(0, entry)]
        kind = entry.get("type")
        try:
            if kind == "message":
                return self._message(entry)
            if isinstance(kind, str) and kind in SUMMARIES:
                return self._record("summary", text_of(entry.get("summary")), entry)
            if kind == "custom_message":
                return self._record("user", text_of(entry.get("content")), entry, {"name": entry.get("customType")})
        except RecursionError:
            return [too_deep(0)]
        if kind == "session":
            self.extra = {"session": entry["id"]} if isinstance(entry.get("id"), str) else {}
            self.parent, self.began = _parent(entry.get("parentSession")), timestamp(entry.get("timestamp"))
        return [BOOKKEEPING if kind == "session" or (isinstance(kind, str) and kind in ENTRIES) else UNKNOWN]

    def _record(
        self, kind: str, text: str, entry: Mapping[str, Json], more: Mapping[str, Json] | None = None
    ) -> list[Read]:
        if not text or text.isspace():
            return [EMPTY]
        extra = {**self._about(entry), **filled_scalars(more)} if more else self._about(entry)
        return [self.turns.event(kind, text, timestamp(entry.get("timestamp")), extra)]

    def _message(self, entry: Mapping[str, Json]) -> list[Read]:
        message = entry.get("message")
        if not isinstance(message, dict):
            return [not_an_object(0, message)]
        role = message.get("role")
        if role == "assistant":
            return self._response(message, entry)
        if role == "toolResult":
            kind = "error" if message.get("isError") is True else "tool_result"
            about = {"tool": message.get("toolName"), "call_id": message.get("toolCallId")}
            return self._record(kind, text_of(message.get("content")), entry, about)
        if role == "bashExecution":
            about = {"tool": "bash", "role": role, "exit_code": message.get("exitCode")}
            called = tool_call("bash", text_of(message.get("command")))
            got = self._record("tool_call", called, entry, about)
            return got + self._record("tool_result", text_of(message.get("output")), entry, about)
        if role in ("branchSummary", "compactionSummary"):
            return self._record("summary", text_of(message.get("summary")), entry)
        kind = "user" if role in ("user", "custom", "hookMessage") or not isinstance(role, str) or not role else role
        name = message.get("customType")
        return self._record(kind, text_of(message.get("content")), entry, {"name": name} if name else None)

    def _response(self, message: Mapping[str, Json], entry: Mapping[str, Json]) -> list[Read]:
        usage = mapping(message.get("usage"))
        about = {
            "model": message.get("model"),
            "stop_reason": message.get("stopReason"),
            "tokens_in": usage.get("input"),
            "tokens_out": usage.get("output"),
            "cost": mapping(usage.get("cost")).get("total"),
        }
        conversation = Conversation(turns=self.turns, extra={**self._about(entry), **filled_scalars(about)})
        chat = {"role": "assistant", "content": _renamed(message.get("content"))}
        got = conversation.read(chat, when=timestamp(entry.get("timestamp")))
        error = message.get("errorMessage")
        if isinstance(error, str) and error.strip():
            return [read for read in got if read != EMPTY] + self._record("error", error, entry, about)
        return got

    def _about(self, entry: Mapping[str, Json]) -> Mapping[str, Json]:
        """The session, and its parent where the entry is older than the session itself."""
        when = timestamp(entry.get("timestamp")) if self.parent and self.began else None
        if when is None or self.began is None or (when.tzinfo is None) != (self.began.tzinfo is None):
            return self.extra
        return {**self.extra, COPIED_FROM: self.parent} if when < self.began else self.extra

    def state(self) -> Json:
        """The numbering, and the session with its parent and its beginning."""
        began = self.began.isoformat() if self.began else None
        return [self.turns.iteration, self.turns.idx, dict(self.extra), self.parent, began]


def _parent(path: Json) -> str:
    """The id of the parent session, from the path of its file (`<time>_<id>.jsonl`), or as it is."""
    if not isinstance(path, str):
        return ""
    name = path.replace("\\", "/").rpartition("/")[2]
    return name.removesuffix(".jsonl").rpartition("_")[2]


def _renamed(content: Json) -> Json:
    """The blocks of pi under the names that chats use."""
    if not isinstance(content, list):
        return content
    return [
        {**block, "type": "tool_call"} if isinstance(block, dict) and block.get("type") == "toolCall" else block
        for block in content
    ]


def _reader(state: Json, _: Options) -> Session:
    if not state:
        return Session()
    iteration, idx, extra, *rest = state
    parent, began = rest or ("", None)  # states of earlier versions end before them
    return Session(turns=Turns(iteration=iteration, idx=idx), extra=extra, parent=parent, began=timestamp(began))


ROWS: tuple[Format, ...] = (
    Format(name="pi", shape="lines", recognises=_recognise, reader=_reader, session_key="session"),
)
