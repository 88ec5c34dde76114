"""Gemini CLI sessions: every message, thought, call and result once."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from reading import (
    DATA,
    as_json,
    check_golden,
    corpus,
    events,
    json_values,
    parsed_lines,
    read_whole,
    reads,
    row_of,
    taken_of_others,
)

from components.sources.formats.contract import Head, Options
from components.sources.formats.gemini_cli import ROWS

LINES, DOCUMENT = row_of(ROWS, "lines"), row_of(ROWS, "document")
WORDS = (
    *("sessionId", "projectHash", "messages", "type", "user", "gemini", "content", "thoughts", "subject", "toolCalls"),
    *("args", "name", "result", "functionResponse", "response", "output", "status", "error", "timestamp", "id", "$set"),
)


def test_golden_sessions_become_their_records() -> None:
    check_golden(ROWS, "gemini_cli")


def test_both_shapes_of_a_session_give_the_same_records() -> None:
    document = orjson.loads((DATA / "gemini_cli" / "session.json").read_bytes())
    lines = [{k: v for k, v in document.items() if k != "messages"}, *document["messages"]]
    assert events(reads(LINES, lines)) == events(reads(DOCUMENT, document))


def cut_anywhere(items: list[Any]) -> None:
    """Reading on from a state, taken after any line, gives what reading through gives."""
    assert LINES.reader is not None
    whole = as_json(reads(LINES, items))
    for cut in range(len(items)):
        first = LINES.reader(None, Options())
        found = [read for item in items[:cut] for read in first.read(item)]
        second = LINES.reader(orjson.loads(orjson.dumps(first.state())), Options())
        found += [read for item in items[cut:] for read in second.read(item)]
        assert as_json(found) == whole


def test_a_reader_resumed_after_any_line_reads_the_same() -> None:
    cut_anywhere(parsed_lines((DATA / "gemini_cli" / "session.jsonl").read_bytes()))


@given(json_values(*WORDS))
def test_no_json_makes_a_reader_raise(item: Any) -> None:
    for row in ROWS:
        row.recognises(Head(name="x", shape=row.shape, lines=[item, item], document=item))
    reads(LINES, [item, item])
    reads(DOCUMENT, item)
    reads(DOCUMENT, {"messages": [item, {"type": "gemini", "id": "1", "toolCalls": item, "thoughts": item}]})


@pytest.mark.corpus
def test_every_message_of_the_real_sessions_is_accounted_for() -> None:
    for path in corpus("agent-logs/gemini_cli"):
        found = read_whole("gemini_cli", path)
        texts: list[str] = []
        for message in orjson.loads(path.read_bytes())["messages"]:
            texts += [f"{t['subject']}\n{t['description']}" for t in message.get("thoughts", [])]
            texts += [message["content"]] if message["content"].strip() else []
            for call in message.get("toolCalls", []):
                texts.append(f"{call['name']} {orjson.dumps(call['args'], option=orjson.OPT_SORT_KEYS).decode()}")
                response = call["result"][0]["functionResponse"]["response"]
                texts.append(response.get("output") or response["error"])
        assert [e.text for e in events(found)] == texts
        assert all(e.timestamp for e in events(found))


@pytest.mark.corpus
def test_no_other_real_file_is_taken_for_gemini_cli() -> None:
    assert taken_of_others(ROWS, "gemini_cli") == []
