"""What Cline, Roo Code and Kilo Code send to a model (`api_conversation_history.json`).

Calls stand as XML in the text of an answer, and results in the user's name, with the state of the editor behind them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from components.contracts import Json, Skipped
from components.sources.formats.content import text_of
from components.sources.formats.contract import Format, Head, Options, Read, Verdict, accept, decline
from components.sources.formats.defects import EMPTY, guarded, not_an_object
from components.sources.formats.message_parts import is_message, part_kind, part_text
from components.sources.formats.messages import THOUGHT_TEXTS
from components.sources.formats.sessions import Session
from components.sources.formats.times import timestamp
from components.sources.formats.values import first_of, listed, mapping, mostly

TOOLS: Final = (
    *("execute_command", "read_file", "write_to_file", "replace_in_file", "apply_diff", "insert_content", "web_fetch"),
    *("search_and_replace", "search_files", "list_files", "list_code_definition_names", "browser_action", "edit_file"),
    *("use_mcp_tool", "access_mcp_resource", "ask_followup_question", "attempt_completion", "plan_mode_respond"),
    *("new_task", "switch_mode", "fetch_instructions", "codebase_search", "update_todo_list", "load_mcp_documentation"),
    *("condense", "new_rule", "run_slash_command", "generate_image", "use_skill", "report_bug", "web_search"),
)
ENVIRONMENT: Final = Skipped(rule="state of the editor")
_ENVIRONMENT: Final = re.compile(r"<environment_details>.*?(?:</environment_details>|\Z)", re.DOTALL)
_RESULT: Final = re.compile(r"\[([a-z_]+)(?: for (.*?))?\] Result:\s*", re.DOTALL)
_PROMPT: Final = re.compile(r"\s*<(task|user_message|feedback|answer)>\s*(.*?)\s*</\1>\s*", re.DOTALL)
_THINKING: Final = re.compile(r"\s*<thinking>\s*(.*?)\s*</thinking>\s*", re.DOTALL)
_CALL: Final = re.compile(rf"<({'|'.join(TOOLS)})>\s*(.*?)\s*</\1>", re.DOTALL)
_ARGUMENT: Final = re.compile(r"<(\w+)>\n?(.*?)\n?</\1>", re.DOTALL)


def _is_own(message: Json) -> bool:
    about = mapping(message)
    content = about.get("content")
    blocks = content if isinstance(content, list) else [content]
    texts = [mapping(block).get("text", block) for block in blocks]
    is_own = (isinstance(text, str) and ("<environment_details>" in text or _RESULT.match(text)) for text in texts)
    return about.get("role") == "user" and any(is_own)


def _recognise(head: Head) -> Verdict:
    document = head.document
    if isinstance(document, list) and mostly(document, is_message) and (n := sum(map(_is_own, document[:40]))):
        return accept(f"messages to a model, {n} of them with results or the state of the editor as Cline writes them")
    return decline("no messages with results or the state of the editor as Cline writes them")


def _read(document: Json, _: Options) -> Iterator[Read]:
    session = Session()
    for index, message in enumerate(listed(document)):
        if isinstance(message, dict):
            yield from guarded(index, _message(session, message))
        else:
            yield not_an_object(index, message)


def _message(session: Session, message: dict[str, Json]) -> Iterator[Read]:
    content, when = message.get("content"), timestamp(message.get("ts"))
    session.know(model=mapping(message.get("modelInfo")).get("modelId"))
    is_answer = message.get("role") == "assistant"
    if is_answer:
        session.respond()
    tool, n = "", 0
    for block in content if isinstance(content, list) else [content]:
        about = mapping(block)
        part = part_kind(about) if about else ""
        got: list[Read] = []
        if part == "call":
            got = session.call(about.get("id"), about.get("name"), first_of(about, "input", "args"), when)
        elif part == "result":
            failed = about.get("is_error") is True
            got = session.result(about.get("tool_use_id"), about.get("content"), when, failed=failed)
        elif part == "thought":
            got = session.record("reasoning", text_of(first_of(about, *THOUGHT_TEXTS)), when)
        elif is_answer:
            got = _answer(session, part_text(block), when)
        else:
            got, tool = _input(session, part_text(block), tool, when)
        n += len(got)
        yield from got
    if not n:
        yield EMPTY


def _answer(session: Session, text: str, when: datetime | None) -> list[Read]:
    """The thought, the text and the calls of an answer, in their order."""
    got: list[Read] = []
    while thought := _THINKING.match(text):
        got += session.record("reasoning", thought[1], when)
        text = text[thought.end() :]
    at = 0
    for call in _CALL.finditer(text):
        if prose := text[at : call.start()].strip():
            got += session.record("assistant", prose, when)
        arguments = dict(_ARGUMENT.findall(call[2]))
        got += session.call(None, call[1], arguments or call[2], when)
        at = call.end()
    if rest := text[at:].strip():
        got += session.record("assistant", rest, when)
    return got


def _input(session: Session, text: str, tool: str, when: datetime | None) -> tuple[list[Read], str]:
    """What a text in the user's name is; with the tool whose result may go on in the next text."""
    bare = _ENVIRONMENT.sub("", text).strip()
    got: list[Read] = [ENVIRONMENT] if bare != text.strip() else []
    if not bare:
        return got, tool
    if result := _RESULT.match(bare):
        tool, bare = result[1], bare[result.end() :].strip()
        if not bare:
            return [*got, EMPTY], tool
        return got + session.result(None, bare, when, more={"tool": tool}), tool
    if prompt := _PROMPT.fullmatch(bare):
        return got + session.input("user", prompt[2], when), ""
    if tool:
        return got + session.result(None, bare, when, more={"tool": tool}), tool
    return got + session.input("user", bare, when), ""


ROWS: tuple[Format, ...] = (Format(name="cline_api", shape="document", recognises=_recognise, read=_read),)
