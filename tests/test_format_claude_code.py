from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import agentpile
import orjson
import pytest
from reading import check_positions, corpus, defects, events, reads_file, rules
from shelf import Shelf, loaded

from components.contracts import record_id
from components.sources.formats.claude_code import ROWS, Reader
from components.sources.formats.content import text_of, tool_call
from components.sources.formats.contract import Options

FOLDERS = ("agent-logs/claude_code", "agent-logs/claude_code_entire", "agent-logs/claude_code_growing")


def test_a_response_spread_over_lines_and_loads_is_one_iteration() -> None:
    lines = [
        {"type": "assistant", "uuid": str(n), "message": {"id": "m", "content": [{"type": "text", "text": str(n)}]}}
        for n in range(4)
    ]
    first = Reader(None, Options())
    positions = [(e.iteration, e.idx_in_iteration) for line in lines[:2] for e in events(first.read(line))]
    second = Reader(orjson.loads(orjson.dumps(first.state())), Options())
    positions += [(e.iteration, e.idx_in_iteration) for line in lines[2:] for e in events(second.read(line))]
    assert positions == [(1, 0), (1, 1), (1, 2), (1, 3)]


def test_the_memory_of_sub_agents_and_lines_stays_small() -> None:
    reader = Reader(None, Options())
    reader.read({"type": "user", "uuid": "u", "isSidechain": False, "message": {"content": "go"}})
    for n in range(5_000):
        parent = f"s{n - 1}" if n else None
        line = {"type": "user", "uuid": f"s{n}", "parentUuid": parent, "isSidechain": True, "message": {"content": "x"}}
        assert events(reader.read(line))[0].run == "s0"
    assert len(orjson.dumps(reader.state())) < 50_000


@pytest.mark.corpus
def test_every_block_of_a_real_session_is_accounted_for() -> None:
    for path in corpus(*FOLDERS):
        expected = 0
        said = []
        for line in path.read_bytes().splitlines():
            item = orjson.loads(line)
            content = item["message"]["content"] if item["type"] in ("user", "assistant") else None
            expected += len(content) if isinstance(content, list) else 1
            blocks = content if isinstance(content, list) else [{"text": content}] if content else []
            said += [text for b in blocks if (text := b.get("text") or b.get("thinking"))]
        found = reads_file(ROWS, path)
        assert len(events(found)) + rules(found).total() == expected, path.name
        assert defects(found) == []
        texts = {event.text for event in events(found)}
        assert [text for text in said if text.strip() and text not in texts] == []
        check_positions(found)


@pytest.mark.corpus
def test_loading_a_growing_session_is_loading_its_last_state(tmp_path) -> None:
    sessions: dict[str, list] = {}
    for path in corpus("agent-logs/claude_code_growing"):
        sessions.setdefault(path.name.partition("__")[0], []).append(path)
    for name, snapshots in sessions.items():
        growing = tmp_path / f"{name}.jsonl"
        shelf = Shelf()
        for snapshot in snapshots:
            before = dict(shelf.records)
            growing.write_bytes(snapshot.read_bytes())
            assert shelf.load(growing).action == ("resume" if before else "read")
            assert {id: shelf.records[id] for id in before} == before
        last = Shelf(key=growing.name)
        last.load(snapshots[-1])
        assert shelf.records == last.records
        assert not shelf.defects


@pytest.mark.corpus
def test_most_records_of_real_sessions_carry_a_time() -> None:
    for path in corpus(*FOLDERS):
        records = loaded(path).records.values()
        assert sum(record.timestamp is not None for record in records) >= 0.8 * len(records), path.name


@pytest.mark.corpus
def test_another_reader_finds_the_same_items() -> None:
    """agentpile joins the blocks of a user's message, which are records of their own here, marks pictures and tool
    references in other words, and leaves out summaries and what the program itself says (system lines)."""
    ours_only: Counter[str] = Counter()
    for path in corpus(*FOLDERS):
        ours = events(reads_file(ROWS, path))
        texts = {event.text.strip() for event in ours}
        theirs = {text.strip() for run in agentpile.load(str(path)) for text in _texts(run.record["steps"])}
        for text in theirs - texts:
            assert "original in agentpile extension" in text or all(line in _lines(texts) for line in _lines([text]))
        joined = "\n".join(theirs)
        for event in ours:
            if event.text.strip() not in joined:
                ours_only[event.type] += 1
                assert event.type in ("system", "summary") or event.text == "[image]" or "_reference" in event.text
    assert ours_only["assistant"] == ours_only["tool_call"] == ours_only["reasoning"] == 0


def _texts(steps: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Everything that a person would read of agentpile's steps."""
    for step in steps:
        yield text_of(step.get("message"))
        yield text_of(step.get("reasoning_content"))
        for call in step.get("tool_calls") or ():
            yield tool_call(call["function_name"], call["arguments"])
        for result in (step.get("observation") or {}).get("results", ()):
            yield text_of(result.get("content"))


def _lines(texts: Iterable[str]) -> set[str]:
    return {line.strip() for text in texts for line in text.splitlines()}


def test_what_was_stored_as_a_users_message_is_replaced_by_what_the_program_wrote(tmp_path) -> None:
    wrapper = "<local-command-stdout>ok</local-command-stdout>"
    line = {"type": "user", "uuid": "1", "sessionId": "s", "message": {"role": "user", "content": wrapper}}
    log, shelf = tmp_path / "a.jsonl", Shelf()
    log.write_bytes(orjson.dumps(line) + b"\n")
    shelf.load(log)
    (made,) = shelf.records.values()
    place = {"filename": "a.jsonl", "iteration": 0, "idx_in_iteration": 0, "text": wrapper}
    assert (made.type, made.id) == ("system", record_id(**place, type="system"))
    assert made.former_id == record_id(**place, type="user")


def test_a_replayed_session_is_read_once_and_more_text_under_the_same_uuid_is_read() -> None:
    lines = [
        {
            "type": "assistant",
            "uuid": f"u{n}",
            "message": {"id": f"m{n}", "content": [{"type": "text", "text": f"{n}"}]},
        }
        for n in range(3_000)
    ]
    grown = {
        "type": "assistant",
        "uuid": "u2999",
        "message": {"id": "x", "content": [{"type": "text", "text": "2999 and more"}]},
    }
    reader = Reader(None, Options())
    found = [read for line in [*lines, *lines, grown] for read in reader.read(line)]
    assert [event.text for event in events(found)] == [*(str(n) for n in range(3_000)), "2999 and more"]
    assert rules(found) == {"line that was read before": 3_000}
