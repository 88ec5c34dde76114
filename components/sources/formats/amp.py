"""Amp threads (`threads/T-….json`): messages of Anthropic blocks, whose results hold what the tool's run gave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from components.contracts import Json
from components.sources.formats.content import json_text, text_of
from components.sources.formats.contract import Format, Head, Options, Read, Verdict, accept, decline
from components.sources.formats.defects import EMPTY, guarded, not_an_object
from components.sources.formats.message_parts import is_message, part_kind, part_text
from components.sources.formats.messages import THOUGHT_TEXTS
from components.sources.formats.sessions import Session
from components.sources.formats.times import timestamp
from components.sources.formats.values import first_of, listed, mapping, mostly, total

OUTPUTS: Final = ("output", "content", "diff")


def _recognise(head: Head) -> Verdict:
    about = mapping(head.document)
    id, messages = about.get("id"), listed(about.get("messages"))
    if (
        isinstance(id, str)
        and id.startswith("T-")
        and "created" in about
        and (not messages or mostly(messages, is_message))
    ):
        return accept(f"a thread with {len(messages)} messages, whose id begins with T-")
    return decline("no thread whose id begins with T-")


def _read(document: Json, _: Options) -> Iterator[Read]:
    about = mapping(document)
    session = Session()
    trees = listed(mapping(mapping(about.get("env")).get("initial")).get("trees"))
    tree = mapping(trees[0]) if trees else {}
    session.know(run=about.get("id"), project=first_of(tree, "displayName", "uri"))
    for index, message in enumerate(listed(about.get("messages"))):
        if isinstance(message, dict):
            yield from guarded(index, _message(session, message))
        else:
            yield not_an_object(index, message)


def _message(session: Session, message: Mapping[str, Json]) -> Iterator[Read]:
    role, usage = message.get("role"), mapping(message.get("usage"))
    kind = role if isinstance(role, str) and role else "user"
    when = timestamp(first_of(usage, "timestamp") or first_of(mapping(message.get("meta")), "sentAt"))
    if kind == "assistant":
        session.respond()
        session.once = {"tokens": total(usage, "totalInputTokens", "outputTokens"), "model": usage.get("model")}
    content, is_empty = message.get("content"), True
    for block in content if isinstance(content, list) else [content]:
        about = mapping(block)
        part = part_kind(about) if about else ""
        is_empty = False
        if part == "call":
            yield from session.call(about.get("id"), about.get("name"), about.get("input"), when)
        elif part == "result":
            yield from _result(session, about)
        elif part == "thought":
            yield from session.record("reasoning", text_of(first_of(about, *THOUGHT_TEXTS)), when)
        elif kind == "assistant":
            yield from session.record(kind, part_text(block), when)
        else:
            yield from session.input(kind, part_text(block), when)
    if is_empty:
        yield EMPTY


def _result(session: Session, block: Mapping[str, Json]) -> list[Read]:
    run = mapping(block.get("run"))
    status = run.get("status")
    result = first_of(run, "result", "error", "reason")
    text = _output(result if result is not None else block.get("content"))
    if not text.strip() and isinstance(status, str) and status != "done":
        text = status  # a call that was cancelled or rejected
    return session.result(
        first_of(block, "toolUseID", "tool_use_id"),
        text,
        failed=status in ("error", "rejected-by-user") or block.get("is_error") is True,
        more={"status": status},
    )


def _output(result: Json) -> str:
    about = mapping(result)
    for key in OUTPUTS:
        if about.get(key):
            return text_of(about[key])
    if isinstance(result, dict):
        return text_of(about.get("message")) or json_text(result)
    return text_of(result)


ROWS: tuple[Format, ...] = (Format(name="amp", shape="document", recognises=_recognise, read=_read),)
