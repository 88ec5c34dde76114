"""Cline, Roo Code and Kilo Code: what the task's panel shows (`ui_messages.json`), and sessions of Cline's SDK.

The panel's messages are of type `say` or `ask`; the first text is the task. A request to the model begins a response.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final

from components.contracts import Event, Json, Skipped
from components.sources.formats.content import json_text, text_of
from components.sources.formats.contract import Format, Head, Options, Read, Turns, Verdict, accept, decline
from components.sources.formats.defects import guarded, not_an_object
from components.sources.formats.message_parts import is_message
from components.sources.formats.messages import Conversation
from components.sources.formats.sessions import Session
from components.sources.formats.times import timestamp
from components.sources.formats.values import filled_scalars, listed, mapping, mostly, parse_json, total

KINDS: Final[Mapping[str, str]] = {  # say or ask -> type of record
    **dict.fromkeys(("text", "completion_result", "followup", "plan_mode_respond", "user_question"), "assistant"),
    "reasoning": "reasoning",
    **dict.fromkeys(("tool", "command", "use_mcp_server", "browser_action", "browser_action_launch"), "tool_call"),
    **dict.fromkeys(("new_task", "use_skill", "use_subagents"), "tool_call"),
    **dict.fromkeys(
        ("command_output", "mcp_server_response", "browser_action_result", "subtask_result"), "tool_result"
    ),
    "codebase_search_result": "tool_result",
    **dict.fromkeys(("task", "user_feedback", "user_feedback_diff"), "user"),
    **dict.fromkeys(("error", "diff_error", "clineignore_error", "rooignore_error", "api_req_failed"), "error"),
    **dict.fromkeys(("mistake_limit_reached", "condense_context_error", "shell_integration_warning"), "error"),
    **dict.fromkeys(("condense_context", "condense", "summarize_task"), "summary"),
}
BOOKKEEPING: Final = frozenset(
    {
        *("api_req_started", "api_req_finished", "api_req_retried", "api_req_retry_delayed", "api_req_rate_limit_wait"),
        *("api_req_deleted", "deleted_api_reqs", "checkpoint_created", "checkpoint_saved", "checkpoint_restore"),
        *("resume_task", "resume_completed_task", "info", "task_progress", "mcp_server_request_started", "hook_status"),
        *(
            "sliding_window_truncation",
            "load_mcp_documentation",
            "auto_approval_max_req_reached",
            "generate_explanation",
        ),
        *("mcp_notification", "hook_output_stream", "command_permission_denied", "too_many_tools_warning"),
    }
)
PARTIAL: Final = Skipped(rule="message that is still being written")
TOOL_NAMES: Final = {"command": "execute_command", "command_output": "execute_command"}
TEXT_KEYS: Final = ("question", "response", "result", "message", "text", "summary", "logs", "content")


def _kind(message: Json) -> str:
    """What a message of the panel says or asks; "" where it is none."""
    about = mapping(message)
    kind = about.get("type")
    if kind not in ("say", "ask") or "ts" not in about:
        return ""
    name = about.get(kind)
    return name if isinstance(name, str) else ""


def _recognise(head: Head) -> Verdict:
    document = head.document
    if isinstance(document, list) and mostly(document, _kind):
        return accept(f"{len(document)} messages that say or ask, each with its time")
    return decline("no list of messages that say or ask")


def _read(document: Json, _: Options) -> Iterator[Read]:
    session, is_first = Session(), True
    for index, message in enumerate(listed(document)):
        if not isinstance(message, dict):
            yield not_an_object(index, message)
            continue
        kind = _kind(message)
        if is_first and kind in ("text", "task"):
            kind, is_first = "task", False
        yield from guarded(index, _message(session, kind, message))


def _message(session: Session, kind: str, message: Mapping[str, Json]) -> Iterable[Read]:
    when, model = timestamp(message.get("ts")), mapping(message.get("modelInfo")).get("modelId")
    session.know(model=model)
    if message.get("partial") is True:
        return [PARTIAL]
    if kind == "api_req_started":
        session.respond()
        about = mapping(parse_json(message.get("text")))
        session.once = {"tokens": total(about, "tokensIn", "tokensOut"), "cost": about.get("cost")}
    if kind in BOOKKEEPING:
        return [Skipped(rule=f"{kind} message")]
    if kind not in KINDS:
        return [Skipped(rule=f"{kind or 'unnamed'} message, which the format does not know", is_unknown=True)]
    return _record(session, kind, message, when)


def _record(session: Session, kind: str, message: Mapping[str, Json], when: datetime | None) -> list[Read]:
    text, type = message.get("text"), KINDS[kind]
    about = mapping(parse_json(text))
    if type in ("assistant", "reasoning", "tool_call"):
        session.continue_response()
    if type == "tool_call":
        name = about.get("tool") or about.get("toolName") or TOOL_NAMES.get(kind, kind)
        arguments = {key: value for key, value in about.items() if key not in ("tool", "toolName")} if about else text
        return session.call(None, name, arguments or None, when)
    spelled = _spelled(about) if about else text_of(text)
    if kind == "condense_context":
        spelled = text_of(mapping(message.get("contextCondense")).get("summary")) or spelled
    if not spelled.strip() and message.get("images"):
        spelled = "[image]"
    if type in ("tool_result", "user", "error"):
        return session.input(type, spelled, when, {"tool": TOOL_NAMES.get(kind)})
    return session.record(type, spelled, when)


def _spelled(about: Mapping[str, Json]) -> str:
    """The text of a message whose text is an object: that of its usual key, else the object without pictures."""
    for key in TEXT_KEYS:
        if isinstance(text := about.get(key), str) and text.strip():
            return text
    return json_text({key: value for key, value in about.items() if key != "screenshot"})


# --- sessions of the SDK ---------------------------------------------------------------------------------------------


def _recognise_sdk(head: Head) -> Verdict:
    about = mapping(head.document)
    messages = listed(about.get("messages"))
    is_own = {"sessionId", "version", "messages"} <= about.keys() and mostly(messages, is_message)
    if is_own and any("modelInfo" in mapping(message) or "ts" in mapping(message) for message in messages):
        return accept(f"a session with {len(messages)} messages that name their time or model")
    return decline("no session with messages that name their time or model")


def _read_sdk(document: Json, _: Options) -> Iterator[Read]:
    about = mapping(document)
    common = filled_scalars({"run": about.get("sessionId"), "agent": about.get("agent")})
    conversation = Conversation(turns=Turns(), extra=common)
    if text := text_of(about.get("system_prompt")):
        yield from conversation.read({"role": "system", "content": text})
    for index, message in enumerate(listed(about.get("messages"))):
        if not isinstance(message, dict):
            yield not_an_object(index, message)
            continue
        metrics = mapping(message.get("metrics"))
        spent = {"tokens": total(metrics, "inputTokens", "outputTokens"), "cost": metrics.get("cost")}
        conversation.extra = {**common, **filled_scalars({"model": mapping(message.get("modelInfo")).get("id")})}
        when = timestamp(message.get("ts"))
        for got in conversation.read({**message, "content": _files_named(message)}, index, when):
            if isinstance(got, Event) and spent:
                yield got._replace(extra={**got.extra, **filled_scalars(spent)})
                spent = {}
            else:
                yield got


def _files_named(message: Mapping[str, Json]) -> Json:
    """The content, with attached files as their name and content."""
    content = message.get("content")
    if not isinstance(content, list):
        return content
    return [_named(block) if mapping(block).get("type") == "file" else block for block in content]


def _named(block: Mapping[str, Json]) -> Json:
    return {"type": "text", "text": f"{text_of(block.get('path'))}\n{text_of(block.get('content'))}".strip()}


ROWS: tuple[Format, ...] = (
    Format(name="cline", shape="document", recognises=_recognise, read=_read),
    Format(name="cline", shape="document", recognises=_recognise_sdk, read=_read_sdk),
)
