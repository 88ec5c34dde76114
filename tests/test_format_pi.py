"""Sessions of the pi agent: every entry once, resumable after any line."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from reading import DATA, as_json, check_golden, json_values, parsed_lines, reads, row_of, taken_of_others

from components.sources.formats.contract import Head, Options
from components.sources.formats.pi import ROWS

LINES = row_of(ROWS, "lines")
WORDS = (
    *("type", "session", "message", "role", "user", "assistant", "toolResult", "bashExecution", "content", "toolCall"),
    *("arguments", "name", "id", "cwd", "summary", "compaction", "usage", "errorMessage", "isError", "command"),
)


def test_golden_sessions_become_their_records() -> None:
    check_golden(ROWS, "pi")


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
    cut_anywhere(parsed_lines((DATA / "pi" / "session.jsonl").read_bytes()))


def test_a_session_of_another_agent_is_declined() -> None:
    lines = [{"type": "session", "id": "x"}, {"type": "message.in"}]
    assert not LINES.recognises(Head(name="x.jsonl", shape="lines", lines=lines)).accepted


@given(json_values(*WORDS))
def test_no_json_makes_the_reader_raise(item: Any) -> None:
    LINES.recognises(Head(name="x", shape="lines", lines=[item, item]))
    reads(LINES, [item, {"type": "session", "id": item}, {"type": "message", "message": item}, item])


@pytest.mark.corpus
def test_no_real_file_is_taken_for_pi() -> None:
    assert taken_of_others(ROWS) == []
