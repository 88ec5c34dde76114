"""OpenHands: every event of every run once, in all of its shapes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import orjson
import pytest
from reading import DATA, as_json, check_resumable, corpus, events, read_whole, reads, reads_file, row_of, rules

from components.sources.formats.openhands import ROWS

LINES, DOCUMENT = row_of(ROWS, "lines"), row_of(ROWS, "document")


@pytest.mark.parametrize("name", ["events.json", "sdk_events.json"])
def test_events_on_lines_read_as_the_list_does_wherever_reading_was_interrupted(name: str) -> None:
    document = orjson.loads((DATA / "openhands" / name).read_bytes())
    assert as_json(reads(LINES, document)) == as_json(reads(DOCUMENT, document))
    check_resumable(LINES, document)


@pytest.mark.parametrize(
    ("last", "over"),
    [
        ({"action": "finish", "args": {}}, True),
        ({"observation": "agent_state_changed", "extras": {"agent_state": "error"}}, True),
        ({"observation": "agent_state_changed", "extras": {"agent_state": "running"}}, False),
        ({"action": "run", "args": {}}, False),
    ],
)
def test_a_run_is_over_when_the_agent_says_so(last: Any, over: bool) -> None:
    assert DOCUMENT.end([{"action": "message", "args": {}}, last]).mark is over


def test_pairs_of_action_and_observation_are_laid_flat() -> None:
    pair = [{"action": "run", "args": {"command": "ls"}}, {"observation": "run", "content": "a", "extras": {}}]
    found = reads(LINES, [{"instance_id": "x", "instruction": "Do.", "history": [pair, pair]}])
    assert [e.text for e in events(found)] == ["Do.", 'run {"command":"ls"}', "a", 'run {"command":"ls"}', "a"]


@pytest.mark.corpus
def test_every_event_of_the_real_files_is_accounted_for() -> None:
    for path in corpus("agent-logs/openhands"):
        found = read_whole("openhands", path)
        raw = [orjson.loads(line) for line in path.read_bytes().splitlines()] if path.suffix == ".jsonl" else None
        runs = [run["history"] for run in raw] if raw else [orjson.loads(path.read_bytes())]
        made = Counter(e.type for e in events(found))
        expected = Counter(kind for run in runs for event in run for kind in kinds(event))
        assert rules(found)["state of the agent"] == expected.pop("state", 0)
        assert rules(found)["recall of workspace knowledge"] == expected.pop("recall", 0)
        assert rules(found)["empty message"] == expected.pop("empty", 0)
        assert made == expected
        said = {e.text for e in events(found)}
        for event in (event for run in runs for event in run):
            text = event.get("content") or event.get("args", {}).get("thought") or ""
            assert not text.strip() or text in said or event.get("observation") in ("recall", "null", "think")


def kinds(event: dict[str, Any]) -> list[str]:
    """An independent account of what an event should become."""
    if "observation" in event:
        name = event["observation"]
        if name in ("null", "agent_state_changed"):
            return ["state"]
        if name == "recall":
            return ["recall"]
        return ["empty"] if not event["content"].strip() else ["error" if name == "error" else "tool_result"]
    name, args = event["action"], event["args"]
    if name in ("change_agent_state", "recall"):
        return ["recall" if name == "recall" else "state"]
    if name in ("system", "message", "think"):
        return [
            {"system": "system", "think": "reasoning"}.get(name, {"agent": "assistant"}.get(event["source"], "user"))
        ]
    return ["assistant", "tool_call"] if args.get("thought", "").strip() else ["tool_call"]


@pytest.mark.corpus
def test_the_same_run_as_list_and_as_line_gives_the_same_records() -> None:
    found = {path.name: events(reads_file(ROWS, path)) for path in corpus("agent-logs/openhands")}
    listed, lined = found["events__from_A.json"], found["eval_output__multi_swe_bench_A.jsonl"]
    first = [e for e in lined if e.run == lined[0].run]
    assert [(e.iteration, e.idx_in_iteration, e.type, e.text) for e in listed] == [
        (e.iteration, e.idx_in_iteration, e.type, e.text) for e in first
    ]
