"""Gemini CLI sessions: every message, thought, call and result once."""

from __future__ import annotations

import orjson
import pytest
from reading import DATA, corpus, events, read_whole, reads, row_of

from components.sources.formats.gemini_cli import ROWS

LINES, DOCUMENT = row_of(ROWS, "lines"), row_of(ROWS, "document")


def test_both_shapes_of_a_session_give_the_same_records() -> None:
    document = orjson.loads((DATA / "gemini_cli" / "session.json").read_bytes())
    lines = [{k: v for k, v in document.items() if k != "messages"}, *document["messages"]]
    assert events(reads(LINES, lines)) == events(reads(DOCUMENT, document))


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
