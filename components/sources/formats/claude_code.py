"""Claude Code session logs: one JSON object a line, one content block a line, no end mark.

A model response (`message.id`) is spread over several lines and is one iteration. Lines without a conversation
(progress, snapshots, modes) are left out. Sub-agents write files of their own; where their lines are in the main
file, each sub-agent is a run, named by its id or by the uuid of its first line. A resumed session may repeat lines, and a
streamed response its text so far: both are read once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from components.contracts import COPIED_FROM, Defect, Event, Json, Skipped
from components.sources.formats.claude_code_repeats import SeenLines, is_wrapper, unstreamed
from components.sources.formats.content import json_text, text_of, tool_call
from components.sources.formats.contract import End, Format, Head, Options, Read, Turns, Verdict, accept, decline
from components.sources.formats.defects import REPEATED, UNKNOWN_LINE, guard_read
from components.sources.formats.times import timestamp
from components.sources.formats.values import listed, mapping

NO_CONVERSATION: Final = frozenset(
    {
        "attachment",
        "file-history-snapshot",
        "last-prompt",
        "permission-mode",
        "progress",
        "queue-operation",
    }
)
BOOKKEEPING: Final = NO_CONVERSATION | {  # of a session; a log may begin with any number of such lines
    "agent-color",
    "agent-name",
    "agent-setting",
    "ai-title",
    "attribution-snapshot",
    "content-replacement",
    "custom-title",
    "mode",
    "pr-link",
    "speculation-accept",
    "tag",
    "task-summary",
    "worktree-state",
}
KEPT: Final = (  # key of a line, key of `extra`
    ("sessionId", "session_id"),
    ("session_id", "session_id"),
    ("uuid", "uuid"),
    ("agentId", "agent_id"),
    ("cwd", "cwd"),
    ("gitBranch", "git_branch"),
    ("costUSD", "cost"),
)
REPEATED_LINE: Final = Skipped(rule="line that was read before")
MAX_OPEN_SIDECHAINS: Final = 500  # last lines of sub-agents that a later line may follow


def recognises(head: Head) -> Verdict:
    """Is there a message of a session, or a summary, among its first lines?"""
    for line in head.lines:
        if not isinstance(line, dict):
            continue
        named = any(isinstance(line.get(key), str) for key in ("uuid", "sessionId", "session_id"))
        if line.get("type") in ("user", "assistant") and isinstance(line.get("message"), dict) and named:
            return accept("a user or assistant line with a message and a session")
        if line.get("type") == "summary" and "leafUuid" in line:
            return accept("a summary line with leafUuid")
    return decline("no line of type user or assistant with a message and a session")


def is_neutral(line: Json) -> bool:
    """Is it a line of a session, but of no conversation: a queue operation, a snapshot of files, a mode?"""
    kind = line.get("type") if isinstance(line, dict) else None
    if not isinstance(kind, str) or kind not in BOOKKEEPING:
        return False
    return isinstance(line.get("sessionId"), str) or isinstance(line.get("snapshot"), dict)


class Reader:
    """Remembers each run's numbers and last message id, and which sub-agent a line continues."""

    def __init__(self, state: Json, _: Options) -> None:
        state = state or {}
        self.turns: dict[str, Turns] = {
            run: Turns(run=run, iteration=iteration, idx=idx)
            for run, (iteration, idx, _) in state.get("runs", {}).items()
        }
        self.last_message: dict[str, Json] = {run: last for run, (_, _, last) in state.get("runs", {}).items()}
        self.is_main: bool | None = state.get("is_main")  # None until the first line of a conversation
        self.sidechains: dict[str, str] = dict(state.get("sidechains", {}))  # uuid of a line -> its run
        self.seen = SeenLines.of(state.get("seen"))
        self.streamed: dict[str, dict[str, Json]] = {
            run: dict(known) for run, known in state.get("streamed", {}).items()
        }

    def state(self) -> Json:
        """The numbering of every run, and the latest lines of sub-agents."""
        return {
            "runs": {run: [t.iteration, t.idx, self.last_message.get(run)] for run, t in self.turns.items()},
            "is_main": self.is_main,
            "sidechains": self.sidechains,
            "seen": self.seen.state(),
            "streamed": self.streamed,
        }

    @guard_read
    def read(self, item: Json) -> Iterable[Read]:
        """What one line becomes."""
        if not isinstance(item, dict):
            return (Defect(offset=0, reason="the line is no object"),)
        kind = item.get("type")
        if kind in ("user", "assistant"):
            return self._message(item, kind)
        if kind == "summary":
            return self._one(item, "summary", text_of(item.get("summary")))
        if kind == "system":
            return self._system(item)
        if kind == "attachment" and (queued := _queued(item)):
            return self._one(item, "system" if is_wrapper(queued) else "user", queued)
        if isinstance(kind, str) and kind in NO_CONVERSATION:
            return (Skipped(rule=f"{kind} line"),)
        if kind == "result":  # printed by `claude -p`: the last answer once more
            return (Skipped(rule="result line"),)
        return (UNKNOWN_LINE,)

    def _message(self, item: Mapping[str, Any], kind: str) -> Iterable[Read]:
        message = item.get("message")
        if not isinstance(message, dict):
            return (Defect(offset=0, reason=f"the {kind} line has no message"),)
        if not self.seen.is_new(item, message):
            return (REPEATED_LINE,)
        turns = self._turns(item)
        if kind == "assistant":
            self._respond(turns, message.get("id") or item.get("requestId") or item.get("uuid"))
        return list(self._blocks(item, kind, message, turns))

    def _respond(self, turns: Turns, message_id: Json) -> None:
        if message_id is None or self.last_message.get(turns.run) != message_id:
            turns.respond()
            self.last_message[turns.run] = message_id
            self.streamed.pop(turns.run, None)

    def _blocks(self, item: Mapping[str, Any], kind: str, message: Mapping[str, Any], turns: Turns) -> Iterator[Read]:
        when, extra = timestamp(item.get("timestamp")), _extra(item, message)
        type = _message_type(item, kind, message)
        content = message.get("content")
        for nth, block in enumerate(content if isinstance(content, list) else [content]):
            part = kind_of(block) if isinstance(block, dict) else None
            if kind == "assistant" and isinstance(block, dict) and not (block := self._unstreamed(turns, nth, block)):
                yield REPEATED
            elif part:
                yield _block(part, item, block, turns, when, extra)
            else:
                text = text_of(block)
                read = _event(turns, type, text, when, extra)
                if isinstance(read, Event) and type == "user" and is_wrapper(text):
                    read = read._replace(type="system", former_type="user")
                yield read

    def _unstreamed(self, turns: Turns, nth: int, block: Mapping[str, Any]) -> Mapping[str, Any]:
        """The block without what an earlier line of the same response said; empty where that is all."""
        known = self.streamed.setdefault(turns.run, {})
        for key in ("text", "thinking"):
            if isinstance(text := block.get(key), str) and text:
                new = unstreamed(known, f"{key} {nth}", text)
                return block if new is text else {**block, key: new} if new else {}
        if isinstance(call := block.get("id"), str):
            if call in known:
                return {}
            known[call] = True
        return block

    def _system(self, item: Mapping[str, Any]) -> Iterable[Read]:
        if errors := item.get("hookErrors"):
            return self._one(item, "error", text_of(errors))
        if item.get("error"):
            return self._one(item, "error", text_of(item.get("content")) or json_text(item["error"]))
        if item.get("content"):
            return self._one(item, "system", text_of(item["content"]))
        return (Skipped(rule="system line without content"),)

    def _one(self, item: Mapping[str, Any], type: str, text: str) -> Iterable[Read]:
        return (_event(self._turns(item), type, text, timestamp(item.get("timestamp")), _extra(item, {})),)

    def _turns(self, item: Mapping[str, Any]) -> Turns:
        run = self._run(item)
        if run not in self.turns:
            self.turns[run] = Turns(run=run)
        return self.turns[run]

    def _run(self, item: Mapping[str, Any]) -> str:
        """The sub-agent that the line belongs to, "" for the main conversation or a file of one sub-agent."""
        if "isSidechain" not in item:
            return ""
        if self.is_main is None:
            self.is_main = not item["isSidechain"]
        if not self.is_main or not item["isSidechain"]:
            return ""
        uuid, parent = str(item.get("uuid")), str(item.get("parentUuid"))
        run = str(item.get("agentId") or self.sidechains.get(parent) or uuid)
        self.sidechains[uuid] = run
        if len(self.sidechains) > MAX_OPEN_SIDECHAINS:
            del self.sidechains[next(iter(self.sidechains))]
        return run


def _queued(item: Mapping[str, Any]) -> str:
    """What a person typed while the model worked, which stands in an attachment alone; "" for other attachments."""
    attachment = mapping(item.get("attachment"))
    return text_of(attachment.get("prompt")) if attachment.get("type") == "queued_command" else ""


def kind_of(block: Mapping[str, Any]) -> str | None:
    """`tool_call`, `tool_result`, `reasoning`, or None for a block of content."""
    kind = block.get("type")
    if kind == "text" or not isinstance(kind, str):
        return None
    if kind.endswith("tool_use"):
        return "tool_call"
    if kind.endswith("tool_result"):
        return "tool_result"
    return "reasoning" if kind in ("thinking", "redacted_thinking") else None


def _block(
    kind: str,
    item: Mapping[str, Any],
    block: Mapping[str, Any],
    turns: Turns,
    when: datetime | None,
    extra: Mapping[str, Any],
) -> Read:
    if kind == "reasoning":
        return _event(turns, "reasoning", text_of(block.get("thinking")), when, extra, empty="thinking without text")
    if kind == "tool_call":
        about = {**extra, "tool": block.get("name"), "tool_call_id": block.get("id")}
        return _event(turns, "tool_call", tool_call(block.get("name"), block.get("input")), when, about)
    about = {**extra, "tool_call_id": block.get("tool_use_id")}
    text = text_of(block.get("content")) or _printed(item.get("toolUseResult"))
    return _event(turns, "error" if block.get("is_error") else "tool_result", text, when, about)


def _event(
    turns: Turns, type: str, text: str, when: datetime | None, extra: Mapping[str, Any], *, empty: str = "empty text"
) -> Read:
    return turns.event(type, text, when, extra) if text.strip() else Skipped(rule=empty)


def _printed(result: Json) -> str:
    """What a tool printed, from the structured result beside an empty content."""
    if isinstance(result, dict):
        return "\n".join(text for key in ("stdout", "stderr") if isinstance(text := result.get(key), str) and text)
    return result if isinstance(result, str) else ""


def _message_type(item: Mapping[str, Any], kind: str, message: Mapping[str, Any]) -> str:
    if item.get("isApiErrorMessage") or message.get("model") == "<synthetic>":
        return "error"
    if item.get("isCompactSummary"):
        return "summary"
    return "system" if item.get("isMeta") else kind


def _extra(item: Mapping[str, Any], message: Mapping[str, Any]) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    for key, name in KEPT:
        if value := item.get(key):
            extra[name] = value
    if isinstance(origin := item.get("forkedFrom"), dict) and isinstance(session := origin.get("sessionId"), str):
        extra[COPIED_FROM] = session
    if item.get("isSidechain"):
        extra["is_sidechain"] = True
    for key in ("model", "stop_reason"):
        if value := message.get(key):
            extra[key] = value
    usage = message.get("usage")
    if isinstance(usage, dict) and (tokens := usage.get("output_tokens")):
        extra["output_tokens"] = tokens
    return extra


def _recognise_document(head: Head) -> Verdict:
    if not isinstance(head.document, list):
        return decline("no list of a session's items")
    return recognises(Head(name=head.name, shape="lines", lines=head.document[:60]))


def _read_document(document: Json, options: Options) -> Iterator[Read]:
    """The items of a session, as `claude -p --output-format json --verbose` prints them in one list."""
    reader = Reader(None, options)
    for item in listed(document):
        yield from reader.read(item)


def _end(document: Json) -> End:
    last = document[-1] if isinstance(document, list) and document else None
    if isinstance(last, dict) and last.get("type") == "result":
        return End(mark=True, reason="its last item is the result")
    return End(mark=False, reason="its last item is no result")


ROWS = (
    Format(
        name="claude_code",
        shape="lines",
        recognises=recognises,
        reader=Reader,
        is_neutral=is_neutral,
        session_key="session_id",
    ),
    Format(
        name="claude_code",
        shape="document",
        recognises=_recognise_document,
        read=_read_document,
        end=_end,
        session_key="session_id",
    ),
)
