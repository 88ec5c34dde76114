"""Codex CLI: rollout files, their legacy form with bare items, and what `codex exec --json` prints.

A rollout line is `{timestamp, type, payload}`. `response_item` lines are the conversation; `event_msg` lines repeat
them and are left out, but for errors and for prompts that stand in them alone. A fork's file begins with its own session line, then repeats its parent's lines,
all stamped with the moment of the fork. The legacy form and `exec --json` are read by their documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from components.contracts import COPIED_FROM, Defect, Json, Skipped
from components.sources.formats.content import json_text, text_of, tool_call
from components.sources.formats.contract import Format, Head, Options, Read, Turns, Verdict, accept, decline
from components.sources.formats.deduplication import short_digest
from components.sources.formats.defects import REPEATED, UNKNOWN_LINE, guard_read
from components.sources.formats.times import timestamp
from components.sources.formats.values import listed, mapping

LINE_TYPES: Final = frozenset({"session_meta", "response_item", "event_msg", "turn_context", "compacted"})
EXEC_TYPES: Final = ("thread.", "turn.", "item.")
ITEM_TYPES: Final = frozenset(
    {
        "message",
        "reasoning",
        "function_call",
        "function_call_output",
        "custom_tool_call",
        "custom_tool_call_output",
        "local_shell_call",
        "local_shell_call_output",
        "web_search_call",
    }
)
ERRORS: Final = ("error", "stream_error")
UNKNOWN_ITEM: Final = Skipped(rule="item of another type", is_unknown=True)
NO_TEXT_ITEMS: Final = frozenset({"ghost_snapshot", "compaction", "compaction_trigger", "context_compaction"})
NO_INSTRUCTIONS: Final = Skipped(rule="session line without instructions")
EVENT: Final = Skipped(rule="event_msg line")
MAX_PROMPTS: Final = 32  # that are remembered until they come in their other form
LONGEST_PAUSE: Final = timedelta(seconds=1)  # between two lines of a copied history
PROGRESS: Final = frozenset({"thread.started", "turn.started", "turn.completed", "item.started", "item.updated"})


def recognises(head: Head) -> Verdict:
    """Are its lines a rollout, a legacy session or what `codex exec --json` prints?"""
    lines = [line for line in head.lines if isinstance(line, dict)]
    if not lines:
        return decline("no JSON lines")
    rollout = sum("payload" in line and _kind(line) in LINE_TYPES for line in lines)
    if rollout >= 0.6 * len(lines):
        return accept(f"{rollout} of the first {len(lines)} lines have a payload and a type of Codex")
    if lines[0].get("type") == "thread.started" and "thread_id" in lines[0]:
        return accept("it begins with thread.started, as `codex exec --json` does")
    if _is_legacy(lines):
        return accept("a session line without type, then bare response items")
    return decline("fewer than 60 % of its lines have a payload and a type of Codex")


def _is_legacy(lines: list[dict[str, Any]]) -> bool:
    first, rest = lines[0], lines[1:]
    if "type" in first or not {"id", "timestamp"} <= first.keys() or not ({"instructions", "git"} & first.keys()):
        return False
    items = sum(_kind(line) in ITEM_TYPES or "record_type" in line for line in rest)
    return bool(rest) and items >= 0.6 * len(rest)


def _kind(item: Mapping[str, Any]) -> str:
    kind = item.get("type")
    return kind if isinstance(kind, str) else ""


class Reader:
    """Remembers the numbering, whether the model is writing, and the session's id, folder and model."""

    def __init__(self, state: Json, _: Options) -> None:
        state = state or {}
        self.turns = Turns(iteration=state.get("iteration", 0), idx=state.get("idx", 0))
        self.writing: bool = state.get("writing", False)
        self.session: dict[str, Json] = dict(state.get("session", {}))
        self.origin: str = state.get("origin", "")  # the session whose history is copied into this one
        self.prompts: dict[str, str] = dict(state.get("prompts", {}))  # digest of a user's text -> where it was read
        self.saw_no_prompt: bool = bool(state) and "prompts" not in state  # resumed behind a reader that kept none
        self.burst_at: datetime | None = timestamp(state.get("burst_at"))  # None once the first burst of lines is over

    def state(self) -> Json:
        """The numbering, the session, and whether a copied history is still being read."""
        turns = self.turns
        return {
            "iteration": turns.iteration,
            "idx": turns.idx,
            "writing": self.writing,
            "session": self.session,
            "origin": self.origin,
            "prompts": self.prompts,
            "burst_at": self.burst_at.isoformat() if self.burst_at else None,
        }

    @guard_read
    def read(self, item: Json) -> Iterable[Read]:
        """What one line becomes."""
        if not isinstance(item, dict):
            return (Defect(offset=0, reason="the line is no object"),)
        kind, when = _kind(item), timestamp(item.get("timestamp"))
        payload = item.get("payload")
        if kind in LINE_TYPES:
            if not isinstance(payload, dict):
                return (Defect(offset=0, reason=f"the {kind} line has no payload"),)
            self._follow_burst(when)
            return (self._line(kind, payload, when),)
        if kind in ITEM_TYPES:
            return (self._item(item, when),)
        if kind.startswith(EXEC_TYPES):
            return self._printed(kind, item, when)
        if kind == "error":
            return (self._input("error", text_of(item.get("message")), when),)
        if not kind and "id" in item:  # the first line of a legacy file
            return (self._session(item, when),)
        return (UNKNOWN_LINE,)

    def _follow_burst(self, when: datetime | None) -> None:
        """A fork's file begins with its parent's history, all written at the moment of the fork."""
        last = self.burst_at
        if last is None:
            return
        is_comparable = when is not None and (when.tzinfo is None) == (last.tzinfo is None)
        if when is None or not is_comparable or when - last > LONGEST_PAUSE:
            self.burst_at = None
        else:
            self.burst_at = max(last, when)

    # --- rollout lines ---

    def _line(self, kind: str, payload: Mapping[str, Any], when: datetime | None) -> Read:
        if kind == "response_item":
            return self._item(payload, when)
        if kind == "session_meta":
            return self._session(payload, when)
        if kind == "compacted":
            return self._input("summary", text_of(payload.get("message")), when)
        if kind == "turn_context":
            if model := payload.get("model"):
                self.session["model"] = model
            return Skipped(rule="turn_context line")
        if payload.get("type") in ERRORS:
            return self._input("error", text_of(payload.get("message")) or json_text(payload), when)
        if payload.get("type") == "user_message":
            text = text_of(payload.get("message"))
            return self._input("user", text, when) if self._is_new_prompt(text, "event") else EVENT
        return EVENT

    def _is_new_prompt(self, text: str, form: str, content: Json = None) -> bool:
        """Is this the first of the two forms, event and item, in which a rollout may hold a user's prompt?

        An item may hold more texts than the prompt: each of them is compared.
        """
        texts = [text, *(text_of(part) for part in listed(content))]
        if self.saw_no_prompt:  # an item, if it was one, was read before
            self.saw_no_prompt = False
            return form == "item"
        digests = [short_digest(one.strip(), size=6) for one in texts]
        for digest in digests:
            if self.prompts.get(digest, form) != form:
                del self.prompts[digest]
                return False
        self.prompts |= dict.fromkeys(digests, form)
        while len(self.prompts) > MAX_PROMPTS:
            del self.prompts[next(iter(self.prompts))]
        return True

    def _session(self, meta: Mapping[str, Any], when: datetime | None) -> Read:
        """The session's own line is the first; a later one of another session begins a copy of that one's history."""
        is_own = "session_id" not in self.session
        if is_own:
            for key, name in (("id", "session_id"), ("cwd", "cwd"), ("model_provider", "model_provider")):
                if value := meta.get(key):
                    self.session[name] = value
        elif self.burst_at is not None and not self.origin and meta.get("id") != self.session["session_id"]:
            self.origin = str(meta.get("id") or "")
        instructions = text_of(meta.get("base_instructions") or meta.get("instructions"))
        read = self._input("system", instructions, when) if instructions.strip() else NO_INSTRUCTIONS
        if is_own:
            self.burst_at = when
            self.origin = text_of(meta.get("forked_from_id"))
        return read

    # --- response items ---

    def _item(self, item: Mapping[str, Any], when: datetime | None) -> Read:
        kind = str(item.get("type"))
        if kind == "message":
            return self._message(item, when)
        if kind == "reasoning":
            text = text_of(item.get("summary")) or text_of(item.get("content"))
            return self._output("reasoning", text, when, empty="encrypted reasoning")
        if kind.endswith("_output"):
            return self._result(item, when)
        if kind.endswith("_call"):
            name = item.get("name") or kind.removesuffix("_call")
            arguments: Json = next((item[key] for key in ("arguments", "input", "action") if item.get(key)), None)
            about = {"tool": name, "tool_call_id": item.get("call_id") or item.get("id")}
            return self._output("tool_call", tool_call(name, arguments), when, about)
        return Skipped(rule=f"{kind} item") if kind in NO_TEXT_ITEMS else UNKNOWN_ITEM

    def _message(self, item: Mapping[str, Any], when: datetime | None) -> Read:
        text, role = text_of(item.get("content")), item.get("role")
        if role == "assistant":
            return self._output("assistant", text, when)
        if role == "user" and not self._is_new_prompt(text, "item", item.get("content")):
            return REPEATED
        return self._input("user" if role == "user" else "system", text, when, {"role": role} if role else {})

    def _result(self, item: Mapping[str, Any], when: datetime | None) -> Read:
        about: dict[str, Any] = {"tool_call_id": item.get("call_id")}
        output, type = _unwrapped(item.get("output")), "tool_result"
        if isinstance(output, dict):
            metadata = output.get("metadata")
            if isinstance(metadata, dict) and "exit_code" in metadata:
                about["exit_status"] = metadata["exit_code"]
            type = "error" if output.get("success") is False else type
            output = output.get("output", output.get("content", output))
        return self._input(type, text_of(output), when, about)

    # --- codex exec --json ---

    def _printed(self, kind: str, item: Mapping[str, Any], when: datetime | None) -> Iterable[Read]:
        if kind == "thread.started":
            self.session["session_id"] = item.get("thread_id")
        if kind == "turn.failed":
            return (self._input("error", text_of(mapping(item.get("error")).get("message")), when),)
        if kind != "item.completed":
            return (Skipped(rule=f"{kind} line") if kind in PROGRESS else UNKNOWN_LINE,)
        return tuple(self._completed(mapping(item.get("item")), when))

    def _completed(self, item: Mapping[str, Any], when: datetime | None) -> Iterable[Read]:
        kind = str(item.get("type") or item.get("item_type"))
        if kind in ("agent_message", "assistant_message"):
            yield self._output("assistant", text_of(item.get("text")), when)
        elif kind == "reasoning":
            yield self._output("reasoning", text_of(item.get("text")), when, empty="encrypted reasoning")
        elif kind == "error":
            yield self._input("error", text_of(item.get("message")), when)
        elif kind == "command_execution":
            yield self._output("tool_call", tool_call("command_execution", item.get("command")), when)
            about = {"exit_status": item.get("exit_code")}
            yield self._input("tool_result", text_of(item.get("aggregated_output")), when, about)
        elif kind == "mcp_tool_call":
            yield self._output("tool_call", tool_call(item.get("tool"), item.get("arguments")), when)
            yield self._input("error" if item.get("error") else "tool_result", _mcp_result(item), when)
        elif kind in ("file_change", "web_search", "todo_list"):
            given: Json = next((item[key] for key in ("changes", "query", "items") if key in item), None)
            yield self._output("tool_call", tool_call(kind, given), when)
        else:
            yield UNKNOWN_ITEM

    # --- numbering ---

    def _output(
        self,
        type: str,
        text: str,
        when: datetime | None,
        extra: Mapping[str, Any] | None = None,
        *,
        empty: str = "empty text",
    ) -> Read:
        """Something the model wrote: the first after an input begins an iteration, even when it can't be read."""
        if not self.writing:
            self.turns.respond()
        self.writing = True
        return self._event(type, text, when, extra, empty)

    def _input(self, type: str, text: str, when: datetime | None, extra: Mapping[str, Any] | None = None) -> Read:
        self.writing = False
        return self._event(type, text, when, extra, "empty text")

    def _event(self, type: str, text: str, when: datetime | None, extra: Mapping[str, Any] | None, empty: str) -> Read:
        if not text.strip():
            return Skipped(rule=empty)
        copied = {COPIED_FROM: self.origin} if self.origin and self.burst_at is not None else {}
        return self.turns.event(type, text, when, {**self.session, **copied, **(extra or {})})


def _unwrapped(output: Json) -> Json:
    """The object that an output string holds, where it is one; older versions wrote `{"output": …, "metadata": …}`."""
    if isinstance(output, str) and output.startswith('{"'):
        try:
            value = orjson.loads(output)
        except orjson.JSONDecodeError:
            return output
        return value if isinstance(value, dict) and "output" in value else output
    return output


def _mcp_result(item: Mapping[str, Any]) -> str:
    return text_of(item.get("error")) or text_of(item.get("result"))


ROWS = (Format(name="codex", shape="lines", recognises=recognises, reader=Reader, session_key="session_id"),)
