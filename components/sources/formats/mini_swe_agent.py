"""mini-swe-agent trajectories: `.traj.json`, one JSON document a run, the bare list of its messages, or a run a line.

In version 1 the assistant writes one fenced bash block, which is its action, and every later message in the user's
name is that action's result. Version 2 has tool calls, tool messages, and a last message in the role `exit`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from components.contracts import Defect, Json
from components.sources.formats.content import text_of
from components.sources.formats.contract import Format, Head, Options, Read, Turns, Verdict, accept, decline
from components.sources.formats.defects import excerpt, guarded
from components.sources.formats.message_parts import is_message
from components.sources.formats.messages import Conversation
from components.sources.formats.runs import RunNames, exit_status_end, run_per_line
from components.sources.formats.times import timestamp
from components.sources.formats.values import filled_scalars, mapping, mostly

_ACTION = re.compile(r"```(?:bash|mswea_bash_command)\s*\n(.*?)\n```", re.DOTALL)
_SUBMITS = ("COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT", "MINI_SWE_AGENT_FINAL_OUTPUT")


def _recognise_lines(head: Head) -> Verdict:
    if mostly(head.lines, lambda line: _recognise_run(line).accepted):
        return accept("runs of mini-swe-agent on its lines")
    return decline("no lines with trajectory_format, or with messages beside the info of a mini-swe-agent run")


def _recognise(head: Head) -> Verdict:
    return _recognise_run(head.document)


def _recognise_run(document: Json) -> Verdict:
    if isinstance(document, dict):
        version = document.get("trajectory_format")
        if isinstance(version, str) and version.startswith("mini-swe-agent"):
            return accept(f"trajectory_format is {version}")
        if isinstance(document.get("messages"), list) and _is_info(document.get("info")):
            return accept("messages beside an info with exit_status, model_stats or mini_version")
        return decline("no trajectory_format, no messages beside the info of a mini-swe-agent run")
    if isinstance(document, list) and _acts_by_bash_blocks(document):
        return accept("bare messages whose every response holds a fenced bash action")
    return decline("neither a trajectory object nor messages with fenced bash actions")


def _is_info(info: Json) -> bool:
    return isinstance(info, dict) and not info.keys().isdisjoint(("exit_status", "model_stats", "mini_version"))


def _acts_by_bash_blocks(messages: Sequence[Json]) -> bool:
    """Do nearly all responses hold a bash block, and does what follows them look like the agent's own loop?"""
    if len(messages) < 3 or not mostly(messages, is_message):
        return False
    head = messages[:60]
    answers = [text_of(m.get("content")) for m in head if isinstance(m, dict) and m.get("role") == "assistant"]
    inputs = [text_of(m.get("content")) for m in head if isinstance(m, dict) and m.get("role") == "user"]
    with_action = sum(bool(_ACTION.search(text)) for text in answers)
    loop = any("<returncode>" in text for text in inputs) or any(word in text for text in answers for word in _SUBMITS)
    return bool(answers) and with_action * 10 >= len(answers) * 8 and loop


def _read_line(item: Json, names: RunNames, _: Options) -> Iterator[Read]:
    return _run(item, names.unique(mapping(item).get("instance_id")))


def _read(document: Json, _: Options) -> Iterator[Read]:
    return _run(document, "")


def _run(document: Json, name: str) -> Iterator[Read]:
    run = document if isinstance(document, dict) else {"messages": document}
    messages = run.get("messages")
    if not isinstance(messages, list):
        yield Defect(offset=0, reason="no list of messages", excerpt=excerpt(document))
        return
    conversation = Conversation(turns=Turns(run=name), extra=_meta(run))
    for place, message in enumerate(messages):
        yield from guarded(place, _message(conversation, message, place))


def _message(conversation: Conversation, message: Json, place: int) -> Iterator[Read]:
    if not isinstance(message, dict):
        yield from conversation.read(message, place)
        return
    chat = _as_chat(message, answered=conversation.turns.iteration > 0)
    yield from conversation.read(chat, place, _time(message))


def _as_chat(message: Mapping[str, Json], *, answered: bool) -> Mapping[str, Json]:
    """The message as a chat would have it: the bash block as a call, the call's result as a tool's message."""
    role, content = message.get("role"), message.get("content")
    if role == "user" and answered:
        failed = mapping(message.get("extra")).get("interrupt_type") == "FormatError"
        return {**message, "role": "tool", "is_error": failed}
    if role != "assistant":
        return message
    chat = dict(message)
    if thought := _thought(message):
        chat.setdefault("reasoning_content", thought)
    if (
        isinstance(content, str)
        and not message.get("tool_calls")
        and len(found := list(_ACTION.finditer(content))) == 1
    ):
        start, end = found[0].span()
        chat["content"] = "\n\n".join(part for part in (content[:start].strip(), content[end:].strip()) if part)
        chat["tool_calls"] = [{"name": "bash", "arguments": found[0][1]}]
    return chat


def _thought(message: Mapping[str, Json]) -> str:
    """The reasoning that only the provider's stored response holds."""
    choices = mapping(mapping(message.get("extra")).get("response")).get("choices")
    first = mapping(choices[0]) if isinstance(choices, list) and choices else {}
    answer = mapping(first.get("message"))
    return text_of(answer.get("reasoning_content") or answer.get("reasoning"))


def _time(message: Mapping[str, Json]) -> datetime | None:
    extra = mapping(message.get("extra"))
    return timestamp(extra.get("timestamp")) or timestamp(mapping(extra.get("response")).get("created"))


def _meta(run: Mapping[str, Json]) -> dict[str, Json]:
    info = mapping(run.get("info"))
    stats = mapping(info.get("model_stats"))
    model = mapping(mapping(info.get("config")).get("model"))
    found = {
        "instance_id": run.get("instance_id"),
        "task": run.get("instance_id"),
        "exit_status": info.get("exit_status"),
        "model": model.get("model_name"),
        "cost": stats.get("instance_cost"),
        "api_calls": stats.get("api_calls"),
        "version": info.get("mini_version"),
    }
    return filled_scalars(found)


ROWS: tuple[Format, ...] = (
    Format(name="mini_swe_agent", shape="document", recognises=_recognise, read=_read, end=exit_status_end),
    Format(name="mini_swe_agent", shape="lines", recognises=_recognise_lines, reader=run_per_line(_read_line)),
)
