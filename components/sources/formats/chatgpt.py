"""ChatGPT's data export (`conversations.json`): trees of messages, of which the path to the current one is read.

Branches beside the path are answers and prompts that were replaced.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final

from components.contracts import Json, Skipped
from components.sources.formats.content import text_of
from components.sources.formats.contract import Format, Head, Options, Read, Verdict, accept, decline
from components.sources.formats.defects import guarded, not_an_object
from components.sources.formats.message_parts import role_type
from components.sources.formats.runs import RunNames, run_per_line
from components.sources.formats.sessions import Session
from components.sources.formats.times import timestamp
from components.sources.formats.values import first_of, listed, mapping, mostly

BRANCH: Final = Skipped(rule="message of a branch that was replaced")
HIDDEN: Final = Skipped(rule="message that is hidden from the conversation")
NO_MESSAGE: Final = Skipped(rule="node without a message")


def _is_conversation(item: Json) -> bool:
    found = mapping(item).get("mapping")
    if not isinstance(found, dict):
        return False
    nodes = list(found.values())
    return not nodes or mostly(nodes, lambda node: "parent" in mapping(node) and "message" in mapping(node))


def _recognise(head: Head) -> Verdict:
    document = head.document
    items = document if isinstance(document, list) else [document]
    if document and mostly(items, _is_conversation):
        return accept(f"{len(items)} conversations with a mapping of messages")
    return decline("no conversations with a mapping of messages")


def _recognise_lines(head: Head) -> Verdict:
    if mostly(head.lines, _is_conversation):
        return accept("a conversation with a mapping of messages on each line")
    return decline("no conversations with a mapping of messages on its lines")


def _path(conversation: Mapping[str, Json]) -> list[str]:
    """The ids of the nodes from the root to the current one; without a current one to the latest that has no children."""
    nodes = mapping(conversation.get("mapping"))
    at = conversation.get("current_node")
    if not isinstance(at, str) or at not in nodes:
        leaves = [id for id, node in nodes.items() if not listed(mapping(node).get("children"))]
        at = max(leaves, key=lambda leaf: _written(nodes[leaf]), default=None)
    found: dict[str, None] = {}
    while isinstance(at, str) and at in nodes and at not in found:  # a loop of parents ends there
        found[at] = None
        at = mapping(nodes[at]).get("parent")
    return list(reversed(found))


def _written(node: Json) -> float:
    when = mapping(mapping(node).get("message")).get("create_time")
    return when if isinstance(when, int | float) else 0.0


def _read_conversation(item: Json, names: RunNames, _: Options) -> Iterator[Read]:
    if not isinstance(item, dict):
        yield not_an_object(0, item)
        return
    session = Session()
    id = first_of(item, "conversation_id", "id")
    session.turns.run = names.unique(id)
    session.know(run=id, title=item.get("title"))
    nodes, path = mapping(item.get("mapping")), _path(item)
    if not nodes:
        yield NO_MESSAGE
    for node_id in path:
        yield from _message(session, mapping(nodes[node_id]).get("message"))
    for node_id in nodes.keys() - set(path):
        yield BRANCH if mapping(nodes[node_id]).get("message") else NO_MESSAGE


def _message(session: Session, message: Json) -> list[Read]:
    if not isinstance(message, dict):
        return [NO_MESSAGE]
    about, author = mapping(message.get("metadata")), mapping(message.get("author"))
    if about.get("is_visually_hidden_from_conversation") is True:
        return [HIDDEN]
    content, when = mapping(message.get("content")), timestamp(message.get("create_time"))
    role, kind = role_type(author.get("role")), content.get("content_type")
    more = {"model": about.get("model_slug")}
    if role == "assistant":
        return _answer(session, message, content, when, more)
    session.answering = False
    if role == "tool":
        role = "tool_result"
    if kind == "system_error":
        role = "error"
    if role in ("tool_result", "error"):
        more["tool"] = author.get("name")
    return session.input(role, _text(content), when, more)


def _answer(
    session: Session,
    message: Mapping[str, Json],
    content: Mapping[str, Json],
    when: datetime | None,
    more: Mapping[str, Json],
) -> list[Read]:
    kind, recipient = content.get("content_type"), message.get("recipient")
    session.continue_response()
    if kind in ("thoughts", "reasoning_recap"):
        return session.record("reasoning", _text(content), when, more)
    if isinstance(recipient, str) and recipient not in ("all", ""):
        return session.call(None, recipient, _text(content) or None, when, more)
    got = session.record("assistant", _text(content), when, more)
    session.answering = False  # the next answer is another response, as after "continue"
    return got


def _text(content: Mapping[str, Json]) -> str:
    if thoughts := listed(content.get("thoughts")):
        texts = [text_of(mapping(thought).get(key)) for thought in thoughts for key in ("summary", "content")]
        return "\n".join(filter(None, texts))
    parts = content.get("parts")
    if isinstance(parts, list):
        return "\n".join(text for part in parts if (text := _part_text(part)))
    return text_of(first_of(content, "text", "content", "result"))


def _part_text(part: Json) -> str:
    kind = mapping(part).get("content_type")
    if not isinstance(kind, str):
        return text_of(part)
    if kind == "audio_transcription":
        return text_of(mapping(part).get("text"))
    for medium in ("image", "audio", "video"):
        if medium in kind:
            return f"[{medium}]"
    return text_of(first_of(mapping(part), "text", "content")) or "[file]"


def _read(document: Json, options: Options) -> Iterable[Read]:
    names = RunNames()
    for index, item in enumerate(document if isinstance(document, list) else [document]):
        yield from guarded(index, _read_conversation(item, names, options))


def _read_line(item: Json, names: RunNames, options: Options) -> Iterable[Read]:
    return guarded(0, _read_conversation(item, names, options))


ROWS: tuple[Format, ...] = (
    Format(name="chatgpt", shape="document", recognises=_recognise, read=_read),
    Format(name="chatgpt", shape="lines", recognises=_recognise_lines, reader=run_per_line(_read_line)),
)
